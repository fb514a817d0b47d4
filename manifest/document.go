package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// document is the top level of a manifest of any kind, its fields not decoded
// yet: nil is absent.
//
// encoding/json takes a key in any case and the last of several; so do the
// registries that wrote the store, and reading must agree with them. Writing
// refuses such documents before it matters (see walk).
type document struct {
	SchemaVersion json.RawMessage `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	ArtifactType  string          `json:"artifactType"`
	Config        json.RawMessage `json:"config"`
	Layers        json.RawMessage `json:"layers"`
	Manifests     json.RawMessage `json:"manifests"`
	Subject       json.RawMessage `json:"subject"`
	Annotations   json.RawMessage `json:"annotations"`

	// Schema 1.
	Name         json.RawMessage `json:"name"`
	Tag          json.RawMessage `json:"tag"`
	Architecture json.RawMessage `json:"architecture"`
	FSLayers     json.RawMessage `json:"fsLayers"`
	History      json.RawMessage `json:"history"`
	Signatures   json.RawMessage `json:"signatures"`
}

var byteOrderMark = []byte("\xef\xbb\xbf")

func decodeDocument(payload []byte) (*document, error) {
	if len(payload) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxSize)
	}
	if bytes.HasPrefix(payload, byteOrderMark) {
		return nil, invalid("", "begins with a byte order mark")
	}
	var doc *document // a pointer, to tell null from an object
	if err := json.Unmarshal(payload, &doc); err != nil {
		return nil, unreadable("", err)
	}
	if doc == nil {
		return nil, invalid("", "is null, must be an object")
	}
	return doc, nil
}

// kind is the media type that the document's fields tell, "" if they do not.
func (doc *document) kind() string {
	switch {
	case !isNull(doc.Manifests):
		return MediaTypeOCIIndex
	case !isNull(doc.Config), !isNull(doc.Layers):
		return MediaTypeOCIManifest
	case doc.FSLayers != nil, string(doc.SchemaVersion) == "1":
		return doc.schema1Kind()
	case doc.Manifests != nil:
		return MediaTypeOCIIndex
	case doc.Layers != nil:
		return MediaTypeOCIManifest
	default:
		return ""
	}
}

// mediaType is the media type of the document: what the caller says, else what
// the document says, else what its fields tell. Empty if none of them does.
func (doc *document) mediaType(said string) string {
	for _, mt := range []string{withoutParameters(said), withoutParameters(doc.MediaType)} {
		if IsSchema1(mt) {
			return doc.schema1Kind()
		}
		if !saysNothing(mt) {
			return mt
		}
	}
	return doc.kind()
}

// schema1Kind tells the signed form of schema 1 from the other: clients call
// either by either name.
func (doc *document) schema1Kind() string {
	if doc.Signatures != nil {
		return MediaTypeDockerSchema1Signed
	}
	return MediaTypeDockerSchema1
}

// shape is how the document is walked.
func (doc *document) shape() shape {
	if IsSchema1(doc.kind()) {
		return shapeSchema1
	}
	return shapeDocument
}
