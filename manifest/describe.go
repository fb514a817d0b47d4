package manifest

import "registryfs/digest"

// Describe is the descriptor of a manifest, as a list of referrers gives it.
func Describe(m Manifest, d digest.Digest) Descriptor {
	desc := Descriptor{MediaType: m.MediaType(), Digest: d, Size: int64(len(m.Payload()))}
	if image, ok := m.(*Image); ok {
		desc.ArtifactType = image.ArtifactType
	}
	return desc
}
