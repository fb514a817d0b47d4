// Package manifest reads the documents that tie a registry's content together.
//
//	tag ─→ index ─→ image manifest ─→ config
//	         │             ├────────→ layer …
//	         └─→ …         └────────→ subject
//
// An index ([Index]) lists manifests, an image manifest ([Image]) names its
// configuration and layers, and a subject is what an artifact is about. All of
// them are JSON, and each names the next by a [Descriptor]. Manifests of
// Docker's schema 1 ([Schema1]), the oldest kind, have layers only, and may be
// signed ([Signed]).
//
// [Parse] reads what is stored, as registries read it; [ParseStrict] decides
// what may be stored, and refuses documents that two readers could take for
// two different things. Nothing here touches storage: whether the references
// exist is for the caller to see, and so is [URLPolicy]. [ImageBuilder],
// [IndexBuilder] and [Schema1Builder] make manifests.
//
// All functions and methods are safe for concurrent use.
package manifest

// Limits of one manifest.
const (
	// MaxSize is the size in bytes of the largest manifest.
	MaxSize = 4 << 20
	// MaxReferences is the number of entries that a list of layers, of
	// manifests or of history may have.
	MaxReferences = 20_000
	// MaxDepth is how deeply objects and arrays may nest in a manifest that
	// [ParseStrict] accepts. The formats need four levels.
	MaxDepth = 32
)

// Manifest is a parsed manifest: an [*Image], an [*Index] or a [*Schema1].
type Manifest interface {
	// MediaType is the media type without parameters, never empty.
	MediaType() string
	// Payload is the exact bytes that were parsed; do not modify.
	Payload() []byte
	// References is what the manifest names; do not modify.
	References() References
}

// References is what a manifest names.
type References struct {
	Blobs     []Descriptor // configuration first, if there is one, then layers in order; foreign ones included
	Manifests []Descriptor // children of an index
	Subject   *Descriptor  // what an artifact refers to; need not exist
}

// RequiredBlobs is Blobs without foreign ones (see [IsForeign]): what a
// repository must have before it can have the manifest.
func (r References) RequiredBlobs() []Descriptor {
	required := make([]Descriptor, 0, len(r.Blobs))
	for _, d := range r.Blobs {
		if !IsForeign(d) {
			required = append(required, d)
		}
	}
	return required
}

// Parse reads a stored manifest. The media type is mediaType, which may carry
// parameters; if that is empty or says nothing, what the document says; else
// what its fields tell. The result keeps payload, which must not change.
// Signatures of schema 1 are not looked at (see [ParseSigned]). Errors:
// [ErrInvalid], [ErrUnknownType], [ErrTooLarge].
func Parse(mediaType string, payload []byte) (Manifest, error) {
	doc, err := decodeDocument(payload)
	if err != nil {
		return nil, err
	}
	return parse(doc, mediaType, payload)
}

// ParseStrict is [Parse] for manifests that are to be stored. It also refuses
// with [ErrInvalid] what is ambiguous or incomplete:
//
//   - keys that occur twice in one object, or are written in another case;
//   - layers or a configuration beside manifests, fields of schema 1;
//   - media types, given or in the document, that contradict each other or the
//     content; a Docker manifest of schema 2 that does not name its own;
//   - a schemaVersion other than 2, for schema 1 other than 1; a missing config
//     or manifests;
//   - descriptors without digest or size, or with other data embedded;
//   - bytes that are not UTF-8; nesting beyond [MaxDepth];
//   - in schema 1, a name or a tag that no repository can have, no layers, as
//     many entries of history as of layers not; signatures that are missing or
//     wrong where there should be some ([ErrUnsigned], [ErrUnverified]).
func ParseStrict(mediaType string, payload []byte) (Manifest, error) {
	m, err := parseUnverified(mediaType, payload)
	if err != nil {
		return nil, err
	}
	if m, ok := m.(*Schema1); ok && m.mediaType == MediaTypeDockerSchema1Signed {
		if _, err := verify(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// parseUnverified is [ParseStrict] without a look at signatures.
func parseUnverified(mediaType string, payload []byte) (Manifest, error) {
	doc, err := decodeDocument(payload)
	if err != nil {
		return nil, err
	}
	if err := walk(payload, doc.shape()); err != nil {
		return nil, err
	}
	m, err := parse(doc, mediaType, payload)
	if err != nil {
		return nil, err
	}
	if err := validate(doc, mediaType, m); err != nil {
		return nil, err
	}
	return m, nil
}

// DetectMediaType is the media type that a document names, or that its fields
// tell, whether or not [Parse] knows it; "" if neither does. Descriptors are
// not looked at.
func DetectMediaType(payload []byte) string {
	doc, err := decodeDocument(payload)
	if err != nil {
		return ""
	}
	if mt := doc.mediaType(""); wellFormed(mt) {
		return mt
	}
	return ""
}

func parse(doc *document, mediaType string, payload []byte) (Manifest, error) {
	c := content{mediaType: doc.mediaType(mediaType), payload: payload}
	switch c.mediaType {
	case MediaTypeOCIManifest, MediaTypeDockerManifest:
		return asManifest(parseImage(doc, c))
	case MediaTypeOCIIndex, MediaTypeDockerList:
		return asManifest(parseIndex(doc, c))
	case MediaTypeDockerSchema1, MediaTypeDockerSchema1Signed:
		return asManifest(parseSchema1(doc, c))
	case "":
		return nil, invalid("", "is no manifest: it has no mediaType, config, layers or manifests")
	default:
		return nil, &UnknownTypeError{MediaType: c.mediaType}
	}
}

// asManifest keeps a nil pointer from becoming an interface that is not nil.
func asManifest[M Manifest](m M, err error) (Manifest, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// content is what every kind of manifest has.
type content struct {
	mediaType string
	payload   []byte
}

func (c content) MediaType() string { return c.mediaType }
func (c content) Payload() []byte   { return c.payload }
