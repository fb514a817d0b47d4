package storage

import (
	"bytes"
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
	d := memdriver.New()
	reg, err := Open(t.Context(), d, Options{Create: true})
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

	// Where it need not be followed, any is tagged; and a tag that is there is renamed.
	sparse, err := Open(t.Context(), d, Options{SparseIndexes: true})
	require.NoError(t, err)
	other, err := sparse.Repository("app")
	require.NoError(t, err)
	require.NoError(t, other.Tags().Tag(t.Context(), "deeper", indexes[maxIndexDepth+1].Digest))
	require.NoError(t, repo.Tags().Rename(t.Context(), "deeper", "renamed"))
}

// What is forgotten is how to check parts, and not that the whole was good.
func TestChunkMemoryIsLimited(t *testing.T) {
	vs := &newVerifier(slog.New(slog.DiscardHandler)).verdicts
	require.EqualValues(t, maxChunkMemory, vs.most)
	chunker := digest.NewChunker(1 << 20)
	_, err := chunker.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	_, chunks := chunker.Finish()
	vs.most = 3*chunks.Memory() + 1
	for i := range 10 {
		d := digest.Digest(fmt.Sprint("sha256:", i))
		vs.record(d, "version", chunks)
		vs.record(d, "version", chunks) // again
		require.NotNil(t, vs.byDigest[d].chunks)
		require.LessOrEqual(t, vs.memory, vs.most)
	}
	known := 0
	for _, v := range vs.byDigest {
		require.Equal(t, "version", v.version)
		if v.chunks != nil {
			known++
		}
	}
	require.Equal(t, 3, known)
	require.Equal(t, 3*chunks.Memory(), vs.memory)
	require.Len(t, vs.byDigest, 10)
}

func TestResidentContentIsLimited(t *testing.T) {
	opened, err := Open(t.Context(), memdriver.New(), Options{Create: true})
	require.NoError(t, err)
	repo, err := opened.Repository("app")
	require.NoError(t, err)
	taken := &opened.(*registry).blobs.resident
	open := func(size int) Blob {
		content := bytes.Repeat([]byte("x"), size)
		desc, err := repo.Blobs().Put(t.Context(), "", content)
		require.NoError(t, err)
		blob, err := repo.Blobs().Open(t.Context(), desc.Digest)
		require.NoError(t, err)
		got := make([]byte, size)
		n, _ := blob.ReadAt(got, 0)
		require.Equal(t, content, got[:n])
		return blob
	}
	large := open(MaxResident + 1)
	require.Zero(t, taken.Load(), "it is read as it is asked for")
	small := open(MaxResident)
	require.EqualValues(t, MaxResident, taken.Load())

	others := int64(maxResidentMemory - 2*MaxResident)
	taken.Add(others) // as if there were many
	last, tooMuch := open(MaxResident), open(1)
	require.EqualValues(t, maxResidentMemory, taken.Load())
	for _, blob := range []Blob{large, small, last, tooMuch} {
		require.NoError(t, blob.Close())
	}
	require.Equal(t, others, taken.Load())
	require.NoError(t, open(1).Close())
	require.Equal(t, others, taken.Load())
}

// Indexes that name each other can only be forged: nothing follows them.
func TestIndexesThatNameEachOther(t *testing.T) {
	d := memdriver.New()
	reg, err := Open(t.Context(), d, Options{Create: true, AllowDelete: true})
	require.NoError(t, err)
	repo, err := reg.Repository("app")
	require.NoError(t, err)
	names := []digest.Digest{digest.FromBytes([]byte("one")), digest.FromBytes([]byte("other"))}
	content := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%[1]q,"manifests":[{"mediaType":%[1]q,"digest":%q,"size":%[4]d},{"mediaType":%[1]q,"digest":%[3]q,"size":%[4]d}]}`,
		manifest.MediaTypeOCIIndex, names[0], names[1], 1000)
	for _, name := range names {
		require.NoError(t, d.PutContent(t.Context(), blobPath(name), content))
		require.NoError(t, links{d, revisionsPath("app")}.put(t.Context(), name, name))
		require.NoError(t, putLink(t.Context(), d, currentPath(tagPath("app", name.Encoded()[:8])), name))
	}
	require.ErrorIs(t, repo.Tags().Tag(t.Context(), "v1", names[0]), ErrCorrupt)
	copied, err := reg.Repository("copied")
	require.NoError(t, err)
	_, err = copied.Manifests().Mount(t.Context(), repo, names[0])
	require.ErrorIs(t, err, ErrCorrupt)
	for _, untagged := range []bool{false, true} {
		_, err = reg.(Collector).Collect(t.Context(), CollectOptions{Offline: true, Untagged: untagged}, func(c Collected) {
			require.Equal(t, CollectDamage, c.Kind, "%+v", c)
		})
		require.NoError(t, err)
	}
	damaged := map[string]bool{}
	_, err = reg.(Checker).Check(t.Context(), CheckOptions{}, func(f Finding) {
		require.True(t, f.Damage, "%+v", f)
		damaged[f.Path] = true
	})
	require.NoError(t, err)
	for _, name := range names {
		require.True(t, damaged[blobPath(name)])
	}
}
