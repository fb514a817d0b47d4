package storagetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// begin creates an upload with some content. It is cancelled after the test.
func begin(t *testing.T, repo storage.Repository, content []byte) storage.Upload {
	t.Helper()
	u, err := repo.Blobs().Create(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = u.Cancel(context.WithoutCancel(t.Context())) })
	write(t, u, content)
	return u
}

func write(t tester, u storage.Upload, content []byte) {
	t.Helper()
	n, err := u.Write(content)
	require.NoError(t, err)
	require.Equal(t, len(content), n)
}

// commit uploads content under a digest of any algorithm.
func commit(t *testing.T, repo storage.Repository, d digest.Digest, content []byte) storage.Descriptor {
	t.Helper()
	desc, err := begin(t, repo, content).Commit(t.Context(), storage.Descriptor{Digest: d})
	require.NoError(t, err)
	return desc
}

// requireNoUpload makes sure that an id names nothing any more.
func requireNoUpload(t *testing.T, repo storage.Repository, id string) {
	t.Helper()
	_, err := repo.Blobs().Resume(t.Context(), id)
	require.ErrorIs(t, err, storage.ErrUploadUnknown, "id %q", id)
	_, err = repo.Blobs().Upload(t.Context(), id)
	require.ErrorIs(t, err, storage.ErrUploadUnknown, "id %q", id)
	_, err = repo.Blobs().OpenUpload(t.Context(), id)
	require.ErrorIs(t, err, storage.ErrUploadUnknown, "id %q", id)
	require.NotContains(t, uploadIDs(t, repo), id)
}

func uploadIDs(t *testing.T, repo storage.Repository) []string {
	t.Helper()
	infos, err := repo.Blobs().Uploads(t.Context())
	require.NoError(t, err)
	var ids []string
	for _, info := range infos {
		ids = append(ids, info.ID)
	}
	return ids
}

func testUploads(s *suite) {
	s.test("List", func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		require.Empty(t, uploadIDs(t, repo))
		var want []string
		for i := range 20 {
			u := begin(t, repo, noise(uint64(i), i))
			want = append(want, u.ID())
			info, err := repo.Blobs().Upload(t.Context(), u.ID())
			require.NoError(t, err)
			require.Equal(t, u.ID(), info.ID)
			require.Equal(t, int64(i), info.Size)
			require.True(t, u.StartedAt().Equal(info.StartedAt), "%v, not %v", info.StartedAt, u.StartedAt())
			require.False(t, info.ModTime.IsZero())
			infos, err := repo.Blobs().Uploads(t.Context())
			require.NoError(t, err)
			require.Contains(t, infos, info)
		}
		slices.Sort(want)
		require.Equal(t, want, uploadIDs(t, repo), "uploads are listed in the order of their ids")
		require.Empty(t, uploadIDs(t, other))
	})

	s.test("Unknown", func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		u := begin(t, other, []byte("content"))
		for _, id := range []string{
			uuid.NewString(), u.ID(), "", ".", "..", "../" + u.ID(), "data", "no id", "a/b", "é",
			strings.Repeat("a", 300), "../../other/_uploads/" + u.ID(),
		} {
			requireNoUpload(t, repo, id)
		}
	})

	s.test("Cancel", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		u, kept := begin(t, repo, []byte("content")), begin(t, repo, []byte("content"))
		for range 2 {
			require.NoError(t, u.Cancel(t.Context()))
			requireNoUpload(t, repo, u.ID())
		}
		requireNoBlob(t, repo, digest.FromBytes([]byte("content")))
		require.Equal(t, []string{kept.ID()}, uploadIDs(t, repo))
		_, err := u.Write([]byte("more"))
		require.Error(t, err)
		_, err = u.Commit(t.Context(), describe("", []byte("content")))
		require.Error(t, err)
		requireNoBlob(t, repo, digest.FromBytes([]byte("content")))
	})

	s.test("CancelAfterResume", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		u := begin(t, repo, []byte("content"))
		require.NoError(t, u.Close())
		resumed, err := repo.Blobs().Resume(t.Context(), u.ID())
		require.NoError(t, err)
		require.NoError(t, resumed.Cancel(t.Context()))
		requireNoUpload(t, repo, u.ID())
	})

	// Whoever gives up because a context ended cancels under that context.
	s.test("CancelUnderEndedContext", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		u := begin(t, repo, []byte("content"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, u.Cancel(ctx))
		requireNoUpload(t, repo, u.ID())
	})

	s.test("OpenUpload", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		u := begin(t, repo, []byte("the bytes"))
		require.NoError(t, u.Sync(t.Context()))
		requireSoFar(t, repo, u.ID(), "the bytes")
		write(t, u, []byte(" so far"))
		require.NoError(t, u.Close())
		requireSoFar(t, repo, u.ID(), "the bytes so far")
	})

	s.test("Names", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		seen := map[string]bool{}
		for i := range 10 {
			u := begin(t, repo, nil)
			require.NotEmpty(t, u.ID())
			require.False(t, seen[u.ID()], "an id is given twice")
			require.False(t, u.StartedAt().IsZero())
			seen[u.ID()] = true
			if i%2 == 0 {
				require.NoError(t, u.Cancel(t.Context()))
			}
		}
		require.Len(t, uploadIDs(t, repo), 5)
	})
}

func requireSoFar(t *testing.T, repo storage.Repository, id, want string) {
	t.Helper()
	content, err := repo.Blobs().OpenUpload(t.Context(), id)
	require.NoError(t, err)
	p := make([]byte, len(want))
	_, err = content.ReadAt(p, 0)
	require.NoError(t, err)
	require.Equal(t, want, string(p))
	n, _ := content.ReadAt(make([]byte, 1), int64(len(want)))
	require.Zero(t, n)
	require.NoError(t, content.Close())
}

func testUploadCommit(s *suite) {
	s.test("Commit", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "team/app")
		content := noise(1, 100_000)
		u := begin(t, repo, nil)
		for off := 0; off < len(content); off += 7_001 {
			require.Equal(t, int64(off), u.Size())
			write(t, u, content[off:min(off+7_001, len(content))])
			requireNoBlob(t, repo, digest.FromBytes(content))
		}
		d, err := u.Digest(t.Context())
		require.NoError(t, err)
		require.Equal(t, digest.FromBytes(content), d)
		require.NoError(t, u.Sync(t.Context()))
		requireNoBlob(t, repo, d)

		desc, err := u.Commit(t.Context(), describe(manifest.MediaTypeOCILayer, content))
		require.NoError(t, err)
		require.Equal(t, describe(manifest.MediaTypeOCILayer, content), desc)
		requireBlob(t, repo, d, content)
		requireNoUpload(t, repo, u.ID())

		require.NoError(t, u.Cancel(t.Context()), "it does nothing after Commit")
		requireBlob(t, repo, d, content)
		_, err = u.Write([]byte("more"))
		require.Error(t, err)
		_, err = u.Commit(t.Context(), desc)
		require.Error(t, err)
		requireBlob(t, repo, d, content)
	})

	s.test("DescriptorIsThatOfStat", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		desc, err := begin(t, repo, []byte("content")).Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes([]byte("content"))})
		require.NoError(t, err)
		stat, err := repo.Blobs().Stat(t.Context(), desc.Digest)
		require.NoError(t, err)
		require.Equal(t, stat, desc)
	})

	s.test("Empty", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		u := begin(t, repo, nil)
		_, err := u.Commit(t.Context(), storage.Descriptor{Digest: absent})
		require.ErrorIs(t, err, storage.ErrDigestMismatch)
		desc, err := u.Commit(t.Context(), describe("", nil))
		require.NoError(t, err)
		requireBlob(t, repo, desc.Digest, nil)
	})

	content := []byte("content")
	for name, c := range map[string]struct {
		want storage.Descriptor
		err  error // nil: any
	}{
		"OtherDigest":    {storage.Descriptor{Digest: absent}, storage.ErrDigestMismatch},
		"OtherSHA512":    {storage.Descriptor{Digest: absent512}, storage.ErrDigestMismatch},
		"EmptysDigest":   {describe("", nil), storage.ErrDigestMismatch},
		"DigestOfLess":   {storage.Descriptor{Digest: digest.FromBytes(content[:3])}, storage.ErrDigestMismatch},
		"Shorter":        {storage.Descriptor{Digest: digest.FromBytes(content), Size: 6}, storage.ErrSizeMismatch},
		"Longer":         {storage.Descriptor{Digest: digest.FromBytes(content), Size: 8}, storage.ErrSizeMismatch},
		"NegativeSize":   {storage.Descriptor{Digest: digest.FromBytes(content), Size: -1}, storage.ErrSizeMismatch},
		"NoDigest":       {storage.Descriptor{Size: 7}, nil},
		"MalformedHex":   {storage.Descriptor{Digest: "sha256:zz"}, nil},
		"OtherAlgorithm": {storage.Descriptor{Digest: "md5:9a0364b9e99bb480dd25e1f0284c8555"}, nil},
	} {
		s.test("Refuses"+name, func(t *testing.T, reg storage.Registry) {
			repo := repository(t, reg, "app")
			u := begin(t, repo, content)
			for range 2 { // refusing ends nothing
				_, err := u.Commit(t.Context(), c.want)
				require.Error(t, err)
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
				}
				require.Empty(t, allBlobs(t, repo))
				requireNoBlob(t, repo, digest.FromBytes(content))
				require.Equal(t, []string{u.ID()}, uploadIDs(t, repo))
			}
			write(t, u, []byte(" and more"))
			more := []byte("content and more")
			_, err := u.Commit(t.Context(), describe("", more))
			require.NoError(t, err)
			requireBlob(t, repo, digest.FromBytes(more), more)
			require.Len(t, allBlobs(t, repo), 1)
		})
	}

	s.test("SHA512", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		content := noise(1, 50_000)
		name := digest.SHA512.FromBytes(content)
		desc, err := begin(t, repo, content).Commit(t.Context(), storage.Descriptor{Digest: name, Size: int64(len(content))})
		require.NoError(t, err)
		require.Equal(t, digest.FromBytes(content), desc.Digest, "the descriptor has the canonical digest")
		requireBlob(t, repo, name, content)
		requireBlob(t, repo, desc.Digest, content)
		require.Contains(t, allBlobs(t, repo), desc.Digest)

		// The other way round: a name for content that is there.
		second := []byte("second")
		putBlob(t, repo, manifest.MediaTypeOCILayer, second)
		requireNoBlob(t, repo, digest.SHA512.FromBytes(second))
		commit(t, repo, digest.SHA512.FromBytes(second), second)
		requireBlob(t, repo, digest.SHA512.FromBytes(second), second)
	})

	s.test("Several", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		for i := range 10 {
			content := fmt.Appendf(nil, "content %d", i)
			commit(t, repo, digest.FromBytes(content), content)
			requireBlob(t, repo, digest.FromBytes(content), content)
		}
		require.Len(t, allBlobs(t, repo), 10)
	})
}
