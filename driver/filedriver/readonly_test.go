package filedriver_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/driver"
	"registryfs/driver/filedriver"
)

// TestReadOnly uses everything and finds nothing changed, not even times.
func TestReadOnly(t *testing.T) {
	root := t.TempDir()
	populate(t, open(t, root, filedriver.Options{}))
	// Times of which relatime would update the first.
	accessed, changed := time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	eachBelow(t, root, func(path string, _ bool, _ unix.Stat_t) {
		require.NoError(t, os.Chtimes(path, accessed, changed))
	})
	require.NoError(t, os.Chtimes(root, accessed, changed))
	snapshot := func() map[string]unix.Stat_t {
		all := make(map[string]unix.Stat_t)
		for _, path := range []string{
			root, filepath.Join(root, "a"), filepath.Join(root, "a/b"), filepath.Join(root, "a/b/put"),
			filepath.Join(root, "c/d"), filepath.Join(root, "c/d/written"),
		} {
			var st unix.Stat_t
			require.NoError(t, unix.Lstat(path, &st))
			all[path] = st
		}
		return all
	}
	before := snapshot()
	useReadOnly(t, open(t, root, filedriver.Options{ReadOnly: true}))
	require.Equal(t, before, snapshot())
}

// TestReadOnlyMedia does the same where nothing can be changed.
func TestReadOnlyMedia(t *testing.T) {
	root := t.TempDir()
	err := unix.Mount("none", root, "tmpfs", 0, "")
	mounted := err == nil
	if mounted {
		t.Cleanup(func() { require.NoError(t, unix.Unmount(root, unix.MNT_DETACH)) })
	} else {
		require.ErrorIs(t, err, unix.EPERM)
	}
	populate(t, open(t, root, filedriver.Options{}))
	if mounted {
		require.NoError(t, unix.Mount("none", root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	} else { // permissions must do
		chmodAll(t, root, 0o555)
		t.Cleanup(func() { chmodAll(t, root, 0o755) })
	}
	useReadOnly(t, open(t, root, filedriver.Options{ReadOnly: true}))

	// Without the option the error is the system's.
	err = open(t, root, filedriver.Options{}).PutContent(t.Context(), "/a/b/put", nil)
	if mounted {
		require.ErrorIs(t, err, syscall.EROFS)
	} else {
		require.True(t, errors.Is(err, syscall.EACCES) || os.Geteuid() == 0, "%v", err)
	}
}

// useReadOnly reads what populate made and tries to change it.
func useReadOnly(t *testing.T, d driver.Driver) {
	t.Helper()
	ctx := t.Context()
	got, err := d.GetContent(ctx, "/a/b/put")
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	r, err := d.Reader(ctx, "/a/b/put", 0)
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	f, err := driver.OpenAt(ctx, d, "/a/b/put")
	require.NoError(t, err)
	_, err = f.ReadAt(make([]byte, 1), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, driver.Walk(ctx, d, "/", func(driver.FileInfo) error { return nil }))
	space, err := driver.SpaceOf(ctx, d)
	require.NoError(t, err)
	require.NotZero(t, space.Bytes)

	require.ErrorIs(t, d.PutContent(ctx, "/a/b/put", []byte("y")), driver.ErrReadOnly)
	for _, append := range []bool{false, true} {
		_, err = d.Writer(ctx, "/c/d/written", append)
		require.ErrorIs(t, err, driver.ErrReadOnly)
		require.ErrorIs(t, err, os.ErrPermission)
	}
	require.ErrorIs(t, d.Move(ctx, "/a/b/put", "/x"), driver.ErrReadOnly)
	require.ErrorIs(t, driver.MoveNew(ctx, d, "/a/b/put", "/x"), driver.ErrReadOnly)
	require.ErrorIs(t, driver.Sync(ctx, d, "/a/b/put"), driver.ErrReadOnly)
	require.ErrorIs(t, driver.MoveDir(ctx, d, "/a", "/x"), driver.ErrReadOnly)
	require.ErrorIs(t, driver.MakeDir(ctx, d, "/x"), driver.ErrReadOnly)
	require.ErrorIs(t, driver.RemoveDir(ctx, d, "/a/b"), driver.ErrReadOnly)
	require.ErrorIs(t, d.Delete(ctx, "/a"), driver.ErrReadOnly)
}

func chmodAll(t *testing.T, root string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.Chmod(root, mode))
	eachBelow(t, root, func(path string, isDir bool, _ unix.Stat_t) {
		if isDir {
			require.NoError(t, os.Chmod(path, mode))
		}
	})
}
