package filedriver_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/driver"
	"registryfs/driver/filedriver"
)

// TestSpecialFiles puts in a file's place what is none. No method may follow
// it, block on it or read it; writing a whole file, or moving one there, and
// Delete replace it and leave alone what it leads to.
func TestSpecialFiles(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))

	kinds := map[string]func(t *testing.T, path string){
		"link out":     func(t *testing.T, path string) { require.NoError(t, os.Symlink(secret, path)) },
		"link inside":  func(t *testing.T, path string) { require.NoError(t, os.Symlink("good", path)) },
		"link to dir":  func(t *testing.T, path string) { require.NoError(t, os.Symlink(outside, path)) },
		"dangling":     func(t *testing.T, path string) { require.NoError(t, os.Symlink("nothing", path)) },
		"link to self": func(t *testing.T, path string) { require.NoError(t, os.Symlink("special", path)) },
		"magic link":   func(t *testing.T, path string) { require.NoError(t, os.Symlink("/proc/self/exe", path)) },
		"fifo":         func(t *testing.T, path string) { require.NoError(t, unix.Mkfifo(path, 0o666)) },
		"socket": func(t *testing.T, path string) {
			// The address of a socket is too short for the path of a test.
			dir, err := os.Open(filepath.Dir(path))
			require.NoError(t, err)
			defer dir.Close()
			addr := &net.UnixAddr{Name: filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), "special"), Net: "unix"}
			l, err := net.ListenUnix("unix", addr)
			require.NoError(t, err)
			l.SetUnlinkOnClose(false)
			require.NoError(t, l.Close())
		},
	}
	if os.Geteuid() == 0 {
		kinds["device"] = func(t *testing.T, path string) {
			require.NoError(t, unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))) // endless zeros
		}
	}
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, "dir", "special")
			d := open(t, root, filedriver.Options{})
			ctx := t.Context()
			require.NoError(t, d.PutContent(ctx, "/dir/good", []byte("good")))
			make(t, path)

			for op, err := range map[string]error{
				"get":    func() error { _, err := d.GetContent(ctx, "/dir/special"); return err }(),
				"reader": func() error { _, err := d.Reader(ctx, "/dir/special", 0); return err }(),
				"openat": func() error { _, err := driver.OpenAt(ctx, d, "/dir/special"); return err }(),
				"stat":   func() error { _, err := d.Stat(ctx, "/dir/special"); return err }(),
				"list":   func() error { _, err := d.List(ctx, "/dir/special"); return err }(),
				"writer": func() error { _, err := d.Writer(ctx, "/dir/special", false); return err }(),
				"append": func() error { _, err := d.Writer(ctx, "/dir/special", true); return err }(),
				"move":   d.Move(ctx, "/dir/special", "/dir/moved"),
				"below":  func() error { _, err := d.GetContent(ctx, "/dir/special/secret"); return err }(),
				"put":    d.PutContent(ctx, "/dir/special/secret", []byte("x")),
				"remove": d.Delete(ctx, "/dir/special/secret"),
				"into":   d.Move(ctx, "/dir/good", "/dir/special/secret"),
				"dir":    driver.MoveDir(ctx, d, "/dir/special", "/else"),
				"rmdir":  driver.RemoveDir(ctx, d, "/dir/special"),
			} {
				require.ErrorIs(t, err, driver.ErrInvalidPath, op)
			}
			children, err := d.List(ctx, "/dir")
			require.NoError(t, err)
			require.ElementsMatch(t, []string{"/dir/good", "/dir/special"}, children)

			require.NoError(t, d.PutContent(ctx, "/dir/special", []byte("healed")))
			got, err := d.GetContent(ctx, "/dir/special")
			require.NoError(t, err)
			require.Equal(t, "healed", string(got))

			require.NoError(t, os.Remove(path))
			make(t, path)
			require.NoError(t, d.PutContent(ctx, "/other", []byte("moved")))
			require.NoError(t, d.Move(ctx, "/other", "/dir/special"))

			require.NoError(t, os.Remove(path))
			make(t, path)
			require.NoError(t, d.Delete(ctx, "/dir/special"))
			make(t, path)
			require.NoError(t, d.Delete(ctx, "/dir"))

			left, err := os.ReadFile(secret)
			require.NoError(t, err)
			require.Equal(t, "secret", string(left))
			entries, err := os.ReadDir(outside)
			require.NoError(t, err)
			require.Len(t, entries, 1)
		})
	}
}

// TestRootIsResolvedOnce opens a root by a symlink that leads elsewhere later.
func TestRootIsResolvedOnce(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "one"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "two"), 0o755))
	require.NoError(t, os.Symlink("one", filepath.Join(dir, "link")))
	d := open(t, filepath.Join(dir, "link"), filedriver.Options{})
	require.NoError(t, os.Remove(filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink("two", filepath.Join(dir, "link")))
	require.NoError(t, d.PutContent(t.Context(), "/file", []byte("x")))
	require.FileExists(t, filepath.Join(dir, "one", "file"))
	require.NoError(t, os.Rename(filepath.Join(dir, "one"), filepath.Join(dir, "three")))
	require.NoError(t, d.PutContent(t.Context(), "/file2", []byte("x")))
	require.FileExists(t, filepath.Join(dir, "three", "file2"))
}

func TestRootMustBeDirectory(t *testing.T) {
	dir := t.TempDir()
	_, err := filedriver.New(filepath.Join(dir, "none"), filedriver.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	_, err = filedriver.New(filepath.Join(dir, "file"), filedriver.Options{})
	require.ErrorIs(t, err, unix.ENOTDIR)
	require.ErrorContains(t, err, filepath.Join(dir, "file"))
}

// TestForeignNames puts names into the store that no path can hold. They are
// listed, so that their directory is not taken for empty, and that is all.
func TestForeignNames(t *testing.T) {
	root := t.TempDir()
	d := open(t, root, filedriver.Options{})
	ctx := t.Context()
	require.NoError(t, driver.MakeDir(ctx, d, "/dir"))
	want := []string{}
	for _, name := range []string{"lost+found", "two words", "é", "\x80", "back~"} {
		want = append(want, "/dir/"+name)
		require.NoError(t, os.Mkdir(filepath.Join(root, "dir", name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, "dir", name, name), nil, 0o644))
	}
	children, err := d.List(ctx, "/dir")
	require.NoError(t, err)
	require.ElementsMatch(t, want, children)
	for _, child := range children {
		_, err := d.Stat(ctx, child)
		require.ErrorIs(t, err, driver.ErrInvalidPath)
		require.ErrorIs(t, d.Delete(ctx, child), driver.ErrInvalidPath)
	}
	require.ErrorIs(t, driver.Walk(ctx, d, "/", func(driver.FileInfo) error { return nil }), driver.ErrInvalidPath)
	require.ErrorIs(t, driver.RemoveDir(ctx, d, "/dir"), driver.ErrExist)
	require.NoError(t, d.Delete(ctx, "/dir"))
	require.NoDirExists(t, filepath.Join(root, "dir"))
}

// TestRootGone removes the root under a driver.
func TestRootGone(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.Mkdir(root, 0o755))
	d := open(t, root, filedriver.Options{})
	ctx := t.Context()
	require.NoError(t, d.PutContent(ctx, "/dir/file", []byte("x")))
	require.NoError(t, os.RemoveAll(root))
	for op, call := range map[string]func() error{
		"get":     func() error { _, err := d.GetContent(ctx, "/dir/file"); return err },
		"put":     func() error { return d.PutContent(ctx, "/dir/file", []byte("x")) },
		"top":     func() error { return d.PutContent(ctx, "/file", []byte("x")) },
		"writer":  func() error { _, err := d.Writer(ctx, "/dir/file", false); return err },
		"stat":    func() error { _, err := d.Stat(ctx, "/dir/file"); return err },
		"root":    func() error { _, err := d.Stat(ctx, "/"); return err },
		"list":    func() error { _, err := d.List(ctx, "/"); return err },
		"move":    func() error { return d.Move(ctx, "/dir/file", "/x") },
		"movedir": func() error { return driver.MoveDir(ctx, d, "/dir", "/x") },
		"makedir": func() error { return driver.MakeDir(ctx, d, "/dir") },
		"rmdir":   func() error { return driver.RemoveDir(ctx, d, "/dir") },
		"delete":  func() error { return d.Delete(ctx, "/dir") },
	} {
		err := call()
		require.ErrorIs(t, err, filedriver.ErrRootGone, op)
		require.NotErrorIs(t, err, os.ErrNotExist, op)
	}
	require.NoDirExists(t, root)
}
