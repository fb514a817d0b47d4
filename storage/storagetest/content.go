package storagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// absent is the digest of something that no test stores.
var absent = digest.FromBytes([]byte("what no test stores"))

// absent512 is the same under another algorithm.
var absent512 = digest.SHA512.FromString("what no test stores")

// noise is content that cannot be mistaken for other noise.
func noise(seed uint64, size int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	p := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

// describe is the descriptor that content must have.
func describe(mediaType string, content []byte) storage.Descriptor {
	return storage.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// putBlob stores a blob.
func putBlob(t *testing.T, repo storage.Repository, mediaType string, content []byte) storage.Descriptor {
	t.Helper()
	desc, err := repo.Blobs().Put(t.Context(), mediaType, content)
	require.NoError(t, err)
	require.Equal(t, describe(mediaType, content), desc)
	return desc
}

// putManifest stores a manifest.
func putManifest(t *testing.T, repo storage.Repository, payload []byte) storage.Descriptor {
	t.Helper()
	desc, err := repo.Manifests().Put(t.Context(), "", payload)
	require.NoError(t, err)
	require.Equal(t, describe(manifest.DetectMediaType(payload), payload), desc)
	return desc
}

// image is an image as it is pushed.
type image struct {
	config, layer []byte
	payload       []byte
	digest        digest.Digest
}

// newImage makes an image; another word makes another image.
func newImage(word string) image {
	img := image{config: []byte(`{"config":"` + word + `"}`), layer: []byte("layer of " + word)}
	img.payload = imagePayload(
		describe(manifest.MediaTypeOCIConfig, img.config),
		describe(manifest.MediaTypeOCILayer, img.layer),
	)
	img.digest = digest.FromBytes(img.payload)
	return img
}

// blobs is what an image references.
func (img image) blobs() []digest.Digest {
	return []digest.Digest{digest.FromBytes(img.config), digest.FromBytes(img.layer)}
}

// pushImage makes an image and stores it, without a tag.
func pushImage(t *testing.T, repo storage.Repository, word string) image {
	t.Helper()
	img := newImage(word)
	putBlob(t, repo, manifest.MediaTypeOCIConfig, img.config)
	putBlob(t, repo, manifest.MediaTypeOCILayer, img.layer)
	putManifest(t, repo, img.payload)
	return img
}

// descriptor is how an index names the image.
func (img image) descriptor() storage.Descriptor {
	return describe(manifest.MediaTypeOCIManifest, img.payload)
}

func imagePayload(config storage.Descriptor, layers ...storage.Descriptor) []byte {
	return encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: manifest.MediaTypeOCIManifest,
		Config:    config,
		Layers:    layers,
	})
}

func indexPayload(children ...storage.Descriptor) []byte {
	return encode(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: manifest.MediaTypeOCIIndex,
		Manifests: append([]storage.Descriptor{}, children...),
	})
}

func encode(document any) []byte {
	payload, err := json.Marshal(document)
	if err != nil {
		panic(err) // only the types above come here
	}
	return payload
}

// requireBlob reads a blob in every way there is.
func requireBlob(t *testing.T, repo storage.Repository, d digest.Digest, want []byte) {
	t.Helper()
	desc, err := repo.Blobs().Stat(t.Context(), d)
	require.NoError(t, err)
	require.Equal(t, digest.FromBytes(want), desc.Digest, "the digest of a blob is its canonical one")
	require.Equal(t, int64(len(want)), desc.Size)
	blob, err := repo.Blobs().Open(t.Context(), d)
	require.NoError(t, err)
	requireContent(t, blob, want)
	if len(want) > storage.MaxGet {
		return
	}
	got, err := repo.Blobs().Get(t.Context(), d)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "Get returns other bytes")
}

// requireContent reads all of what is open, and closes it.
func requireContent(t *testing.T, blob storage.Blob, want []byte) {
	t.Helper()
	require.Equal(t, digest.FromBytes(want), blob.Descriptor().Digest)
	require.Equal(t, int64(len(want)), blob.Descriptor().Size)
	got, err := io.ReadAll(io.NewSectionReader(blob, 0, int64(len(want))+1))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "reading returns other bytes")
	require.NoError(t, blob.Close())
}

// requireNoBlob makes sure that nothing shows of a blob.
func requireNoBlob(t *testing.T, repo storage.Repository, d digest.Digest) {
	t.Helper()
	_, err := repo.Blobs().Stat(t.Context(), d)
	require.ErrorIs(t, err, storage.ErrBlobUnknown)
	_, err = repo.Blobs().Open(t.Context(), d)
	require.ErrorIs(t, err, storage.ErrBlobUnknown)
	_, err = repo.Blobs().Get(t.Context(), d)
	require.ErrorIs(t, err, storage.ErrBlobUnknown)
	require.NotContains(t, allBlobs(t, repo), d)
}

// requireManifest reads a manifest in every way there is.
func requireManifest(t *testing.T, repo storage.Repository, payload []byte) {
	t.Helper()
	d := digest.FromBytes(payload)
	exists, err := repo.Manifests().Exists(t.Context(), d)
	require.NoError(t, err)
	require.True(t, exists)
	desc, err := repo.Manifests().Stat(t.Context(), d)
	require.NoError(t, err)
	require.Equal(t, d, desc.Digest)
	require.Equal(t, int64(len(payload)), desc.Size)
	blob, err := repo.Manifests().Open(t.Context(), d)
	require.NoError(t, err)
	requireContent(t, blob, payload)
	m, err := repo.Manifests().Get(t.Context(), d)
	require.NoError(t, err)
	require.Equal(t, string(payload), string(m.Payload()))
	require.Equal(t, manifest.DetectMediaType(payload), m.MediaType())
	require.Contains(t, allManifests(t, repo), d)
}

// requireNoManifest makes sure that nothing shows of a manifest.
func requireNoManifest(t *testing.T, repo storage.Repository, d digest.Digest) {
	t.Helper()
	exists, err := repo.Manifests().Exists(t.Context(), d)
	require.NoError(t, err)
	require.False(t, exists)
	_, err = repo.Manifests().Stat(t.Context(), d)
	require.ErrorIs(t, err, storage.ErrManifestUnknown)
	_, err = repo.Manifests().Open(t.Context(), d)
	require.ErrorIs(t, err, storage.ErrManifestUnknown)
	_, err = repo.Manifests().Get(t.Context(), d)
	require.ErrorIs(t, err, storage.ErrManifestUnknown)
	require.NotContains(t, allManifests(t, repo), d)
}

// tester is a test, or a run of random operations.
type tester interface {
	require.TestingT
	Helper()
	Context() context.Context
}

// allBlobs is what Enumerate finds, each of it once.
func allBlobs(t tester, repo storage.Repository) []digest.Digest {
	t.Helper()
	return enumerate(t, func(fn func(digest.Digest) error) error { return repo.Blobs().Enumerate(t.Context(), fn) })
}

// allManifests is allBlobs for manifests.
func allManifests(t tester, repo storage.Repository) []digest.Digest {
	t.Helper()
	return enumerate(t, func(fn func(digest.Digest) error) error { return repo.Manifests().Enumerate(t.Context(), fn) })
}

func enumerate(t tester, each func(func(digest.Digest) error) error) []digest.Digest {
	t.Helper()
	var all []digest.Digest
	require.NoError(t, each(func(d digest.Digest) error {
		require.NotContains(t, all, d, "enumerated twice")
		all = append(all, d)
		return nil
	}))
	slices.Sort(all)
	return all
}

func sorted(ds ...digest.Digest) []digest.Digest { return slices.Sorted(slices.Values(ds)) }
