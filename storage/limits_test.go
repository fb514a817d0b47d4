package storage

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/memdriver"
	"registryfs/manifest"
)

func TestVerdictsAreLimited(t *testing.T) {
	v := newVerifier(slog.New(slog.DiscardHandler))
	d := func(i int) digest.Digest { return digest.Digest(fmt.Sprintf("sha256:%064x", i)) }
	for i := range maxVerdicts + 10 {
		v.setGood(d(i), "version")
	}
	require.Equal(t, maxVerdicts, len(v.verdicts.byDigest))
	require.NotEmpty(t, v.verdicts.byDigest[d(maxVerdicts+9)], "the last is known")
	v.setGood("sha256:other", "")
	require.Empty(t, v.verdicts.byDigest["sha256:other"], "what has no version cannot be known again")
}

func TestGetIsLimited(t *testing.T) {
	reg, err := Open(t.Context(), memdriver.New(), Options{Create: true})
	require.NoError(t, err)
	repo, err := reg.Repository("app")
	require.NoError(t, err)
	for size, want := range map[int]error{MaxGet: nil, MaxGet + 1: ErrTooLarge} {
		desc, err := repo.Blobs().Put(t.Context(), "", make([]byte, size))
		require.NoError(t, err)
		content, err := repo.Blobs().Get(t.Context(), desc.Digest)
		require.ErrorIs(t, err, want)
		require.Equal(t, want == nil, len(content) == size)
		blob, err := repo.Blobs().Open(t.Context(), desc.Digest)
		require.NoError(t, err, "it can be opened, whatever its size")
		require.NoError(t, blob.Close())
	}
}

// An index is stored at any depth, and tagged where all below it can be followed.
func TestIndexDepthIsLimited(t *testing.T) {
	reg, err := Open(t.Context(), memdriver.New(), Options{Create: true})
	require.NoError(t, err)
	repo, err := reg.Repository("app")
	require.NoError(t, err)
	const document = `{"schemaVersion":2,"mediaType":"` + manifest.MediaTypeOCIIndex + `","manifests":[%s]}`
	child := ""
	var indexes []Descriptor
	for range maxIndexDepth + 2 {
		desc, err := repo.Manifests().Put(t.Context(), "", fmt.Appendf(nil, document, child))
		require.NoError(t, err)
		indexes = append(indexes, desc)
		child = fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, manifest.MediaTypeOCIIndex, desc.Digest, desc.Size)
	}
	require.NoError(t, repo.Tags().Tag(t.Context(), "deepest", indexes[maxIndexDepth].Digest))
	require.ErrorIs(t, repo.Tags().Tag(t.Context(), "deeper", indexes[maxIndexDepth+1].Digest), manifest.ErrInvalid)
}
