package storagetest

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/manifest"
	"registryfs/storage"
)

func testReads(s *suite) {
	s.test("ReadAt", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		content := noise(1, 1000)
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		blob, err := repo.Blobs().Open(t.Context(), desc.Digest)
		require.NoError(t, err)
		defer blob.Close()
		for _, c := range []struct {
			off, size int64
			want      []byte
			eof       bool
		}{
			{0, 10, content[:10], false},
			{990, 5, content[990:995], false},
			{990, 11, content[990:], true},
			{999, 2, content[999:], true},
			{1000, 1, nil, true},
			{5000, 1, nil, true},
		} {
			p := make([]byte, c.size)
			n, err := blob.ReadAt(p, c.off)
			require.Equal(t, string(c.want), string(p[:n]), "at %d", c.off)
			if c.eof {
				require.ErrorIs(t, err, io.EOF, "at %d", c.off)
			} else {
				require.NoError(t, err, "at %d", c.off)
			}
		}
		_, err = blob.ReadAt(make([]byte, 1), -1)
		require.Error(t, err)
		require.NotErrorIs(t, err, io.EOF)
	})

	// What is closed gives no bytes, nor an end that could be taken for theirs.
	s.test("AfterClose", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("content"))
		blob, err := repo.Blobs().Open(t.Context(), desc.Digest)
		require.NoError(t, err)
		require.NoError(t, blob.Close())
		for range 2 {
			p := make([]byte, 7)
			n, err := blob.ReadAt(p, 0)
			require.Error(t, err)
			require.NotErrorIs(t, err, io.EOF)
			require.Zero(t, n)
			require.Equal(t, make([]byte, 7), p)
		}
	})

	s.test("Concurrent", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		content := noise(1, 3<<20)
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		shared, err := repo.Blobs().Open(t.Context(), desc.Digest)
		require.NoError(t, err)
		defer shared.Close()
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				own, err := repo.Blobs().Open(t.Context(), desc.Digest)
				if !assert.NoError(t, err) {
					return
				}
				p := make([]byte, 100_000)
				for off := i * 1000; off+len(p) <= len(content); off += len(p) {
					for _, blob := range []storage.Blob{own, shared} {
						n, err := blob.ReadAt(p, int64(off))
						assert.NoError(t, err)
						assert.True(t, bytes.Equal(content[off:off+len(p)], p[:n]), "other bytes at %d", off)
					}
				}
				assert.NoError(t, own.Close())
			})
		}
		wg.Wait()
	})

	s.testWith("OutlivesDelete", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		content := noise(1, 10_000)
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		blob, err := repo.Blobs().Open(t.Context(), desc.Digest)
		require.NoError(t, err)
		require.NoError(t, repo.Blobs().Delete(t.Context(), desc.Digest))
		requireContent(t, blob, content)
	})

	s.test("OutlivesPush", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		content := noise(1, 10_000)
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		blob, err := repo.Blobs().Open(t.Context(), desc.Digest)
		require.NoError(t, err)
		putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		requireContent(t, blob, content)
	})
}
