package storage_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/digest"
	"registryfs/driver/filedriver"
	"registryfs/storage"
)

// pathsBelow is everything below a directory, and the directory.
func pathsBelow(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		all = append(all, p)
		return err
	}))
	return all
}

// inodes is all that the file system knows of files, without a look into them.
func inodes(t *testing.T, paths []string) map[string]unix.Stat_t {
	t.Helper()
	all := map[string]unix.Stat_t{}
	for _, p := range paths {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(p, &st))
		all[p] = st
	}
	return all
}

// Reading changes nothing below the directory, not even a time, and whatever
// would change something is refused.
func TestReadOnlyLeavesNoTrace(t *testing.T) {
	for name, readOnly := range map[string]bool{"ReadOnlyDriver": true, "WritableDriver": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			reg := create(t, openDir(t, dir, filedriver.Options{}))
			repo, other := repository(t, reg, "team/app"), repository(t, reg, "other")
			one, two := push(t, repo, "one", "v1"), push(t, repo, "two", "v2")
			push(t, other, "three", "v3")
			u, err := repo.Blobs().Create(t.Context())
			require.NoError(t, err)
			require.NoError(t, u.Close())

			// An access time before the modification is what a file system
			// that is mounted with relatime brings up to date.
			paths := pathsBelow(t, dir)
			long := time.Now().Add(-48 * time.Hour)
			for _, p := range paths {
				require.NoError(t, os.Chtimes(p, long, time.Now()))
			}
			before := inodes(t, paths)

			d := openDir(t, dir, filedriver.Options{ReadOnly: readOnly})
			reg = openRegistry(t, d, storage.Options{ReadOnly: true, AllowDelete: true})
			repo, other = repository(t, reg, "team/app"), repository(t, reg, "other")
			look(t, reg, repo, one, u.ID())
			ctx := t.Context()
			for op, err := range map[string]error{
				"put":              second(repo.Blobs().Put(ctx, "", []byte("content"))),
				"put what is here": second(repo.Blobs().Put(ctx, "", []byte("layer of one"))),
				"create":           second(repo.Blobs().Create(ctx)),
				"resume":           second(repo.Blobs().Resume(ctx, u.ID())),
				"mount":            second(other.Blobs().Mount(ctx, repo, one.layer)),
				"delete":           repo.Blobs().Delete(ctx, one.layer),
				"retract":          repo.Blobs().Retract(ctx, storage.Link{Digest: one.layer, Version: "x", IsNew: true}),
				"keep":             second(repo.Blobs().Keep(ctx, one.layer)),
				"put manifest":     second(repo.Manifests().Put(ctx, "", one.payload)),
				"mount manifest":   second(other.Manifests().Mount(ctx, repo, one.manifest)),
				"delete manifest":  repo.Manifests().Delete(ctx, two.manifest),
				"retract manifest": repo.Manifests().Retract(ctx, storage.Link{Digest: two.manifest, Version: "x", IsNew: true}),
				"keep manifest":    second(repo.Manifests().Keep(ctx, two.manifest)),
				"tag":              repo.Tags().Tag(ctx, "v3", one.manifest),
				"retag":            repo.Tags().Tag(ctx, "v1", two.manifest),
				"untag":            repo.Tags().Untag(ctx, "v1"),
				"rename":           repo.Tags().Rename(ctx, "v1", "v3"),
				"purge":            second(reg.(storage.Purger).PurgeUploads(ctx, storage.PurgeOptions{})),
			} {
				require.ErrorIs(t, err, storage.ErrReadOnly, op)
			}
			require.Equal(t, before, inodes(t, paths))
			require.Equal(t, paths, pathsBelow(t, dir))
		})
	}
}

// look reads everything there is to read.
func look(t *testing.T, reg storage.Registry, repo storage.Repository, img pushed, upload string) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, storage.Walk(ctx, reg, func(name string) error { return second(reg.Stat(ctx, name)) }))
	require.NotEmpty(t, blobsOf(t, repo))
	require.Equal(t, "layer of one", string(readAll(t, repo, img.layer)))
	require.NoError(t, repo.Manifests().Enumerate(ctx, func(d digest.Digest) error {
		return second(repo.Manifests().Get(ctx, d))
	}))
	for op, err := range map[string]error{
		"space":   second(reg.Space(ctx)),
		"get":     second(repo.Blobs().Get(ctx, img.config)),
		"uploads": second(repo.Blobs().Uploads(ctx)),
		"upload":  second(repo.Blobs().Upload(ctx, upload)),
		"all":     second(repo.Tags().All(ctx)),
		"tag":     second(repo.Tags().Get(ctx, "v1")),
		"lookup":  second(repo.Tags().Lookup(ctx, img.manifest)),
		"history": second(repo.Tags().History(ctx, "v1")),
	} {
		require.NoError(t, err, op)
	}
	content, err := repo.Blobs().OpenUpload(ctx, upload)
	require.NoError(t, err)
	require.NoError(t, content.Close())
}

// Read-only, a store that lacks what others would make for it is read as it is.
func TestReadOnlyMakesNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+v2, 0o755))
	paths := pathsBelow(t, dir)
	reg := openRegistry(t, openDir(t, dir, filedriver.Options{}), storage.Options{ReadOnly: true})
	names, err := reg.List(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, names)
	require.Equal(t, paths, pathsBelow(t, dir))
}

func TestOpen(t *testing.T) {
	for name, o := range map[string]storage.Options{"Writable": {}, "ReadOnly": {ReadOnly: true}} {
		t.Run("Missing"+name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := storage.Open(t.Context(), openDir(t, dir, filedriver.Options{}), o)
			require.ErrorIs(t, err, storage.ErrNoRegistry)
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.Equal(t, []string{dir}, pathsBelow(t, dir), "a typo makes no registry")
		})
	}

	t.Run("Create", func(t *testing.T) {
		dir := t.TempDir()
		d := openDir(t, dir, filedriver.Options{})
		push(t, repository(t, create(t, d), "app"), "one", "v1")
		tag, err := repository(t, create(t, d), "app").Tags().Get(t.Context(), "v1") // one that is there is kept
		require.NoError(t, err)
		require.NotEmpty(t, tag.Digest)
		names, err := again(t, d).List(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{"app"}, names)
	})

	t.Run("Context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := storage.Open(ctx, openDir(t, t.TempDir(), filedriver.Options{}), storage.Options{Create: true})
		require.ErrorIs(t, err, context.Canceled)
	})
}
