package storagetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/storage"
)

// readers is how many goroutines look while tags move.
const readers = 4

// whileReading runs read again and again in several goroutines while change
// runs.
func whileReading(read, change func()) {
	var (
		wg   sync.WaitGroup
		stop atomic.Bool
	)
	for range readers {
		wg.Go(func() {
			for !stop.Load() {
				read()
			}
		})
	}
	defer wg.Wait()
	defer stop.Store(true) // also where change ends the test
	change()
}

func testTagsConcurrent(s *suite) {
	// As each retag is durable, a hundred of them are many reads.
	const rounds = 100

	s.test("Retag", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		images := []image{pushImage(t, repo, "one"), pushImage(t, repo, "two")}
		values := []digest.Digest{images[0].digest, images[1].digest}
		require.NoError(t, repo.Tags().Tag(t.Context(), "latest", values[0]))
		whileReading(func() {
			got, err := repo.Tags().Get(t.Context(), "latest")
			assert.NoError(t, err)
			assert.Contains(t, values, got.Digest)
			all, err := repo.Tags().All(t.Context())
			assert.NoError(t, err)
			assert.Equal(t, []string{"latest"}, all)
		}, func() {
			for i := range rounds {
				require.NoError(t, repo.Tags().Tag(t.Context(), "latest", values[(i+1)%2]))
				requireTag(t, repo, "latest", values[(i+1)%2])
			}
		})
	})

	s.test("Rename", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		require.NoError(t, repo.Tags().Tag(t.Context(), "a", img.digest))
		whileReading(func() {
			all, err := repo.Tags().All(t.Context())
			assert.NoError(t, err)
			assert.Len(t, all, 1, "a rename is one step")
		}, func() {
			for i := range rounds {
				names := [2]string{"a", "b"}
				require.NoError(t, repo.Tags().Rename(t.Context(), names[i%2], names[(i+1)%2]))
			}
		})
	})

	s.test("ComeAndGo", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		whileReading(func() {
			got, err := repo.Tags().Get(t.Context(), "v1")
			if err != nil {
				assert.ErrorIs(t, err, storage.ErrTagUnknown)
			} else {
				assert.Equal(t, img.digest, got.Digest)
			}
			all, err := repo.Tags().All(t.Context())
			assert.NoError(t, err)
			assert.LessOrEqual(t, len(all), 1)
		}, func() {
			for range rounds / 2 {
				require.NoError(t, repo.Tags().Tag(t.Context(), "v1", img.digest))
				require.NoError(t, repo.Tags().Untag(t.Context(), "v1"))
			}
		})
	})

	s.test("Writers", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		images := make([]image, 4)
		values := make([]digest.Digest, len(images))
		for i := range images {
			images[i] = pushImage(t, repo, fmt.Sprintf("image %d", i))
			values[i] = images[i].digest
		}
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				assert.NoError(t, repo.Tags().Tag(t.Context(), "new", values[i%len(values)]))
			})
		}
		wg.Wait()
		got, err := repo.Tags().Get(t.Context(), "new")
		require.NoError(t, err)
		require.Contains(t, values, got.Digest)
		require.Equal(t, []string{"new"}, allTags(t, repo))
	})
}
