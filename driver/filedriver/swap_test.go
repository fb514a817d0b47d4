package filedriver_test

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/driver"
	"registryfs/driver/filedriver"
)

// TestSymlinkSwappedIn exchanges a directory for a symlink out of the store, and
// back, again and again, while everything is done below its name. Whatever
// comes of a call, nothing outside is read, made, changed or removed.
func TestSymlinkSwappedIn(t *testing.T) {
	const rounds = 500
	root, outside := t.TempDir(), t.TempDir()
	for _, name := range []string{"file", "kept"} {
		require.NoError(t, os.WriteFile(filepath.Join(outside, name), []byte("secret"), 0o600))
	}
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "link")))
	d := open(t, root, filedriver.Options{})
	ctx := t.Context()
	require.NoError(t, d.PutContent(ctx, "/dir/file", []byte("ours")))
	require.NoError(t, d.PutContent(ctx, "/other", []byte("ours")))

	over := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		dir, link := filepath.Join(root, "dir"), filepath.Join(root, "link")
		for {
			select {
			case <-over:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			}
		}
	})
	reads := 0
	isOurs := func(content []byte, err error) {
		if err == nil {
			require.NotContains(t, string(content), "secret")
			reads++
		}
	}
	for range rounds {
		isOurs(d.GetContent(ctx, "/dir/file"))
		if r, err := d.Reader(ctx, "/dir/file", 0); err == nil {
			isOurs(io.ReadAll(r))
			_ = r.Close()
		}
		if f, err := driver.OpenAt(ctx, d, "/dir/file"); err == nil {
			isOurs(io.ReadAll(io.NewSectionReader(f, 0, 100)))
			_ = f.Close()
		}
		children, err := d.List(ctx, "/dir")
		if err == nil {
			require.NotContains(t, children, "/dir/kept")
		}
		_ = d.PutContent(ctx, "/dir/new", []byte("ours"))
		_ = d.PutContent(ctx, "/dir/file", []byte("ours"))
		_ = driver.MakeDir(ctx, d, "/dir/made/deep")
		if w, err := d.Writer(ctx, "/dir/written", true); err == nil {
			_, _ = w.Write([]byte("ours"))
			_ = w.Commit(ctx)
		}
		_ = d.Move(ctx, "/dir/kept", "/stolen")
		_ = d.Move(ctx, "/other", "/dir/other")
		_ = d.Move(ctx, "/dir/other", "/other")
		_ = d.Delete(ctx, "/dir/kept")
		_ = d.Delete(ctx, "/dir/made")
	}
	close(over)
	swapping.Wait()
	require.NotZero(t, reads, "nothing was ever read")
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(outside, entry.Name()))
		require.NoError(t, err)
		require.Equal(t, "secret", string(content))
	}
	require.NoFileExists(t, filepath.Join(root, "stolen"))
}
