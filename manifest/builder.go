package manifest

import (
	"encoding/json"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"registryfs/digest"
)

// ImageBuilder makes an image manifest. Media types that are empty become the
// usual ones of the kind of manifest.
type ImageBuilder struct {
	MediaType string // [MediaTypeOCIManifest], the default, or [MediaTypeDockerManifest]
	// Config may be left out of an artifact: it is then the empty JSON object,
	// "{}", which a repository must have as a blob.
	Config Descriptor
	Layers []Descriptor // lowest first

	Subject      *Descriptor       // OCI only
	ArtifactType string            // OCI only
	Annotations  map[string]string // OCI only
}

// Build returns a manifest that [ParseStrict] accepts. Errors: [ErrInvalid],
// [ErrTooLarge].
func (b *ImageBuilder) Build() (*Image, error) {
	doc := ocispec.Manifest{
		MediaType:    b.MediaType,
		ArtifactType: b.ArtifactType,
		Config:       b.Config,
		Layers:       make([]Descriptor, 0, len(b.Layers)), // never null
		Subject:      b.Subject,
		Annotations:  b.Annotations,
	}
	doc.SchemaVersion = 2
	config, layer := MediaTypeOCIConfig, MediaTypeOCILayer
	switch b.MediaType {
	case "", MediaTypeOCIManifest:
		doc.MediaType = MediaTypeOCIManifest
		if b.ArtifactType != "" && b.Config.Digest == "" {
			doc.Config = ocispec.DescriptorEmptyJSON
			doc.Config.Data = slices.Clone(doc.Config.Data)
		}
	case MediaTypeDockerManifest:
		config, layer = MediaTypeDockerConfig, MediaTypeDockerLayer
		if err := onlyOCI(b.Subject, b.ArtifactType, b.Annotations); err != nil {
			return nil, err
		}
	default:
		return nil, invalid("mediaType", "is "+quoted+": not that of an image manifest", b.MediaType)
	}
	doc.Config.MediaType = orElse(doc.Config.MediaType, config)
	for _, l := range b.Layers {
		l.MediaType = orElse(l.MediaType, layer)
		doc.Layers = append(doc.Layers, l)
	}
	m, err := build(doc.MediaType, doc)
	if err != nil {
		return nil, err
	}
	return m.(*Image), nil
}

// IndexBuilder makes an index. The descriptors of its manifests must have media
// types.
type IndexBuilder struct {
	MediaType string // [MediaTypeOCIIndex], the default, or [MediaTypeDockerList]
	Manifests []Descriptor

	Subject      *Descriptor       // OCI only
	ArtifactType string            // OCI only
	Annotations  map[string]string // OCI only
}

// Build returns an index that [ParseStrict] accepts. Errors: [ErrInvalid],
// [ErrTooLarge].
func (b *IndexBuilder) Build() (*Index, error) {
	doc := ocispec.Index{
		MediaType:    orElse(b.MediaType, MediaTypeOCIIndex),
		ArtifactType: b.ArtifactType,
		Manifests:    append([]Descriptor{}, b.Manifests...), // never null
		Subject:      b.Subject,
		Annotations:  b.Annotations,
	}
	doc.SchemaVersion = 2
	switch doc.MediaType {
	case MediaTypeOCIIndex:
	case MediaTypeDockerList:
		if err := onlyOCI(b.Subject, b.ArtifactType, b.Annotations); err != nil {
			return nil, err
		}
	default:
		return nil, invalid("mediaType", "is "+quoted+": not that of an index", b.MediaType)
	}
	for i, d := range b.Manifests {
		if d.MediaType == "" {
			return nil, invalid(fmt.Sprintf("manifests[%d].mediaType", i), "is missing")
		}
	}
	m, err := build(doc.MediaType, doc)
	if err != nil {
		return nil, err
	}
	return m.(*Index), nil
}

func onlyOCI(subject *Descriptor, artifactType string, annotations map[string]string) error {
	for field, present := range map[string]bool{
		"subject":      subject != nil,
		"artifactType": artifactType != "",
		"annotations":  annotations != nil,
	} {
		if present {
			return invalid(field, "does not belong in a manifest of Docker's")
		}
	}
	return nil
}

// build encodes a document as registries' clients do, and reads it again.
func build(mediaType string, doc any) (Manifest, error) {
	payload, err := json.MarshalIndent(doc, "", "   ")
	if err != nil {
		return nil, invalid("", "cannot be encoded: %v", err)
	}
	return ParseStrict(mediaType, payload)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// EmptyLayerDigest is the digest of [EmptyLayer].
const EmptyLayerDigest digest.Digest = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"

// EmptyLayer is the gzipped empty tar archive that stands in manifests of
// schema 1 for a step of history that changed no files.
func EmptyLayer() []byte {
	return []byte{
		0x1f, 0x8b, 0x08, 0x00, 0x00, 0x09, 0x6e, 0x88, 0x00, 0xff, 0x62, 0x18, 0x05, 0xa3, 0x60, 0x14,
		0x8c, 0x58, 0x00, 0x08, 0x00, 0x00, 0xff, 0xff, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00,
	}
}
