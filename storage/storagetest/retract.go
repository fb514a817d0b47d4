package storagetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// isKnown reports whether a registry knows of a link that it was the one to make
// it. One that does not takes nothing back.
func isKnown(t *testing.T, retract func(context.Context, storage.Link) error, made storage.Link) bool {
	t.Helper()
	if made.Version == "" {
		require.ErrorIs(t, retract(t.Context(), made), storage.ErrReferenced)
	}
	return made.Version != ""
}

// commitBlob stores a blob and returns the link that this has made.
func commitBlob(t *testing.T, repo storage.Repository, content []byte) storage.Link {
	t.Helper()
	u := begin(t, repo, content)
	require.Zero(t, u.Link())
	_, err := u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes(content)})
	require.NoError(t, err)
	return u.Link()
}

// makeManifest stores a manifest and returns the link that this has made.
func makeManifest(t *testing.T, repo storage.Repository, payload []byte) (made storage.Link) {
	t.Helper()
	_, err := repo.Manifests().Put(t.Context(), "", payload, storage.Made(&made))
	require.NoError(t, err)
	return made
}

// What was put is taken back only from who put it, whoever else is told that it
// is there.
func testRetract(s *suite) {
	content := []byte("content")
	d := digest.FromBytes(content)

	s.test("Blob", func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		putBlob(t, other, manifest.MediaTypeOCILayer, content)
		made := commitBlob(t, repo, content)
		require.Equal(t, d, made.Digest)
		if !isKnown(t, repo.Blobs().Retract, made) {
			requireBlob(t, repo, d, content)
			return
		}
		putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("sibling"))
		require.NoError(t, repo.Blobs().Retract(t.Context(), made))
		requireNoBlob(t, repo, d)
		requireBlob(t, repo, digest.FromBytes([]byte("sibling")), []byte("sibling"))
		requireBlob(t, other, d, content)
		require.ErrorIs(t, repo.Blobs().Retract(t.Context(), made), storage.ErrBlobUnknown)

		putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		require.ErrorIs(t, repo.Blobs().Retract(t.Context(), made), storage.ErrReferenced, "it is another's")
		requireBlob(t, repo, d, content)
	})

	s.test("BlobReferenced", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := newImage("one")
		made := []storage.Link{commitBlob(t, repo, img.config), commitBlob(t, repo, img.layer)}
		put := makeManifest(t, repo, img.payload)
		if !isKnown(t, repo.Manifests().Retract, put) {
			requireManifest(t, repo, img.payload)
			return
		}
		for _, link := range made {
			require.ErrorIs(t, repo.Blobs().Retract(t.Context(), link), storage.ErrReferenced)
		}
		require.NoError(t, repo.Manifests().Retract(t.Context(), put))
		for _, link := range made {
			require.NoError(t, repo.Blobs().Retract(t.Context(), link))
			requireNoBlob(t, repo, link.Digest)
		}
	})

	for name, use := range map[string]func(t *testing.T, repo, other storage.Repository) error{
		"Put": func(t *testing.T, repo, _ storage.Repository) error {
			return second(repo.Blobs().Put(t.Context(), "", content))
		},
		"Commit": func(t *testing.T, repo, _ storage.Repository) error {
			commitBlob(t, repo, content)
			return nil
		},
		"Mount": func(t *testing.T, repo, other storage.Repository) error {
			putBlob(t, other, manifest.MediaTypeOCILayer, content)
			return second(repo.Blobs().Mount(t.Context(), other, d))
		},
		"MountManifest": func(t *testing.T, repo, other storage.Repository) error {
			putBlob(t, other, manifest.MediaTypeOCILayer, content)
			putBlob(t, other, manifest.MediaTypeOCIConfig, []byte("{}"))
			image := putManifest(t, other, imagePayload(describe(manifest.MediaTypeOCIConfig, []byte("{}")), describe(manifest.MediaTypeOCILayer, content)))
			return second(repo.Manifests().Mount(t.Context(), other, image.Digest))
		},
		"Keep": func(t *testing.T, repo, _ storage.Repository) error { return second(repo.Blobs().Keep(t.Context(), d)) },
	} {
		s.test("BlobUsedBy"+name, func(t *testing.T, reg storage.Registry) {
			repo, other := repository(t, reg, "app"), repository(t, reg, "other")
			made := commitBlob(t, repo, content)
			require.NoError(t, use(t, repo, other))
			require.ErrorIs(t, repo.Blobs().Retract(t.Context(), made), storage.ErrReferenced)
			requireBlob(t, repo, d, content)
		})
	}

	s.test("BlobThatWasThere", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		made := commitBlob(t, repo, content)
		require.False(t, made.IsNew)
		require.ErrorIs(t, repo.Blobs().Retract(t.Context(), made), storage.ErrReferenced)
		requireBlob(t, repo, d, content)
	})

	s.test("BlobPutTwiceByOne", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		first := commitBlob(t, repo, content)
		if !isKnown(t, repo.Blobs().Retract, first) {
			requireBlob(t, repo, d, content)
			return
		}
		second := commitBlob(t, repo, content)
		require.ErrorIs(t, repo.Blobs().Retract(t.Context(), first), storage.ErrReferenced)
		require.ErrorIs(t, repo.Blobs().Retract(t.Context(), second), storage.ErrReferenced, "for all that is known the first was another's")
		require.NoError(t, repo.Blobs().Retract(t.Context(), second.Since(first)))
		requireNoBlob(t, repo, d)

		first = commitBlob(t, repo, content)
		putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		second = commitBlob(t, repo, content)
		require.ErrorIs(t, repo.Blobs().Retract(t.Context(), second.Since(first)), storage.ErrReferenced, "one between was another's")
		requireBlob(t, repo, d, content)
	})

	s.test("BlobUnknown", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		for _, d := range []digest.Digest{absent, absent512} {
			require.ErrorIs(t, repo.Blobs().Retract(t.Context(), storage.Link{Digest: d, Version: "x", IsNew: true}), storage.ErrBlobUnknown)
			require.ErrorIs(t, second(repo.Blobs().Keep(t.Context(), d)), storage.ErrBlobUnknown)
		}
	})

	s.test("Manifest", func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		img := pushImage(t, other, "one")
		putBlob(t, repo, manifest.MediaTypeOCIConfig, img.config)
		putBlob(t, repo, manifest.MediaTypeOCILayer, img.layer)
		made := makeManifest(t, repo, img.payload)
		require.Equal(t, img.digest, made.Digest)
		if !isKnown(t, repo.Manifests().Retract, made) {
			requireManifest(t, repo, img.payload)
			return
		}
		index := makeManifest(t, repo, indexPayload(img.descriptor()))
		require.ErrorIs(t, repo.Manifests().Retract(t.Context(), made), storage.ErrReferenced, "an index names it")
		require.NoError(t, repo.Manifests().Retract(t.Context(), index))
		requireNoManifest(t, repo, index.Digest)
		require.ErrorIs(t, repo.Manifests().Retract(t.Context(), index), storage.ErrManifestUnknown)

		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", img.digest))
		require.ErrorIs(t, repo.Manifests().Retract(t.Context(), made), storage.ErrReferenced, "a tag names it")
		requireManifest(t, repo, img.payload)
		requireTag(t, repo, "v1", img.digest)
		require.NoError(t, repo.Tags().Untag(t.Context(), "v1"))
		require.NoError(t, repo.Manifests().Retract(t.Context(), made))
		requireNoManifest(t, repo, img.digest)
		requireManifest(t, other, img.payload)
	})

	for name, use := range map[string]func(t *testing.T, repo, other storage.Repository, img image) error{
		"Put": func(t *testing.T, repo, _ storage.Repository, img image) error {
			return second(repo.Manifests().Put(t.Context(), "", img.payload))
		},
		"Mount": func(t *testing.T, repo, other storage.Repository, img image) error {
			return second(repo.Manifests().Mount(t.Context(), other, img.digest))
		},
		"MountIndex": func(t *testing.T, repo, other storage.Repository, img image) error {
			index := putManifest(t, other, indexPayload(img.descriptor()))
			return second(repo.Manifests().Mount(t.Context(), other, index.Digest))
		},
		"Keep": func(t *testing.T, repo, _ storage.Repository, img image) error {
			return second(repo.Manifests().Keep(t.Context(), img.digest))
		},
	} {
		s.test("ManifestUsedBy"+name, func(t *testing.T, reg storage.Registry) {
			repo, other := repository(t, reg, "app"), repository(t, reg, "other")
			img := pushImage(t, other, "one")
			putBlob(t, repo, manifest.MediaTypeOCIConfig, img.config)
			putBlob(t, repo, manifest.MediaTypeOCILayer, img.layer)
			made := makeManifest(t, repo, img.payload)
			require.NoError(t, use(t, repo, other, img))
			require.ErrorIs(t, repo.Manifests().Retract(t.Context(), made), storage.ErrReferenced)
			requireManifest(t, repo, img.payload)
		})
	}

	s.test("ManifestUnknown", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		require.ErrorIs(t, repo.Manifests().Retract(t.Context(), storage.Link{Digest: absent, Version: "x", IsNew: true}), storage.ErrManifestUnknown)
		require.ErrorIs(t, second(repo.Manifests().Keep(t.Context(), absent)), storage.ErrManifestUnknown)
	})

	// Whoever else is told at that moment that the blob is there has it then.
	s.test("Concurrent", func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		putBlob(t, other, manifest.MediaTypeOCILayer, content)
		uses := []func() error{
			func() error { return second(repo.Blobs().Put(t.Context(), "", content)) },
			func() error { return second(repo.Blobs().Mount(t.Context(), other, d)) },
			func() error { return second(repo.Blobs().Keep(t.Context(), d)) },
		}
		for n := range 60 {
			var used error
			var all sync.WaitGroup
			made := commitBlob(t, repo, content)
			all.Go(func() { used = uses[n%len(uses)]() })
			all.Go(func() {
				err := repo.Blobs().Retract(t.Context(), made)
				assert.True(t, err == nil || errors.Is(err, storage.ErrReferenced), "%v", err)
			})
			all.Wait()
			if used == nil {
				requireBlob(t, repo, d, content)
			} else {
				require.ErrorIs(t, used, storage.ErrBlobUnknown)
				requireNoBlob(t, repo, d)
			}
			if last := commitBlob(t, repo, content); last.IsNew {
				require.NoError(t, repo.Blobs().Retract(t.Context(), last))
			}
		}
	})
}
