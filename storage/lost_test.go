package storage_test

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/filedriver"
	"registryfs/storage"
	"registryfs/storage/storagetest"
)

// failOnce lets the first sync of a file fail, as the kernel does: the next
// succeeds without the bytes.
func failOnce(isIt func(file string) bool) *hooked {
	failed := false
	return &hooked{hook: func(c *sysCall, do func() error) error {
		if c.op == "sync" && !failed && isIt(c.file.Name()) {
			failed = true
			return syscall.EIO
		}
		return do()
	}}
}

// What a disk did not take is never committed, also not by who resumes it.
func TestLostUpload(t *testing.T) {
	for name, end := range map[string]func(u storage.Upload, want digest.Digest) error{
		"commit": func(u storage.Upload, want digest.Digest) error {
			_, err := u.Commit(t.Context(), storage.Descriptor{Digest: want})
			return err
		},
		"sync":  func(u storage.Upload, _ digest.Digest) error { return u.Sync(t.Context()) },
		"close": func(u storage.Upload, _ digest.Digest) error { return u.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			sys := failOnce(func(file string) bool { return path.Base(file) == "data" })
			dir := storagetest.MemoryDir(t)
			repo := repository(t, create(t, openDir(t, dir, filedriver.Options{Sys: sys})), "app")
			content := noise(100_000)
			u, err := repo.Blobs().Create(t.Context())
			require.NoError(t, err)
			_, err = u.Write(content)
			require.NoError(t, err)
			err = end(u, digest.FromBytes(content))
			require.ErrorIs(t, err, storage.ErrUploadLost)
			require.ErrorIs(t, err, syscall.EIO)
			require.NoError(t, u.Close())
			require.NoError(t, u.Cancel(t.Context()))

			_, err = repo.Blobs().Resume(t.Context(), u.ID())
			require.ErrorIs(t, err, storage.ErrUploadUnknown)
			left, err := os.ReadDir(filepath.Join(dir, repos, "app/_uploads"))
			require.NoError(t, err)
			require.Empty(t, left)
			putBlob(t, repo, content)
		})
	}
}

// What was synced before a disk did not take more can be gone on with.
func TestLostRestOfUpload(t *testing.T) {
	content, syncs := noise(100_000), 0
	sys := &hooked{hook: func(c *sysCall, do func() error) error {
		if c.op == "sync" && path.Base(c.file.Name()) == "data" {
			if syncs++; syncs == 2 {
				return syscall.EIO
			}
		}
		return do()
	}}
	repo := repository(t, create(t, openDir(t, storagetest.MemoryDir(t), filedriver.Options{Sys: sys})), "app")
	u, err := repo.Blobs().Create(t.Context())
	require.NoError(t, err)
	_, err = u.Write(content[:60_000])
	require.NoError(t, err)
	require.NoError(t, u.Sync(t.Context()))
	_, err = u.WriteAt([]byte("x"), 50_000)
	require.NoError(t, err)
	_, err = u.Write(content[60_000:])
	require.NoError(t, err)
	require.ErrorIs(t, u.Close(), storage.ErrUploadLost)

	u, err = repo.Blobs().Resume(t.Context(), u.ID())
	require.NoError(t, err)
	require.EqualValues(t, 50_000, u.Size())
	_, err = u.Write(content[50_000:])
	require.NoError(t, err)
	_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes(content)})
	require.NoError(t, err)
}

// Content that is there and cannot be made durable is replaced by what is
// pushed.
func TestLostContent(t *testing.T) {
	dir, content := storagetest.MemoryDir(t), noise(100_000)
	d := putBlob(t, repository(t, create(t, openDir(t, dir, filedriver.Options{NoSync: true})), "stock"), content)
	before, err := os.Stat(dir + dataPath(d))
	require.NoError(t, err)
	sys := failOnce(func(file string) bool { return strings.Contains(file, "/blobs/") && path.Base(file) == "data" })
	repo := repository(t, again(t, openDir(t, dir, filedriver.Options{Sys: sys})), "app")
	putBlob(t, repo, content)
	after, err := os.Stat(dir + dataPath(d))
	require.NoError(t, err)
	require.False(t, os.SameFile(before, after), "it is as it was")
}

// Nothing is left of a tag that cannot be written.
func TestTagThatCannotBeWritten(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		sys := &hooked{hook: func(c *sysCall, do func() error) error {
			if c.op == op && strings.Contains(c.file.Name(), "registryfs/staging") {
				return syscall.ENOSPC
			}
			return do()
		}}
		dir := storagetest.MemoryDir(t)
		img := push(t, repository(t, create(t, openDir(t, dir, filedriver.Options{})), "app"), "one", "")
		repo := repository(t, again(t, openDir(t, dir, filedriver.Options{Sys: sys})), "app")
		require.ErrorIs(t, repo.Tags().Tag(t.Context(), "v1", img.manifest), syscall.ENOSPC, op)
		left, err := os.ReadDir(filepath.Join(dir, "registryfs/staging"))
		require.NoError(t, err)
		require.Empty(t, left, op)
	}
}

// Nothing is left of an upload that cannot begin.
func TestUploadThatCannotBegin(t *testing.T) {
	for at := 1; ; at++ {
		calls := 0
		sys := &hooked{hook: func(c *sysCall, do func() error) error {
			if calls++; calls == at {
				return syscall.ENOSPC
			}
			return do()
		}}
		dir := storagetest.MemoryDir(t)
		repo := repository(t, create(t, openDir(t, dir, filedriver.Options{})), "app")
		putBlob(t, repo, []byte("one"))
		repo = repository(t, again(t, openDir(t, dir, filedriver.Options{Sys: sys})), "app")
		calls = 0
		u, err := repo.Blobs().Create(t.Context())
		made := calls
		calls = at // nothing fails any more
		if made < at {
			require.NoError(t, err)
			require.NoError(t, u.Cancel(t.Context()))
			require.Greater(t, at, 3)
			return
		}
		if err == nil {
			require.NoError(t, u.Cancel(t.Context()))
		} else {
			require.ErrorIs(t, err, syscall.ENOSPC)
		}
		left, err := os.ReadDir(filepath.Join(dir, repos, "app/_uploads"))
		require.NoError(t, err)
		require.Empty(t, left, "call %d", at)
	}
}
