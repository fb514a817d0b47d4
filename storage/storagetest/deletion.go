package storagetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/manifest"
	"registryfs/storage"
)

// What names something, and what removes it, come at the same moment: whoever
// is second fails, and nothing that is left names what is gone.
func testDeleteConcurrent(s *suite) {
	const rounds = 60
	race := func(t *testing.T, first, second func() error, allowed ...error) {
		t.Helper()
		var wg sync.WaitGroup
		for _, do := range []func() error{first, second} {
			wg.Go(func() {
				err := do()
				ok := err == nil
				for _, want := range allowed {
					ok = ok || errors.Is(err, want)
				}
				assert.True(t, ok, "%v", err)
			})
		}
		wg.Wait()
	}
	tagsAreWhole := func(t *testing.T, repo storage.Repository) {
		t.Helper()
		for _, name := range allTags(t, repo) {
			tag, err := repo.Tags().Get(t.Context(), name)
			require.NoError(t, err)
			_, err = repo.Manifests().Get(t.Context(), tag.Digest)
			require.NoError(t, err, "tag %s names what is gone", name)
		}
	}

	s.testWith("Tag", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		for range rounds {
			img := pushImage(t, repo, "one")
			race(t,
				func() error { return repo.Tags().Tag(t.Context(), "v1", img.digest) },
				func() error { return repo.Manifests().Delete(t.Context(), img.digest) },
				storage.ErrManifestUnknown, storage.ErrReferenced,
			)
			tagsAreWhole(t, repo)
		}
	})

	// Other tags come between the two names, so that looking through all of
	// them takes a while.
	s.testWith("Rename", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img, other := pushImage(t, repo, "one"), pushImage(t, repo, "two")
		for i := range 30 {
			require.NoError(t, repo.Tags().Tag(t.Context(), fmt.Sprintf("b%d", i), other.digest))
		}
		require.NoError(t, repo.Tags().Tag(t.Context(), "c", img.digest))
		for i := range rounds {
			from, to := "c", "a"
			if i%2 == 1 {
				from, to = to, from
			}
			race(t,
				func() error { return repo.Tags().Rename(t.Context(), from, to) },
				func() error {
					err := repo.Manifests().Delete(t.Context(), img.digest, storage.UnlessTagged())
					assert.ErrorIs(t, err, storage.ErrReferenced, "it always has a tag")
					return nil
				},
			)
			requireTag(t, repo, to, img.digest)
			requireManifest(t, repo, img.payload)
		}
	})

	s.testWith("PutManifest", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := newImage("one")
		for range rounds {
			putBlob(t, repo, manifest.MediaTypeOCIConfig, img.config)
			putBlob(t, repo, manifest.MediaTypeOCILayer, img.layer)
			var missing *storage.MissingError
			race(t,
				func() error {
					_, err := repo.Manifests().Put(t.Context(), "", img.payload)
					if errors.As(err, &missing) {
						return nil
					}
					return err
				},
				func() error { return repo.Blobs().Delete(t.Context(), img.blobs()[1]) },
				storage.ErrReferenced,
			)
			exists, err := repo.Manifests().Exists(t.Context(), img.digest)
			require.NoError(t, err)
			require.Equal(t, exists, missing == nil)
			if exists {
				requireBlob(t, repo, img.blobs()[1], img.layer)
				require.NoError(t, repo.Manifests().Delete(t.Context(), img.digest))
			}
		}
	})
}
