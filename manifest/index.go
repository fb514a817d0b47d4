package manifest

// Index is a list of manifests, most often one for each platform: an OCI image
// index (image specification, image-index.md) or a Docker manifest list. It
// may be empty, and its children may be of any type. Do not modify.
type Index struct {
	Manifests    []Descriptor
	Subject      *Descriptor       // OCI only
	ArtifactType string            // OCI only
	Annotations  map[string]string // OCI only

	content
}

var _ Manifest = (*Index)(nil)

func parseIndex(doc *document, c content) (*Index, error) {
	children, err := descriptorsOf("manifests", doc.Manifests)
	if err != nil {
		return nil, err
	}
	m := &Index{Manifests: children, content: c}
	if IsDocker(c.mediaType) {
		return m, nil
	}
	m.ArtifactType = doc.ArtifactType
	m.Annotations = doc.annotations()
	m.Subject, err = descriptorOf("subject", doc.Subject)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// References returns the children and the subject.
func (m *Index) References() References {
	return References{Manifests: m.Manifests, Subject: m.Subject}
}

// check refuses what an index must not be.
func (m *Index) check(doc *document) error {
	if err := doc.refuse("an index", "config", "layers", "fsLayers"); err != nil {
		return err
	}
	if doc.Manifests == nil {
		return invalid("manifests", "is missing")
	}
	if err := checkData("subject", m.Subject); err != nil {
		return err
	}
	return checkAllData("manifests", m.Manifests)
}
