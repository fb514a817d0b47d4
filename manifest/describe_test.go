package manifest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
)

func TestDescribe(t *testing.T) {
	const more = `"annotations":{"a":"b"},"artifactType":"application/x",`
	docker := in(image, manifest.MediaTypeOCIManifest, manifest.MediaTypeDockerManifest)
	for payload, want := range map[string]manifest.Descriptor{
		in(image, `"config"`, more+`"config"`):       {MediaType: manifest.MediaTypeOCIManifest, ArtifactType: "application/x", Annotations: map[string]string{"a": "b"}},
		image:                                        {MediaType: manifest.MediaTypeOCIManifest, ArtifactType: manifest.MediaTypeOCIConfig},
		untypedImage:                                 {MediaType: manifest.MediaTypeOCIManifest, ArtifactType: manifest.MediaTypeOCIConfig},
		in(image, `"config":`+config+`,`, ``):        {MediaType: manifest.MediaTypeOCIManifest},
		in(docker, `"config"`, more+`"config"`):      {MediaType: manifest.MediaTypeDockerManifest, ArtifactType: manifest.MediaTypeOCIConfig},
		in(index, `"manifests"`, more+`"manifests"`): {MediaType: manifest.MediaTypeOCIIndex, ArtifactType: "application/x", Annotations: map[string]string{"a": "b"}},
		index: {MediaType: manifest.MediaTypeOCIIndex},
		in(index, `"manifests"`, `"annotations":5,"manifests"`):  {MediaType: manifest.MediaTypeOCIIndex},
		in(index, `"manifests"`, `"annotations":{},"manifests"`): {MediaType: manifest.MediaTypeOCIIndex, Annotations: map[string]string{}},
		schema1: {MediaType: manifest.MediaTypeDockerSchema1},
	} {
		m, err := manifest.Parse("", []byte(payload))
		require.NoError(t, err)
		want.Digest, want.Size = digest.FromBytes([]byte(payload)), int64(len(payload))
		require.Equal(t, want, manifest.Describe(m, want.Digest), payload)
	}
}
