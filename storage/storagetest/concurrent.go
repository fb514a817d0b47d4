package storagetest

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/storage"
)

func testUploadConcurrent(s *suite) {
	s.test("SameBlob", func(t *testing.T, reg storage.Registry) {
		content := noise(1, 20_000)
		want := describe("", content)
		var wg sync.WaitGroup
		for i := range 64 {
			repo := repository(t, reg, []string{"app", "other"}[i%2])
			wg.Go(func() {
				u, err := repo.Blobs().Create(t.Context())
				if !assert.NoError(t, err) {
					return
				}
				_, err = u.Write(content)
				assert.NoError(t, err)
				desc, err := u.Commit(t.Context(), want)
				assert.NoError(t, err)
				assert.Equal(t, want.Digest, desc.Digest)
				got, err := repo.Blobs().Get(t.Context(), want.Digest)
				assert.NoError(t, err)
				assert.Equal(t, want.Digest, digest.FromBytes(got))
			})
		}
		wg.Wait()
		for _, name := range []string{"app", "other"} {
			repo := repository(t, reg, name)
			requireBlob(t, repo, want.Digest, content)
			require.Equal(t, []digest.Digest{want.Digest}, allBlobs(t, repo))
			require.Empty(t, uploadIDs(t, repo))
		}
	})

	s.test("OneUpload", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		content := noise(1, 1<<20)
		u := begin(t, repo, nil)
		const piece = 10_000
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				p := make([]byte, piece)
				for off := i * piece; off < len(content); off += 8 * piece {
					part := content[off:min(off+piece, len(content))]
					_, err := u.WriteAt(part, int64(off))
					assert.NoError(t, err)
					n, err := u.ReadAt(p[:len(part)], int64(off))
					assert.NoError(t, err)
					assert.Equal(t, digest.FromBytes(part), digest.FromBytes(p[:n]))
					assert.LessOrEqual(t, int64(off+len(part)), u.Size())
				}
			})
		}
		wg.Wait()
		_, err := u.Commit(t.Context(), describe("", content))
		require.NoError(t, err)
		requireBlob(t, repo, digest.FromBytes(content), content)
	})

	s.test("Resume", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		u := begin(t, repo, []byte("content"))
		require.NoError(t, u.Close())
		var (
			wg  sync.WaitGroup
			mu  sync.Mutex
			won []storage.Upload
		)
		for range 16 {
			wg.Go(func() {
				resumed, err := repo.Blobs().Resume(t.Context(), u.ID())
				if err != nil {
					assert.ErrorIs(t, err, storage.ErrUploadBusy)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				won = append(won, resumed)
			})
		}
		wg.Wait()
		require.Len(t, won, 1, "an upload has one writer")
		_, err := won[0].Commit(t.Context(), describe("", []byte("content")))
		require.NoError(t, err)
	})
}
