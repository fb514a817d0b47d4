package storagetest

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/storage"
)

func testReadOnly(s *suite) {
	s.testWith("Refuses", Options{ReadOnly: true, AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		ctx := t.Context()
		for op, err := range map[string]error{
			"Put":              second(repo.Blobs().Put(ctx, "", []byte("content"))),
			"Create":           second(repo.Blobs().Create(ctx)),
			"Resume":           second(repo.Blobs().Resume(ctx, uuid.NewString())),
			"Delete":           repo.Blobs().Delete(ctx, absent),
			"Retract":          repo.Blobs().Retract(ctx, storage.Link{Digest: absent, Version: "x", IsNew: true}),
			"Keep":             second(repo.Blobs().Keep(ctx, absent)),
			"Keep manifest":    second(repo.Manifests().Keep(ctx, absent)),
			"Put manifest":     second(repo.Manifests().Put(ctx, "", indexPayload())),
			"Delete manifest":  repo.Manifests().Delete(ctx, absent),
			"Retract manifest": repo.Manifests().Retract(ctx, storage.Link{Digest: absent, Version: "x", IsNew: true}),
			"Tag":              repo.Tags().Tag(ctx, "v1", absent),
			"Untag":            repo.Tags().Untag(ctx, "v1"),
			"Replace":          repo.Tags().Replace(ctx, "v1", "", absent),
			"Rename":           repo.Tags().Rename(ctx, "v1", "v2"),
		} {
			require.ErrorIs(t, err, storage.ErrReadOnly, op)
		}
		names, err := reg.List(ctx, "")
		require.NoError(t, err)
		require.Empty(t, names)
		requireNoBlob(t, repo, absent)
		requireNoManifest(t, repo, absent)
		require.Empty(t, allTags(t, repo))
	})
}

func testContext(s *suite) {
	s.testWith("Ended", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", img.digest))
		u := begin(t, repo, []byte("content"))
		require.NoError(t, u.Close())
		blob := img.blobs()[0]
		nothing := func(digest.Digest) error { return nil }

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for op, err := range map[string]error{
			"List":                second(reg.List(ctx, "")),
			"Stat":                second(reg.Stat(ctx, "app")),
			"Blobs.Stat":          second(repo.Blobs().Stat(ctx, blob)),
			"Blobs.Open":          second(repo.Blobs().Open(ctx, blob)),
			"Blobs.Get":           second(repo.Blobs().Get(ctx, blob)),
			"Blobs.Put":           second(repo.Blobs().Put(ctx, "", []byte("more"))),
			"Blobs.Create":        second(repo.Blobs().Create(ctx)),
			"Blobs.Resume":        second(repo.Blobs().Resume(ctx, u.ID())),
			"Blobs.Uploads":       second(repo.Blobs().Uploads(ctx)),
			"Blobs.Upload":        second(repo.Blobs().Upload(ctx, u.ID())),
			"Blobs.OpenUpload":    second(repo.Blobs().OpenUpload(ctx, u.ID())),
			"Blobs.Mount":         second(repo.Blobs().Mount(ctx, repo, blob)),
			"Blobs.Delete":        repo.Blobs().Delete(ctx, blob),
			"Blobs.Retract":       repo.Blobs().Retract(ctx, storage.Link{Digest: blob, Version: "x", IsNew: true}),
			"Blobs.Keep":          second(repo.Blobs().Keep(ctx, blob)),
			"Manifests.Keep":      second(repo.Manifests().Keep(ctx, img.digest)),
			"Blobs.Enumerate":     repo.Blobs().Enumerate(ctx, nothing),
			"Manifests.Exists":    second(repo.Manifests().Exists(ctx, img.digest)),
			"Manifests.Stat":      second(repo.Manifests().Stat(ctx, img.digest)),
			"Manifests.Open":      second(repo.Manifests().Open(ctx, img.digest)),
			"Manifests.Get":       second(repo.Manifests().Get(ctx, img.digest)),
			"Manifests.Put":       second(repo.Manifests().Put(ctx, "", indexPayload())),
			"Manifests.Mount":     second(repo.Manifests().Mount(ctx, repo, img.digest)),
			"Manifests.Delete":    repo.Manifests().Delete(ctx, img.digest),
			"Manifests.Enumerate": repo.Manifests().Enumerate(ctx, nothing),
			"Tags.All":            second(repo.Tags().All(ctx)),
			"Tags.Get":            second(repo.Tags().Get(ctx, "v1")),
			"Tags.Tag":            repo.Tags().Tag(ctx, "v2", img.digest),
			"Tags.Untag":          repo.Tags().Untag(ctx, "v1"),
			"Tags.Replace":        repo.Tags().Replace(ctx, "v1", img.digest, ""),
			"Tags.Rename":         repo.Tags().Rename(ctx, "v1", "v2"),
			"Tags.Lookup":         second(repo.Tags().Lookup(ctx, img.digest)),
			"Tags.History":        second(repo.Tags().History(ctx, "v1")),
		} {
			require.ErrorIs(t, err, context.Canceled, op)
		}
		requireBlob(t, repo, blob, img.config)
		requireManifest(t, repo, img.payload)
		require.Equal(t, []string{"v1"}, allTags(t, repo))
		require.Equal(t, []string{u.ID()}, uploadIDs(t, repo))
	})
}
