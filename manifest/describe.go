package manifest

import "registryfs/digest"

// Describe is the descriptor of m, as an index or a listing of referrers has
// it; d is the digest that m is stored under.
//
// Annotations and artifact type are those of the manifest. An image manifest
// without artifact type has the media type of its configuration there
// (distribution specification, "Listing Referrers").
func Describe(m Manifest, d digest.Digest) Descriptor {
	desc := Descriptor{MediaType: m.MediaType(), Digest: d, Size: int64(len(m.Payload()))}
	switch m := m.(type) {
	case *Image:
		desc.ArtifactType, desc.Annotations = m.ArtifactType, m.Annotations
		if desc.ArtifactType == "" && m.Config != nil {
			desc.ArtifactType = m.Config.MediaType
		}
	case *Index:
		desc.ArtifactType, desc.Annotations = m.ArtifactType, m.Annotations
	}
	return desc
}
