package manifest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/manifest"
)

func TestPredicates(t *testing.T) {
	for mediaType, want := range map[string]struct{ image, index, docker, schema1 bool }{
		manifest.MediaTypeOCIManifest:                     {image: true},
		manifest.MediaTypeOCIIndex:                        {index: true},
		manifest.MediaTypeDockerManifest:                  {image: true, docker: true},
		manifest.MediaTypeDockerList:                      {index: true, docker: true},
		manifest.MediaTypeOCIIndex + " ; charset=utf-8":   {index: true},
		strings.ToUpper(manifest.MediaTypeDockerManifest): {image: true, docker: true},
		manifest.MediaTypeDockerSchema1:                   {schema1: true},
		manifest.MediaTypeDockerSchema1Signed + ";a=b":    {schema1: true},
		manifest.MediaTypeOCILayer:                        {},
		manifest.MediaTypeOctetStream:                     {},
		manifest.MediaTypeOCIIndex + "x":                  {},
		"":                                                {},
	} {
		require.Equal(t, want.image, manifest.IsImage(mediaType), mediaType)
		require.Equal(t, want.index, manifest.IsIndex(mediaType), mediaType)
		require.Equal(t, want.schema1, manifest.IsSchema1(mediaType), mediaType)
		require.Equal(t, want.image || want.index || want.schema1, manifest.IsManifest(mediaType), mediaType)
		require.Equal(t, want.docker, manifest.IsDocker(mediaType), mediaType)
	}
}

func TestIsForeign(t *testing.T) {
	for mediaType, want := range map[string]bool{
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":               true,
		"application/vnd.docker.image.rootfs.foreign.diff.tar":                    true,
		"application/vnd.docker.image.rootfs.foreign.diff.tar.zstd":               true,
		"application/vnd.oci.image.layer.nondistributable.v1.tar":                 true,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip":            true,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd; encrypted": true,
		"application/vnd.docker.image.rootfs.diff.tar.gzip":                       false,
		"application/vnd.oci.image.layer.v1.tar+gzip":                             false,
		"application/vnd.oci.image.layer.nondistributable.v1.tarx":                false,
		"": false,
	} {
		require.Equal(t, want, manifest.IsForeign(manifest.Descriptor{MediaType: mediaType}), mediaType)
	}
	require.True(t, manifest.IsForeign(manifest.Descriptor{URLs: []string{"https://example.com"}}))
	require.False(t, manifest.IsForeign(manifest.Descriptor{URLs: []string{}}))
}

func TestDetectMediaType(t *testing.T) {
	for payload, want := range map[string]string{
		image:                                      manifest.MediaTypeOCIManifest,
		untypedImage:                               manifest.MediaTypeOCIManifest,
		untypedIndex:                               manifest.MediaTypeOCIIndex,
		`{"manifests":null}`:                       manifest.MediaTypeOCIIndex,
		`{"layers":null}`:                          manifest.MediaTypeOCIManifest,
		`{"layers":[],"manifests":null}`:           manifest.MediaTypeOCIManifest,
		`{"manifests":5}`:                          manifest.MediaTypeOCIIndex,
		`{"schemaVersion":1}`:                      manifest.MediaTypeDockerSchema1,
		`{"fsLayers":[],"signatures":[]}`:          manifest.MediaTypeDockerSchema1Signed,
		`{"mediaType":"Application/X; a=b"}`:       "application/x",
		`{"mediaType":"application/octet-stream"}`: "",
		`{"mediaType":"no type"}`:                  "",
		`{"mediaType":"a/b\nc"}`:                   "",
		`{"mediaType":"noslash"}`:                  "",
		`{"mediaType":"a/` + strings.Repeat("b", 300) + `"}`: "",
		`{"mediaType":5}`: "",
		`{}`:              "",
		``:                "",
		`[`:               "",
		`null`:            "",
	} {
		require.Equal(t, want, manifest.DetectMediaType([]byte(payload)), payload)
	}
}
