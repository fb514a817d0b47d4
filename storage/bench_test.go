package storage_test

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
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

// To promote an image of 100 layers that this process has stored, and one that it
// finds there, of which it has to make all durable.
func BenchmarkPromote(b *testing.B) {
	for _, who := range []string{"Ours", "Others"} {
		b.Run(who, func(b *testing.B) {
			dir := b.TempDir()
			open := func() storage.Registry {
				d, err := filedriver.New(dir, filedriver.Options{})
				require.NoError(b, err)
				reg, err := storage.Open(b.Context(), d, storage.Options{Create: true})
				require.NoError(b, err)
				return reg
			}
			named := func(reg storage.Registry, name string) storage.Repository {
				repo, err := reg.Repository(name)
				require.NoError(b, err)
				return repo
			}
			reg := open()
			app := named(reg, "app")
			const layers = 100
			config := []byte("{}")
			_, err := app.Blobs().Put(b.Context(), "", config)
			require.NoError(b, err)
			payload := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[`, digest.FromBytes(config))
			for i := range layers {
				layer := fmt.Appendf(nil, "layer %d", i)
				_, err := app.Blobs().Put(b.Context(), "", layer)
				require.NoError(b, err)
				if i > 0 {
					payload = append(payload, ',')
				}
				payload = fmt.Appendf(payload, `{"mediaType":"text/plain","digest":"%s","size":%d}`, digest.FromBytes(layer), len(layer))
			}
			desc, err := app.Manifests().Put(b.Context(), "", append(payload, "]}"...))
			require.NoError(b, err)
			var number int
			for b.Loop() {
				if who == "Others" {
					b.StopTimer()
					reg = open()
					b.StartTimer()
				}
				number++
				to := named(reg, fmt.Sprintf("prod/%d", number))
				_, err := to.Manifests().Mount(b.Context(), named(reg, "app"), desc.Digest)
				require.NoError(b, err)
				require.NoError(b, to.Tags().Tag(b.Context(), "v1", desc.Digest))
			}
		})
	}
}
