package manifest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
)

func descriptor(hex string, size int64) manifest.Descriptor {
	return manifest.Descriptor{Digest: digest.Digest("sha256:" + hex), Size: size}
}

func TestImageBuilder(t *testing.T) {
	subject := descriptor(hexA, 3)
	subject.MediaType = manifest.MediaTypeOCIManifest
	for name, c := range map[string]struct {
		builder manifest.ImageBuilder
		types   []string // of the image, its configuration, its layers
	}{
		"OCI": {
			manifest.ImageBuilder{Config: descriptor(hexA, 7), Layers: []manifest.Descriptor{descriptor(hexB, 9), descriptor(hexA, 1)}},
			[]string{manifest.MediaTypeOCIManifest, manifest.MediaTypeOCIConfig, manifest.MediaTypeOCILayer, manifest.MediaTypeOCILayer},
		},
		"Docker": {
			manifest.ImageBuilder{MediaType: manifest.MediaTypeDockerManifest, Config: descriptor(hexA, 7), Layers: []manifest.Descriptor{descriptor(hexB, 9)}},
			[]string{manifest.MediaTypeDockerManifest, manifest.MediaTypeDockerConfig, manifest.MediaTypeDockerLayer},
		},
		"no layers": {
			manifest.ImageBuilder{Config: descriptor(hexA, 7)},
			[]string{manifest.MediaTypeOCIManifest, manifest.MediaTypeOCIConfig},
		},
		"artifact": {
			manifest.ImageBuilder{ArtifactType: "application/x", Subject: &subject, Annotations: map[string]string{"a": "b"}},
			[]string{manifest.MediaTypeOCIManifest, manifest.MediaTypeOCIEmpty},
		},
		"given types": {
			manifest.ImageBuilder{Config: manifest.Descriptor{MediaType: "a/b", Digest: "sha256:" + hexA}, Layers: []manifest.Descriptor{{MediaType: "c/d", Digest: "sha256:" + hexB, URLs: []string{"https://example.com"}}}},
			[]string{manifest.MediaTypeOCIManifest, "a/b", "c/d"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := c.builder.Build()
			require.NoError(t, err)
			types := []string{m.MediaType(), m.Config.MediaType}
			for i, l := range m.Layers {
				types = append(types, l.MediaType)
				require.Equal(t, c.builder.Layers[i].Digest, l.Digest)
				require.Equal(t, c.builder.Layers[i].Size, l.Size)
				require.Equal(t, c.builder.Layers[i].URLs, l.URLs)
			}
			require.Len(t, m.Layers, len(c.builder.Layers))
			require.Equal(t, c.types, types)
			require.Equal(t, c.builder.Subject, m.Subject)
			require.Equal(t, c.builder.ArtifactType, m.ArtifactType)
			require.Equal(t, c.builder.Annotations, m.Annotations)

			parsed, err := manifest.ParseStrict("", m.Payload())
			require.NoError(t, err)
			require.Equal(t, m, parsed)
			again := manifest.ImageBuilder{MediaType: m.MediaType(), Config: *m.Config, Layers: m.Layers,
				Subject: m.Subject, ArtifactType: m.ArtifactType, Annotations: m.Annotations}
			same, err := again.Build()
			require.NoError(t, err)
			require.Equal(t, m, same)
		})
	}
}

func TestIndexBuilder(t *testing.T) {
	child := descriptor(hexA, 7)
	child.MediaType = manifest.MediaTypeOCIManifest
	child.Platform = &manifest.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	for mediaType, want := range map[string]string{
		"":                            manifest.MediaTypeOCIIndex,
		manifest.MediaTypeOCIIndex:    manifest.MediaTypeOCIIndex,
		manifest.MediaTypeDockerList:  manifest.MediaTypeDockerList,
		manifest.MediaTypeDockerLayer: "",
	} {
		for _, children := range [][]manifest.Descriptor{nil, {child}} {
			b := manifest.IndexBuilder{MediaType: mediaType, Manifests: children}
			m, err := b.Build()
			if want == "" {
				require.ErrorIs(t, err, manifest.ErrInvalid)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, want, m.MediaType())
			require.Equal(t, children, m.Manifests)
			parsed, err := manifest.ParseStrict("", m.Payload())
			require.NoError(t, err)
			require.Equal(t, m, parsed)
		}
	}
	b := manifest.IndexBuilder{Subject: &child, ArtifactType: "application/x", Annotations: map[string]string{"a": "b"}}
	m, err := b.Build()
	require.NoError(t, err)
	require.Equal(t, b.Subject, m.Subject)
	require.Equal(t, b.ArtifactType, m.ArtifactType)
	require.Equal(t, b.Annotations, m.Annotations)
}

func TestBuildersRefuse(t *testing.T) {
	config, untyped := descriptor(hexA, 7), descriptor(hexB, 9)
	for name, build := range map[string]func() error{
		"no config": func() error { _, err := (&manifest.ImageBuilder{}).Build(); return err },
		"no digest": func() error {
			_, err := (&manifest.IndexBuilder{Manifests: []manifest.Descriptor{{MediaType: "a/b"}}}).Build()
			return err
		},
		"no type in an index": func() error {
			_, err := (&manifest.IndexBuilder{Manifests: []manifest.Descriptor{untyped}}).Build()
			return err
		},
		"tarsum": func() error {
			_, err := (&manifest.ImageBuilder{Config: manifest.Descriptor{Digest: "tarsum+sha256:" + hexA}}).Build()
			return err
		},
		"an index's type": func() error {
			_, err := (&manifest.ImageBuilder{MediaType: manifest.MediaTypeOCIIndex, Config: config}).Build()
			return err
		},
		"Docker, subject": func() error {
			_, err := (&manifest.ImageBuilder{MediaType: manifest.MediaTypeDockerManifest, Config: config, Subject: &untyped}).Build()
			return err
		},
		"Docker, annotations": func() error {
			_, err := (&manifest.IndexBuilder{MediaType: manifest.MediaTypeDockerList, Annotations: map[string]string{}}).Build()
			return err
		},
		"too many": func() error {
			_, err := (&manifest.ImageBuilder{Config: config, Layers: make([]manifest.Descriptor, manifest.MaxReferences+1)}).Build()
			return err
		},
	} {
		require.ErrorIs(t, build(), manifest.ErrInvalid, name)
	}
}

const configuration = `{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"created":"2015-10-31T22:22:56Z","big":12345678901234567890,
"history":[
 {"created":"2015-10-31T22:22:54Z","created_by":"ADD file in /"},
 {"created":"2015-10-31T22:22:55Z","created_by":"CMD sh","author":"A","comment":"C","empty_layer":true},
 {"created":"2015-10-31T22:22:56Z","created_by":"RUN x"}
],"rootfs":{"type":"layers","diff_ids":["sha256:` + hexA + `","sha256:` + hexB + `"]}}`

func TestSchema1Builder(t *testing.T) {
	b := manifest.Schema1Builder{Name: "team/app", Tag: "v1", Config: []byte(configuration),
		Layers: []digest.Digest{"sha256:" + hexA, "sha256:" + hexB}}
	m, err := b.Build()
	require.NoError(t, err)
	require.Equal(t, "team/app", m.Name)
	require.Equal(t, "v1", m.Tag)
	require.Equal(t, "amd64", m.Architecture)
	require.Equal(t, []digest.Digest{"sha256:" + hexB, manifest.EmptyLayerDigest, "sha256:" + hexA}, m.Layers)

	id := func(seed string) string { return digest.FromBytes([]byte(seed)).Encoded() }
	lowest := id(hexA + " ")
	middle := id(manifest.EmptyLayerDigest.Encoded() + " " + lowest)
	top := id(hexB + " " + middle + " " + configuration)
	require.Len(t, m.History, 3)
	require.Equal(t, `{"id":"`+lowest+`","created":"2015-10-31T22:22:54Z","container_config":{"Cmd":["ADD file in /"]}}`, m.History[2])
	require.Equal(t, `{"id":"`+middle+`","parent":"`+lowest+`","comment":"C","created":"2015-10-31T22:22:55Z",`+
		`"container_config":{"Cmd":["CMD sh"]},"author":"A","throwaway":true}`, m.History[1])
	require.Equal(t, `{"architecture":"amd64","big":12345678901234567890,"config":{"Cmd":["sh"]},"created":"2015-10-31T22:22:56Z",`+
		`"id":"`+top+`","os":"linux","parent":"`+middle+`"}`, m.History[0])

	parsed, err := manifest.ParseStrict("", m.Payload())
	require.NoError(t, err)
	require.Equal(t, m, parsed)

	s, err := b.Sign(newKey(t))
	require.NoError(t, err)
	require.Equal(t, m, s.Manifest())
	parsedSigned, err := manifest.ParseSigned(s.Document())
	require.NoError(t, err)
	require.Equal(t, s, parsedSigned)
	require.NoError(t, s.CheckName("team/app", "v1"))
}

func TestSchema1BuilderWithoutHistory(t *testing.T) {
	b := manifest.Schema1Builder{Name: "a", Config: []byte(`{"architecture":"arm"}`), Layers: []digest.Digest{"sha256:" + hexA, "tarsum+sha256:" + hexB}}
	m, err := b.Build()
	require.NoError(t, err)
	require.Equal(t, []digest.Digest{"tarsum+sha256:" + hexB, "sha256:" + hexA}, m.Layers)
	var lowest map[string]any
	require.NoError(t, json.Unmarshal([]byte(m.History[1]), &lowest))
	require.Equal(t, "0001-01-01T00:00:00Z", lowest["created"])
}

// Steps that are all empty still make a layer each, the top one as well.
func TestSchema1BuilderOfEmptySteps(t *testing.T) {
	b := manifest.Schema1Builder{Name: "a", Config: []byte(`{"history":[{"empty_layer":true},{"empty_layer":true}]}`)}
	m, err := b.Build()
	require.NoError(t, err)
	require.Equal(t, []digest.Digest{manifest.EmptyLayerDigest, manifest.EmptyLayerDigest}, m.Layers)
	require.Contains(t, m.History[0], `"throwaway":true`)
	require.Len(t, m.References().Blobs, 1)
}

func TestSchema1BuilderRefuses(t *testing.T) {
	one := []digest.Digest{"sha256:" + hexA}
	for name, c := range map[string]struct {
		builder manifest.Schema1Builder
		want    error
	}{
		"no name":         {manifest.Schema1Builder{Config: []byte(`{}`), Layers: one}, manifest.ErrInvalid},
		"no layers":       {manifest.Schema1Builder{Name: "a", Config: []byte(`{}`)}, manifest.ErrInvalid},
		"fewer layers":    {manifest.Schema1Builder{Name: "a", Config: []byte(configuration), Layers: one}, manifest.ErrInvalid},
		"more layers":     {manifest.Schema1Builder{Name: "a", Config: []byte(configuration), Layers: append(one, one[0], one[0])}, manifest.ErrInvalid},
		"no digest":       {manifest.Schema1Builder{Name: "a", Config: []byte(`{}`), Layers: []digest.Digest{"sha256:a"}}, manifest.ErrInvalid},
		"zero digest":     {manifest.Schema1Builder{Name: "a", Config: []byte(`{}`), Layers: []digest.Digest{""}}, manifest.ErrInvalid},
		"no config":       {manifest.Schema1Builder{Name: "a", Layers: one}, manifest.ErrInvalid},
		"config null":     {manifest.Schema1Builder{Config: []byte(`null`), Layers: one}, manifest.ErrInvalid},
		"config an array": {manifest.Schema1Builder{Name: "a", Config: []byte(`[]`), Layers: one}, manifest.ErrInvalid},
		"config too long": {manifest.Schema1Builder{Name: "a", Config: []byte(strings.Repeat(" ", manifest.MaxSize+1)), Layers: one}, manifest.ErrTooLarge},
	} {
		_, err := c.builder.Build()
		require.ErrorIs(t, err, c.want, name)
		_, err = c.builder.Sign(newKey(t))
		require.ErrorIs(t, err, c.want, name)
	}
}

func TestEmptyLayer(t *testing.T) {
	layer := manifest.EmptyLayer()
	require.Equal(t, manifest.EmptyLayerDigest, digest.FromBytes(layer))
	r, err := gzip.NewReader(bytes.NewReader(layer))
	require.NoError(t, err)
	_, err = tar.NewReader(r).Next()
	require.ErrorIs(t, err, io.EOF)
}

// Nothing panics, and what is built is accepted.
func FuzzSchema1Builder(f *testing.F) {
	f.Add([]byte(configuration), uint8(2))
	f.Add([]byte(`{"history":[{"empty_layer":true}]}`), uint8(0))
	f.Add([]byte(`{"architecture":"<\u0000","History":[],"id":5}`), uint8(1))
	f.Fuzz(func(t *testing.T, config []byte, layers uint8) {
		b := manifest.Schema1Builder{Name: "a", Config: config}
		for range layers {
			b.Layers = append(b.Layers, "sha256:"+hexA)
		}
		m, err := b.Build()
		if err != nil {
			require.ErrorIs(t, err, manifest.ErrInvalid)
			return
		}
		parsed, err := manifest.ParseStrict("", m.Payload())
		require.NoError(t, err)
		require.Equal(t, m, parsed)
		require.GreaterOrEqual(t, len(m.Layers), int(layers))
	})
}
