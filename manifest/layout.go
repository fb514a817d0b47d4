package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"registryfs/digest"
)

// Names in an OCI image layout (image specification, image-layout.md).
const (
	LayoutVersionFile = ocispec.ImageLayoutFile
	LayoutIndexFile   = ocispec.ImageIndexFile
	LayoutBlobs       = ocispec.ImageBlobsDir
)

// Limits of the index of a layout.
const (
	// MaxLayoutSize is the size in bytes of the largest index of a layout that
	// is read or written: some 50,000 tags.
	MaxLayoutSize = 16 << 20
	// MaxLayoutEntries is the number of manifests that it may list.
	MaxLayoutEntries = 100_000
	// MaxLayoutVersionSize is the size in bytes of the largest version file.
	MaxLayoutVersionSize = 4 << 10
)

const (
	annotationRefName = ocispec.AnnotationRefName
	// annotationGeneration is in the index of a layout itself. Tools that
	// change an index keep it, and so tell which one they began with.
	annotationGeneration = "registryfs.generation"
)

// Layout is the index of an OCI image layout, index.json: which manifests it
// has, and under which tags.
type Layout struct {
	Entries []LayoutEntry
	// Generation is that of the index that this one was made from, as
	// [Layout.Encode] gave it, if the tool that made it kept that.
	Generation string
}

// LayoutEntry is a manifest of a layout. Tag is "" for one without a name.
type LayoutEntry struct {
	Tag string
	Descriptor
}

// ParseLayout reads an index of a layout, as tools write them: "manifests" may
// be null or missing, a name may stand more than once, and may be a whole
// reference, of which the tag counts. The order is that of the document.
// Errors: [ErrInvalid], also for a name that no tag can be taken from;
// [ErrTooLarge].
func ParseLayout(payload []byte) (*Layout, error) {
	if len(payload) > MaxLayoutSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxLayoutSize)
	}
	var doc *document
	if err := json.Unmarshal(payload, &doc); err != nil {
		return nil, unreadable("", err)
	}
	switch {
	case doc == nil:
		return nil, invalid("", "is null, must be an object")
	case string(doc.SchemaVersion) != "2":
		return nil, invalid("schemaVersion", "is "+quoted+", must be 2", doc.SchemaVersion)
	case doc.MediaType != "" && doc.MediaType != MediaTypeOCIIndex:
		return nil, invalid("mediaType", "is "+quoted+", must be %q", doc.MediaType, MediaTypeOCIIndex)
	}
	if err := doc.refuse("the index of a layout", "config", "layers", "fsLayers"); err != nil {
		return nil, err
	}
	descriptors, err := listOf("manifests", doc.Manifests, MaxLayoutEntries, checkDescriptor)
	if err != nil {
		return nil, err
	}
	l := &Layout{Entries: make([]LayoutEntry, 0, len(descriptors)), Generation: doc.annotations()[annotationGeneration]}
	for i, desc := range descriptors {
		tag, err := tagOf(desc)
		if err != nil {
			return nil, &InvalidError{Field: fmt.Sprintf("manifests[%d].annotations", i), Reason: err.Error()}
		}
		l.Entries = append(l.Entries, LayoutEntry{tag, desc})
	}
	return l, nil
}

// tagOf is the tag that a descriptor in the index of a layout gives, or "":
// where it has no name, or a reference by digest alone.
func tagOf(desc Descriptor) (string, error) {
	name := desc.Annotations[annotationRefName]
	if name == "" || tagGrammar.MatchString(name) {
		return name, nil
	}
	repo, _, hasDigest := strings.Cut(name, "@")
	tag := ""
	if i := strings.LastIndexByte(repo, ':'); i > strings.LastIndexByte(repo, '/') {
		repo, tag = repo[:i], repo[i+1:]
	}
	if nameGrammar.MatchString(repo) && (tagGrammar.MatchString(tag) || tag == "" && hasDigest) {
		return tag, nil
	}
	return "", fmt.Errorf("%s is "+quoted+": no tag, and no reference with one", annotationRefName, name)
}

// Encode is the document of a layout and its generation, which is another for
// every other list of entries. The same entries give the same bytes.
// [Layout.Generation] is not looked at. Errors: [ErrTooLarge].
func (l *Layout) Encode() (payload []byte, generation string, err error) {
	var list bytes.Buffer
	list.WriteByte('[')
	for i, e := range l.Entries {
		if i > 0 {
			list.WriteByte(',')
		}
		desc := e.Descriptor
		desc.Annotations = nil
		if e.Tag != "" {
			desc.Annotations = map[string]string{annotationRefName: e.Tag}
		}
		entry, err := json.Marshal(desc)
		if err != nil {
			return nil, "", invalid("", "cannot be encoded: %v", err)
		}
		list.Write(entry)
		if list.Len() > MaxLayoutSize {
			return nil, "", fmt.Errorf("%w: an index of %d manifests passes %d bytes", ErrTooLarge, len(l.Entries), MaxLayoutSize)
		}
	}
	list.WriteByte(']')
	generation = digest.FromBytes(list.Bytes()).Encoded()
	payload = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":%s,"annotations":{%q:%q}}`,
		MediaTypeOCIIndex, list.Bytes(), annotationGeneration, generation)
	if len(payload) > MaxLayoutSize {
		return nil, "", fmt.Errorf("%w: an index of %d manifests passes %d bytes", ErrTooLarge, len(l.Entries), MaxLayoutSize)
	}
	return payload, generation, nil
}

// LayoutVersion is the content of a layout's version file, oci-layout.
func LayoutVersion() []byte {
	return []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)
}

// CheckLayoutVersion reports a version file of another version than
// [LayoutVersion], as [ErrInvalid].
func CheckLayoutVersion(payload []byte) error {
	var version ocispec.ImageLayout
	if err := json.Unmarshal(payload, &version); err != nil {
		return unreadable("", err)
	}
	if version.Version != ocispec.ImageLayoutVersion {
		return invalid("imageLayoutVersion", "is "+quoted+", must be %q", version.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}
