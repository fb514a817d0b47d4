package storage_test

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver/filedriver"
	"registryfs/storage"
)

// benchRepository is a repository in a directory.
func benchRepository(b *testing.B) storage.Repository {
	b.Helper()
	d, err := filedriver.New(b.TempDir(), filedriver.Options{})
	require.NoError(b, err)
	return benchRepositoryIn(b, d)
}

// An upload in the pieces in which a mount gets it, with its commit.
func BenchmarkUpload(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			repo, content := benchRepository(b), noise(size)
			b.SetBytes(int64(size))
			var number uint64
			for b.Loop() {
				number++ // another blob each time
				binary.BigEndian.PutUint64(content, number)
				u, err := repo.Blobs().Create(b.Context())
				require.NoError(b, err)
				const piece = 128 << 10
				for off := 0; off < size; off += piece {
					_, err := u.WriteAt(content[off:min(off+piece, size)], int64(off))
					require.NoError(b, err)
				}
				d, err := u.Digest(b.Context())
				require.NoError(b, err)
				_, err = u.Commit(b.Context(), storage.Descriptor{Digest: d})
				require.NoError(b, err)
			}
		})
	}
}

// Blobs of 4 KiB committed by several at once, who share what the disk does.
func BenchmarkUploadParallel(b *testing.B) {
	repo := benchRepository(b)
	var number atomic.Uint64
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		content := noise(4 << 10)
		for pb.Next() {
			binary.BigEndian.PutUint64(content, number.Add(1))
			_, err := repo.Blobs().Put(b.Context(), "", content)
			require.NoError(b, err)
		}
	})
}

func BenchmarkTagList(b *testing.B) {
	repo := benchRepository(b)
	manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	d, err := repo.Manifests().Put(b.Context(), "", manifest)
	require.NoError(b, err)
	const tags = 1000
	for i := range tags {
		require.NoError(b, repo.Tags().Tag(b.Context(), fmt.Sprintf("v%d", i), d.Digest))
	}
	for b.Loop() {
		names, err := repo.Tags().All(b.Context())
		require.NoError(b, err)
		require.Len(b, names, tags)
	}
}
