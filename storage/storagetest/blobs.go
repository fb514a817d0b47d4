package storagetest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

func testBlobs(s *suite) {
	s.test("Put", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "team/app")
		content := noise(1, 10_000)
		requireNoBlob(t, repo, digest.FromBytes(content))
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		requireBlob(t, repo, desc.Digest, content)
		require.Equal(t, desc, putBlob(t, repo, manifest.MediaTypeOCILayer, content), "a second Put is no error")
		require.Equal(t, []digest.Digest{desc.Digest}, allBlobs(t, repo))
		uploads, err := repo.Blobs().Uploads(t.Context())
		require.NoError(t, err)
		require.Empty(t, uploads)
	})

	s.test("NoMediaType", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		desc, err := repo.Blobs().Put(t.Context(), "", []byte("content"))
		require.NoError(t, err)
		require.NotEmpty(t, desc.MediaType)
		stat, err := repo.Blobs().Stat(t.Context(), desc.Digest)
		require.NoError(t, err)
		require.Equal(t, stat, desc)
	})

	s.test("Empty", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, nil)
		require.Equal(t, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", desc.Digest.String())
		requireBlob(t, repo, desc.Digest, nil)
	})

	s.test("Unknown", func(t *testing.T, reg storage.Registry) {
		for _, name := range []string{"app", "begun"} {
			repo := repository(t, reg, name)
			if name == "begun" {
				putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("content"))
			}
			requireNoBlob(t, repo, absent)
			requireNoBlob(t, repo, absent512)
		}
	})

	s.test("Membership", func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "app/other")
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("content"))
		requireNoBlob(t, other, desc.Digest)
		putBlob(t, other, manifest.MediaTypeOCILayer, []byte("content"))
		requireBlob(t, other, desc.Digest, []byte("content"))
		requireBlob(t, repo, desc.Digest, []byte("content"))
	})

	s.test("ManifestIsNoBlob", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		requireNoBlob(t, repo, img.digest)
		for _, d := range img.blobs() {
			requireNoManifest(t, repo, d)
		}
	})

	s.test("Enumerate", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		require.Empty(t, allBlobs(t, repo), "a repository that does not exist has no blobs")
		var want []digest.Digest
		for i := range 20 {
			want = append(want, putBlob(t, repo, manifest.MediaTypeOCILayer, noise(uint64(i), 100)).Digest)
		}
		require.Equal(t, sorted(want...), allBlobs(t, repo))

		stop := errors.New("enough")
		calls := 0
		err := repo.Blobs().Enumerate(t.Context(), func(digest.Digest) error {
			calls++
			return stop
		})
		require.ErrorIs(t, err, stop)
		require.Equal(t, 1, calls)
	})

	s.test("MaxGet", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		content := noise(1, storage.MaxGet+1)
		largest := putBlob(t, repo, manifest.MediaTypeOCILayer, content[:storage.MaxGet])
		requireBlob(t, repo, largest.Digest, content[:storage.MaxGet])
		larger := putBlob(t, repo, manifest.MediaTypeOCILayer, content)
		requireBlob(t, repo, larger.Digest, content)
		_, err := repo.Blobs().Get(t.Context(), larger.Digest)
		require.ErrorIs(t, err, storage.ErrTooLarge)
	})
}

func testBlobsDelete(s *suite) {
	s.test("Disabled", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("content"))
		require.ErrorIs(t, repo.Blobs().Delete(t.Context(), desc.Digest), storage.ErrUnsupported)
		requireBlob(t, repo, desc.Digest, []byte("content"))
	})

	o := Options{AllowDelete: true}

	s.testWith("Delete", o, func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		desc := putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("content"))
		putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("sibling"))
		putBlob(t, other, manifest.MediaTypeOCILayer, []byte("content"))

		require.NoError(t, repo.Blobs().Delete(t.Context(), desc.Digest))
		requireNoBlob(t, repo, desc.Digest)
		requireBlob(t, repo, digest.FromBytes([]byte("sibling")), []byte("sibling"))
		requireBlob(t, other, desc.Digest, []byte("content"))
		require.ErrorIs(t, repo.Blobs().Delete(t.Context(), desc.Digest), storage.ErrBlobUnknown)

		putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("content"))
		requireBlob(t, repo, desc.Digest, []byte("content"))
	})

	s.testWith("DeleteUnknown", o, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		require.ErrorIs(t, repo.Blobs().Delete(t.Context(), absent), storage.ErrBlobUnknown)
		require.ErrorIs(t, repo.Blobs().Delete(t.Context(), absent512), storage.ErrBlobUnknown)
	})

	s.testWith("DeleteReferenced", o, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		for _, d := range img.blobs() {
			require.ErrorIs(t, repo.Blobs().Delete(t.Context(), d), storage.ErrReferenced)
		}
		requireBlob(t, repo, img.blobs()[0], img.config)
		requireBlob(t, repo, img.blobs()[1], img.layer)

		require.NoError(t, repo.Manifests().Delete(t.Context(), img.digest))
		for _, d := range img.blobs() {
			require.NoError(t, repo.Blobs().Delete(t.Context(), d))
			requireNoBlob(t, repo, d)
		}
	})
}

func testBlobsMount(s *suite) {
	s.testWith("Mount", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		from, to := repository(t, reg, "from"), repository(t, reg, "team/to")
		content := noise(1, 10_000)
		desc := putBlob(t, from, manifest.MediaTypeOCILayer, content)
		for range 2 { // the second changes nothing
			got, err := to.Blobs().Mount(t.Context(), from, desc.Digest)
			require.NoError(t, err)
			require.Equal(t, desc.Digest, got.Digest)
			require.Equal(t, desc.Size, got.Size)
			requireBlob(t, to, desc.Digest, content)
		}
		require.NoError(t, from.Blobs().Delete(t.Context(), desc.Digest))
		requireBlob(t, to, desc.Digest, content)
	})

	s.test("Unknown", func(t *testing.T, reg storage.Registry) {
		from, to := repository(t, reg, "from"), repository(t, reg, "to")
		_, err := to.Blobs().Mount(t.Context(), from, absent)
		require.ErrorIs(t, err, storage.ErrBlobUnknown)
		requireNoBlob(t, to, absent)
		_, err = reg.Stat(t.Context(), "to")
		require.ErrorIs(t, err, storage.ErrRepositoryUnknown, "nothing was put into it")

		// The target has it, the source does not.
		desc := putBlob(t, to, manifest.MediaTypeOCILayer, []byte("content"))
		_, err = to.Blobs().Mount(t.Context(), from, desc.Digest)
		require.ErrorIs(t, err, storage.ErrBlobUnknown)
		requireBlob(t, to, desc.Digest, []byte("content"))
	})

	s.test("SHA512", func(t *testing.T, reg storage.Registry) {
		from, to := repository(t, reg, "from"), repository(t, reg, "to")
		content := noise(1, 10_000)
		d := commit(t, from, digest.SHA512.FromBytes(content), content).Digest
		got, err := to.Blobs().Mount(t.Context(), from, digest.SHA512.FromBytes(content))
		require.NoError(t, err)
		require.Equal(t, d, got.Digest)
		requireBlob(t, to, d, content)
		requireBlob(t, to, digest.SHA512.FromBytes(content), content)
	})
}
