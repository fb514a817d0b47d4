package storage_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// benchRepositoryIn is a repository of a registry that knows nothing yet of what
// is in d.
func benchRepositoryIn(b *testing.B, d driver.Driver) storage.Repository {
	b.Helper()
	reg, err := storage.Open(b.Context(), d, storage.Options{Create: true})
	require.NoError(b, err)
	repo, err := reg.Repository("team/app")
	require.NoError(b, err)
	return repo
}

// benchBlob stores size bytes.
func benchBlob(b *testing.B, repo storage.Repository, size int) digest.Digest {
	b.Helper()
	desc, err := repo.Blobs().Put(b.Context(), "", bytes.Repeat([]byte("0123456789abcdef"), size/16))
	require.NoError(b, err)
	b.SetBytes(int64(size))
	return desc.Digest
}

func benchOpen(b *testing.B, repo storage.Repository, d digest.Digest) {
	blob, err := repo.Blobs().Open(b.Context(), d)
	if err != nil {
		b.Fatal(err)
	}
	_ = blob.Close()
}

// BenchmarkOpenSmall opens content that is read whole each time.
func BenchmarkOpenSmall(b *testing.B) {
	repo := benchRepositoryIn(b, memdriver.New())
	d := benchBlob(b, repo, 4<<10)
	for b.Loop() {
		benchOpen(b, repo, d)
	}
}

// BenchmarkOpenVerified opens content that is known to be good.
func BenchmarkOpenVerified(b *testing.B) {
	repo := benchRepositoryIn(b, memdriver.New())
	d := benchBlob(b, repo, 1<<20)
	for b.Loop() {
		benchOpen(b, repo, d)
	}
}

// BenchmarkVerify opens content of which nothing is known.
func BenchmarkVerify(b *testing.B) {
	store := memdriver.New()
	d := benchBlob(b, benchRepositoryIn(b, store), 16<<20)
	for b.Loop() {
		benchOpen(b, benchRepositoryIn(b, store), d)
	}
}

// BenchmarkBlobStat looks a link up, and what it leads to.
func BenchmarkBlobStat(b *testing.B) {
	repo := benchRepositoryIn(b, memdriver.New())
	d := benchBlob(b, repo, 16)
	for b.Loop() {
		if _, err := repo.Blobs().Stat(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTagLookup(b *testing.B) {
	store := memdriver.New()
	repo := benchRepositoryIn(b, store)
	link := "/docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link"
	require.NoError(b, store.PutContent(b.Context(), link, []byte(digest.FromBytes([]byte("manifest")))))
	for b.Loop() {
		if _, err := repo.Tags().Get(b.Context(), "v1"); err != nil {
			b.Fatal(err)
		}
	}
}
