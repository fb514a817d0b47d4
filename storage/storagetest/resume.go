package storagetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/storage"
)

func testUploadResume(s *suite) {
	s.test("AfterClose", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "team/app")
		content := noise(1, 90_000)
		u := begin(t, repo, content[:30_000])
		id, started := u.ID(), u.StartedAt()
		require.NoError(t, u.Close())
		for size := 30_000; size < len(content); size += 30_000 {
			info, err := repo.Blobs().Upload(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, int64(size), info.Size)

			u, err = repo.Blobs().Resume(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, id, u.ID())
			require.True(t, started.Equal(u.StartedAt()), "%v, not %v", u.StartedAt(), started)
			require.Equal(t, int64(size), u.Size())
			p := make([]byte, 100)
			_, err = u.ReadAt(p, int64(size)-100)
			require.NoError(t, err)
			require.Equal(t, string(content[size-100:size]), string(p))
			write(t, u, content[size:size+30_000])
			require.NoError(t, u.Close())
		}
		u, err := repo.Blobs().Resume(t.Context(), id)
		require.NoError(t, err)
		_, err = u.Commit(t.Context(), storage.Descriptor{Digest: absent})
		require.ErrorIs(t, err, storage.ErrDigestMismatch)
		_, err = u.Commit(t.Context(), describe("", content))
		require.NoError(t, err)
		requireBlob(t, repo, digest.FromBytes(content), content)
		requireNoUpload(t, repo, id)
	})

	s.test("Empty", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		u := begin(t, repo, nil)
		require.NoError(t, u.Close())
		u, err := repo.Blobs().Resume(t.Context(), u.ID())
		require.NoError(t, err)
		require.Zero(t, u.Size())
		write(t, u, []byte("content"))
		_, err = u.Commit(t.Context(), describe("", []byte("content")))
		require.NoError(t, err)
		requireBlob(t, repo, digest.FromBytes([]byte("content")), []byte("content"))
	})

	s.test("RefusesWhatIsNoDigest", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		u := begin(t, repo, nil)
		require.NoError(t, u.Close())
		u, err := repo.Blobs().Resume(t.Context(), u.ID())
		require.NoError(t, err)
		for _, d := range []digest.Digest{"", "garbage", "sha256:a", "sha256:../../../x"} {
			_, err := u.Commit(t.Context(), storage.Descriptor{Digest: d})
			require.ErrorIs(t, err, digest.ErrInvalid, "%q", d)
		}
		_, err = u.Commit(t.Context(), describe("", nil))
		require.NoError(t, err)
	})

	s.test("Busy", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		u := begin(t, repo, []byte("con"))
		id := u.ID()
		for range 2 {
			_, err := repo.Blobs().Resume(t.Context(), id)
			require.ErrorIs(t, err, storage.ErrUploadBusy)
		}
		_, err := u.Commit(t.Context(), storage.Descriptor{Digest: absent})
		require.ErrorIs(t, err, storage.ErrDigestMismatch)
		_, err = repo.Blobs().Resume(t.Context(), id)
		require.ErrorIs(t, err, storage.ErrUploadBusy, "a refused Commit does not end the upload")
		require.NoError(t, u.Close())

		second, err := repo.Blobs().Resume(t.Context(), id)
		require.NoError(t, err)
		_, err = repo.Blobs().Resume(t.Context(), id)
		require.ErrorIs(t, err, storage.ErrUploadBusy)

		// The first writer has nothing to say any more.
		_, err = u.Write([]byte("XXX"))
		require.Error(t, err)
		_, err = u.WriteAt([]byte("XXX"), 0)
		require.Error(t, err)
		require.Error(t, u.Truncate(0))
		_, err = u.Commit(t.Context(), describe("", []byte("con")))
		require.Error(t, err)

		write(t, second, []byte("tent"))
		_, err = second.Commit(t.Context(), describe("", []byte("content")))
		require.NoError(t, err)
		requireBlob(t, repo, digest.FromBytes([]byte("content")), []byte("content"))
		requireNoUpload(t, repo, id)
	})

	s.test("AfterInterruptedCommit", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		content := []byte("content")
		u := begin(t, repo, content)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := u.Commit(ctx, describe("", content))
		require.ErrorIs(t, err, context.Canceled)
		requireNoBlob(t, repo, digest.FromBytes(content))
		require.NoError(t, u.Close())
		u, err = repo.Blobs().Resume(t.Context(), u.ID())
		require.NoError(t, err)
		_, err = u.Commit(t.Context(), describe("", content))
		require.NoError(t, err)
		requireBlob(t, repo, digest.FromBytes(content), content)
	})
}
