package manifest

import "encoding/json"

// validate refuses a document that was understood as m but could be understood
// otherwise.
func validate(doc *document, said string, m Manifest) error {
	version := "2"
	if IsSchema1(m.MediaType()) {
		version = "1"
	}
	if string(doc.SchemaVersion) != version {
		if doc.SchemaVersion == nil {
			return invalid("schemaVersion", "is missing, must be %s", version)
		}
		return invalid("schemaVersion", "is "+quoted+", must be %s", doc.SchemaVersion, version)
	}
	if err := checkMediaType(doc, said, m.MediaType()); err != nil {
		return err
	}
	if err := checkAnnotations(doc.Annotations); err != nil {
		return err
	}
	switch m := m.(type) {
	case *Image:
		return m.check(doc)
	case *Index:
		return m.check(doc)
	case *Schema1:
		return m.check(doc, withoutParameters(said))
	}
	return nil
}

// checkMediaType refuses a document that says nothing, or something else, of
// the media type it was parsed as: its bytes are all that is stored, so the
// next reader has only them to go by.
func checkMediaType(doc *document, said, parsed string) error {
	switch {
	case doc.MediaType == parsed:
		return nil
	case IsSchema1(parsed) && (doc.MediaType == "" || doc.MediaType == MediaTypeDockerSchema1 || doc.MediaType == MediaTypeDockerSchema1Signed):
		return nil // the signed form is the other with signatures put in
	case doc.MediaType != "" && withoutParameters(said) == parsed:
		return invalid("mediaType", "is "+quoted+", but the manifest was given as %q", doc.MediaType, parsed)
	case doc.MediaType != "":
		return invalid("mediaType", "is "+quoted+", must be written %q", doc.MediaType, parsed)
	case IsDocker(parsed):
		return invalid("mediaType", "is missing, must be %q", parsed)
	case doc.kind() != parsed:
		return invalid("mediaType", "is missing, and the content is not that of %q", parsed)
	}
	return nil
}

func checkAnnotations(raw json.RawMessage) error {
	_, err := decodeAnnotations(raw)
	return err
}

func decodeAnnotations(raw json.RawMessage) (map[string]string, error) {
	if isNull(raw) {
		return nil, nil
	}
	var annotations map[string]string
	if err := json.Unmarshal(raw, &annotations); err != nil {
		return nil, unreadable("annotations", err)
	}
	return annotations, nil
}

// annotations is nil where those of a stored document cannot be understood:
// the rest of it can.
func (doc *document) annotations() map[string]string {
	annotations, err := decodeAnnotations(doc.Annotations)
	if err != nil {
		return nil
	}
	return annotations
}

// refuse says that a document of some kind must not have any of the fields,
// not even null: to a reader that looks for them it would be another kind.
func (doc *document) refuse(kind string, fields ...string) error {
	present := map[string]bool{
		"config":    doc.Config != nil,
		"layers":    doc.Layers != nil,
		"manifests": doc.Manifests != nil,
		"fsLayers":  doc.FSLayers != nil,
	}
	for _, field := range fields {
		if present[field] {
			return invalid(field, "does not belong in %s: the document is ambiguous", kind)
		}
	}
	return nil
}
