package storage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
)

// TestHostileArguments gives every method that takes a digest or the id of an
// upload what is none. Names and tags are in storagetest, paths in drivertest.
// Nothing beyond the store is reached, whatever the layers above let through.
func TestHostileArguments(t *testing.T) {
	hex := strings.Repeat("0", 64)
	digests := []digest.Digest{
		"", ".", "..", "sha256", "sha256:", "sha256:..", "sha256:../../../../secret", "../../secret:" + digest.Digest(hex),
		"sha256:" + digest.Digest(hex[1:]), "sha256:" + digest.Digest(hex+"0"), digest.Digest("sha256:" + strings.Repeat("A", 64)),
		digest.Digest("SHA256:" + hex), digest.Digest("sha256:" + hex[:63] + "/"), digest.Digest("sha256:" + hex[:62] + ".."),
		digest.Digest("sha256:" + hex[:63] + "\x00"), digest.Digest("sha256:" + hex[:62] + "é"), digest.Digest("md5:" + hex[:32]),
		digest.Digest("tarsum.v1+sha256:" + hex + "/.."), digest.Digest("tarsum.../..+sha256:" + hex), digest.Digest(strings.Repeat("x", 1<<16)),
	}
	ids := []string{
		"", ".", "..", "../..", "../../../../../../secret", "x", "a/b", "7d0ad9a3-4d10-4a8c-8d8a-5b3a1a1b9c1", "é", "\x00",
		"7d0ad9a3-4d10-4a8c-8d8a-5b3a1a1b9c11/../../_layers", "{7d0ad9a3-4d10-4a8c-8d8a-5b3a1a1b9c11}",
		"urn:uuid:7d0ad9a3-4d10-4a8c-8d8a-5b3a1a1b9c11", "7D0AD9A3-4D10-4A8C-8D8A-5B3A1A1B9C11", strings.Repeat("x", 1<<16),
	}
	onDrivers(t, func(t *testing.T, d driver.Driver, dir string) {
		if dir != "" {
			secret := filepath.Join(filepath.Dir(dir), "secret")
			require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
			defer func() {
				content, err := os.ReadFile(secret)
				require.NoError(t, err)
				require.Equal(t, "secret", string(content))
			}()
		}
		reg := openRegistry(t, d, storage.Options{Create: true, AllowDelete: true})
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		img := push(t, repo, "one", "v1")
		before := filesOf(tree(t, d))
		ctx := t.Context()
		for _, which := range digests {
			u, err := repo.Blobs().Create(ctx)
			require.NoError(t, err)
			for op, err := range map[string]error{
				"blobs.Stat":          second(repo.Blobs().Stat(ctx, which)),
				"blobs.Open":          second(repo.Blobs().Open(ctx, which)),
				"blobs.Get":           second(repo.Blobs().Get(ctx, which)),
				"blobs.Mount":         second(other.Blobs().Mount(ctx, repo, which)),
				"blobs.Delete":        repo.Blobs().Delete(ctx, which),
				"blobs.Retract":       repo.Blobs().Retract(ctx, storage.Link{Digest: which, Version: "x", IsNew: true}),
				"blobs.Keep":          second(repo.Blobs().Keep(ctx, which)),
				"upload.Commit":       second(u.Commit(ctx, storage.Descriptor{Digest: which})),
				"manifests.Exists":    second(repo.Manifests().Exists(ctx, which)),
				"manifests.Stat":      second(repo.Manifests().Stat(ctx, which)),
				"manifests.Open":      second(repo.Manifests().Open(ctx, which)),
				"manifests.Get":       second(repo.Manifests().Get(ctx, which)),
				"manifests.Signed":    second(repo.Manifests().Signed(ctx, which)),
				"manifests.Mount":     second(other.Manifests().Mount(ctx, repo, which)),
				"manifests.Delete":    repo.Manifests().Delete(ctx, which),
				"manifests.Retract":   repo.Manifests().Retract(ctx, storage.Link{Digest: which, Version: "x", IsNew: true}),
				"manifests.Keep":      second(repo.Manifests().Keep(ctx, which)),
				"manifests.GetTagged": second(repo.Manifests().GetTagged(ctx, string(which), "")),
				"tags.Tag":            repo.Tags().Tag(ctx, "v2", which),
			} {
				require.Error(t, err, "%s %.80q", op, which)
				require.NotErrorIs(t, err, storage.ErrCorrupt, "%s %.80q", op, which)
			}
			require.NoError(t, u.Cancel(ctx))
		}
		for _, id := range ids {
			for op, err := range map[string]error{
				"Resume":     second(repo.Blobs().Resume(ctx, id)),
				"Upload":     second(repo.Blobs().Upload(ctx, id)),
				"OpenUpload": second(repo.Blobs().OpenUpload(ctx, id)),
			} {
				require.ErrorIs(t, err, storage.ErrUploadUnknown, "%s %.80q", op, id)
			}
		}
		require.Equal(t, before, filesOf(tree(t, d)), "nothing came of it")
		require.NotEmpty(t, readAll(t, repo, img.layer))
	})
}
