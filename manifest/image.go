package manifest

// Image is an image manifest: a configuration and an ordered list of layers.
// OCI's (image specification, manifest.md) and Docker's schema 2 have the same
// form; artifacts are OCI images with an artifact type. Do not modify.
type Image struct {
	Config       *Descriptor // nil only if a stored document has none
	Layers       []Descriptor
	Subject      *Descriptor       // OCI only
	ArtifactType string            // OCI only
	Annotations  map[string]string // OCI only

	content
}

var _ Manifest = (*Image)(nil)

func parseImage(doc *document, c content) (*Image, error) {
	config, err := descriptorOf("config", doc.Config)
	if err != nil {
		return nil, err
	}
	layers, err := descriptorsOf("layers", doc.Layers)
	if err != nil {
		return nil, err
	}
	m := &Image{Config: config, Layers: layers, content: c}
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

// References returns the configuration, the layers and the subject.
func (m *Image) References() References {
	blobs := make([]Descriptor, 0, 1+len(m.Layers))
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
	}
	return References{Blobs: append(blobs, m.Layers...), Subject: m.Subject}
}

// check refuses what an image manifest must not be.
func (m *Image) check(doc *document) error {
	if err := doc.refuse("an image manifest", "manifests", "fsLayers"); err != nil {
		return err
	}
	if m.Config == nil {
		return invalid("config", "is missing")
	}
	if IsForeign(*m.Config) {
		return invalid("config", "cannot be foreign: it has urls or a media type that is not distributed")
	}
	if err := checkData("config", m.Config); err != nil {
		return err
	}
	if err := checkData("subject", m.Subject); err != nil {
		return err
	}
	return checkAllData("layers", m.Layers)
}
