package storagetest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

func testManifests(s *suite) {
	s.test("Put", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "team/app")
		img := newImage("one")
		requireNoManifest(t, repo, img.digest)
		require.Empty(t, allManifests(t, repo))
		for range 2 { // a second Put is no error
			pushImage(t, repo, "one")
			requireManifest(t, repo, img.payload)
			require.Equal(t, []digest.Digest{img.digest}, allManifests(t, repo))
		}
		requireNoManifest(t, repository(t, reg, "team/other"), img.digest)
		require.Empty(t, uploadIDs(t, repo))
		tags, err := repo.Tags().All(t.Context())
		require.NoError(t, err)
		require.Empty(t, tags)
	})

	s.test("Kinds", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		config, layer := describe(manifest.MediaTypeOCIConfig, img.config), describe(manifest.MediaTypeOCILayer, img.layer)
		empty := putBlob(t, repo, manifest.MediaTypeOCIEmpty, []byte("{}"))
		for name, c := range map[string]struct{ mediaType, payload string }{
			"image":        {manifest.MediaTypeOCIManifest, string(imagePayload(config, layer))},
			"no layers":    {manifest.MediaTypeOCIManifest, string(imagePayload(config))},
			"artifact":     {manifest.MediaTypeOCIManifest, string(imagePayload(empty, empty))},
			"index":        {manifest.MediaTypeOCIIndex, string(indexPayload(img.descriptor()))},
			"empty index":  {manifest.MediaTypeOCIIndex, string(indexPayload())},
			"docker image": {manifest.MediaTypeDockerManifest, docker(imagePayload(config, layer))},
			"docker list":  {manifest.MediaTypeDockerList, docker(indexPayload(img.descriptor()))},
			"absent subject": {manifest.MediaTypeOCIManifest, with(imagePayload(empty, empty),
				`"subject":{"mediaType":"`+manifest.MediaTypeOCIManifest+`","digest":"`+absent.String()+`","size":7}`)},
			"foreign layer": {manifest.MediaTypeOCIManifest, string(imagePayload(config, storage.Descriptor{
				MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar", Digest: absent, Size: 5,
			}))},
		} {
			payload := []byte(c.payload)
			for _, mediaType := range []string{c.mediaType, c.mediaType + "; charset=utf-8", ""} {
				desc, err := repo.Manifests().Put(t.Context(), mediaType, payload)
				require.NoError(t, err, "%s as %q", name, mediaType)
				require.Equal(t, describe(c.mediaType, payload), desc, "%s as %q", name, mediaType)
			}
			requireManifest(t, repo, payload)
		}
	})

	s.test("References", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		m, err := repo.Manifests().Get(t.Context(), img.digest)
		require.NoError(t, err)
		var got []digest.Digest
		for _, desc := range m.References().Blobs {
			got = append(got, desc.Digest)
		}
		require.Equal(t, img.blobs(), got)
	})

	img := newImage("one")
	for name, c := range map[string]struct {
		mediaType string
		payload   string
		err       error
	}{
		"Nothing":       {"", "", manifest.ErrInvalid},
		"Text":          {"", "no manifest", manifest.ErrInvalid},
		"Truncated":     {"", string(img.payload[:len(img.payload)/2]), manifest.ErrInvalid},
		"Trailing":      {"", string(img.payload) + "{}", manifest.ErrInvalid},
		"Array":         {"", "[]", manifest.ErrInvalid},
		"Ambiguous":     {"", with(img.payload, `"manifests":[]`), manifest.ErrInvalid},
		"DuplicateKey":  {"", with(img.payload, `"layers":[]`), manifest.ErrInvalid},
		"OtherType":     {manifest.MediaTypeOCIIndex, string(img.payload), manifest.ErrInvalid},
		"UnknownType":   {"application/x-unknown", `{"schemaVersion":2}`, manifest.ErrInvalid},
		"Schema1":       {"", `{"schemaVersion":1,"name":"app","tag":"v1","fsLayers":[]}`, manifest.ErrInvalid},
		"TooLarge":      {"", string(bytes.Repeat([]byte(" "), manifest.MaxSize+1)), manifest.ErrTooLarge},
		"InvalidDigest": {"", strings.Replace(string(img.payload), "sha256:", "sha256:zz", 1), manifest.ErrInvalid},
	} {
		s.test("Refuses"+name, func(t *testing.T, reg storage.Registry) {
			repo := repository(t, reg, "app")
			putBlob(t, repo, manifest.MediaTypeOCIConfig, img.config)
			putBlob(t, repo, manifest.MediaTypeOCILayer, img.layer)
			_, err := repo.Manifests().Put(t.Context(), c.mediaType, []byte(c.payload))
			require.ErrorIs(t, err, c.err)
			require.Empty(t, allManifests(t, repo))
			requireNoManifest(t, repo, digest.FromBytes([]byte(c.payload)))
		})
	}

	s.test("Enumerate", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two := pushImage(t, repo, "one"), pushImage(t, repo, "two")
		require.Equal(t, sorted(one.digest, two.digest), allManifests(t, repo))
		stop := errors.New("enough")
		calls := 0
		err := repo.Manifests().Enumerate(t.Context(), func(digest.Digest) error {
			calls++
			return stop
		})
		require.ErrorIs(t, err, stop)
		require.Equal(t, 1, calls)
	})
}

// docker is an OCI document in Docker's words.
func docker(payload []byte) string {
	return strings.NewReplacer(
		manifest.MediaTypeOCIManifest, manifest.MediaTypeDockerManifest,
		manifest.MediaTypeOCIIndex, manifest.MediaTypeDockerList,
		manifest.MediaTypeOCIConfig, manifest.MediaTypeDockerConfig,
		manifest.MediaTypeOCILayer, manifest.MediaTypeDockerLayer,
	).Replace(string(payload))
}

// with is a JSON object with one more field.
func with(payload []byte, field string) string {
	return strings.TrimSuffix(string(payload), "}") + "," + field + "}"
}
