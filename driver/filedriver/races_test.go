package filedriver_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/driver"
	"registryfs/driver/filedriver"
)

// TestBusyAcrossDrivers opens one directory twice, as two processes would.
func TestBusyAcrossDrivers(t *testing.T) {
	root := t.TempDir()
	one, two := open(t, root, filedriver.Options{}), open(t, root, filedriver.Options{})
	w, err := one.Writer(t.Context(), "/file", false)
	require.NoError(t, err)
	_, err = w.Write([]byte("abc"))
	require.NoError(t, err)
	_, err = two.Writer(t.Context(), "/file", false)
	require.ErrorIs(t, err, driver.ErrBusy)
	require.NoError(t, w.Close())
	w, err = two.Writer(t.Context(), "/file", true)
	require.NoError(t, err)
	require.Equal(t, int64(3), w.Size(), "the writer that was refused has truncated the file")
	require.NoError(t, w.Commit(t.Context()))
}

// A lock ends with its holder, although a child that is being started has a copy
// of the descriptor.
func TestLocksEndBesideCopies(t *testing.T) {
	root := t.TempDir()
	d := open(t, root, filedriver.Options{})
	require.NoError(t, d.PutContent(t.Context(), "/dir/file", nil))
	t.Run("writer", func(t *testing.T) {
		w, err := d.Writer(t.Context(), "/dir/file", true)
		require.NoError(t, err)
		copyDescriptors(t, filepath.Join(root, "dir", "file"))
		require.NoError(t, w.Close())
		w, err = d.Writer(t.Context(), "/dir/file", true)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	})
	t.Run("directory", func(t *testing.T) {
		lock := func() (io.Closer, error) { return driver.Lock(t.Context(), d, "/dir", false) }
		held, err := lock()
		require.NoError(t, err)
		copyDescriptors(t, filepath.Join(root, "dir"))
		require.NoError(t, held.Close())
		held, err = lock()
		require.NoError(t, err)
		require.NoError(t, held.Close())
	})
}

// copyDescriptors copies all that are open on a file, for the test.
func copyDescriptors(t *testing.T, file string) {
	t.Helper()
	const own = "/proc/self/fd"
	all, err := os.ReadDir(own)
	require.NoError(t, err)
	copies := 0
	for _, fd := range all {
		if name, err := os.Readlink(filepath.Join(own, fd.Name())); err != nil || name != file {
			continue
		}
		n, err := strconv.Atoi(fd.Name())
		require.NoError(t, err)
		c, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, unix.Close(c)) })
		copies++
	}
	require.NotZero(t, copies, "%s is not open", file)
}

// TestWriterOfMovedFile moves a file away between its opening and its locking.
func TestWriterOfMovedFile(t *testing.T) {
	root := t.TempDir()
	sys := &afterOpen{Sys: filedriver.System()}
	d := open(t, root, filedriver.Options{Sys: sys})
	require.NoError(t, d.PutContent(t.Context(), "/file", []byte("committed")))
	moves := 0
	sys.then = func() {
		if moves++; moves == 1 {
			require.NoError(t, os.Rename(filepath.Join(root, "file"), filepath.Join(root, "moved")))
		}
	}
	w, err := d.Writer(t.Context(), "/file", true)
	require.NoError(t, err)
	require.Zero(t, w.Size())
	_, err = w.Write([]byte("new"))
	require.NoError(t, err)
	require.NoError(t, w.Commit(t.Context()))
	for name, want := range map[string]string{"file": "new", "moved": "committed"} {
		got, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.Equal(t, want, string(got), name)
	}
}

// A file that is moved away whenever it is opened is another's.
func TestWriterOfFileMovedForEver(t *testing.T) {
	root := t.TempDir()
	sys := &afterOpen{Sys: filedriver.System()}
	d := open(t, root, filedriver.Options{Sys: sys})
	require.NoError(t, d.PutContent(t.Context(), "/file", []byte("committed")))
	sys.then = func() {
		require.NoError(t, os.Rename(filepath.Join(root, "file"), filepath.Join(root, "moved")))
		require.NoError(t, os.WriteFile(filepath.Join(root, "file"), []byte("another"), 0o644))
	}
	_, err := d.Writer(t.Context(), "/file", false)
	require.ErrorIs(t, err, driver.ErrBusy)
	sys.then = nil
	got, err := d.GetContent(t.Context(), "/file")
	require.NoError(t, err)
	require.Equal(t, "another", string(got))
}

// afterOpen does something after each opening of a file that exists.
type afterOpen struct {
	filedriver.Sys
	then func()
}

func (s *afterOpen) Open(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	f, err := s.Sys.Open(dir, name, flags, mode)
	if err == nil && s.then != nil {
		s.then()
	}
	return f, err
}

// TestMovesWithoutNoReplace is on a file system that lacks RENAME_NOREPLACE.
func TestMovesWithoutNoReplace(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSYS, syscall.EINVAL} {
		t.Run(errno.Error(), func(t *testing.T) {
			root := t.TempDir()
			sys := newTraced(t)
			sys.before = func(call string) error {
				if strings.HasPrefix(call, "renamenew ") {
					return errno
				}
				return nil
			}
			d := open(t, root, filedriver.Options{Sys: sys})
			ctx := t.Context()
			require.NoError(t, d.PutContent(ctx, "/src/file", []byte("x")))
			require.NoError(t, driver.MakeDir(ctx, d, "/empty"))
			require.NoError(t, d.PutContent(ctx, "/full/file", nil))
			require.NoError(t, os.Symlink("nowhere", filepath.Join(root, "link")))
			for _, dst := range []string{"/empty", "/full", "/full/file", "/link"} {
				require.ErrorIs(t, driver.MoveDir(ctx, d, "/src", dst), driver.ErrExist, dst)
			}
			for _, dst := range []string{"/empty", "/full/file", "/link"} {
				require.ErrorIs(t, driver.MoveNew(ctx, d, "/src/file", dst), driver.ErrExist, dst)
			}
			require.NoError(t, driver.MoveDir(ctx, d, "/src", "/new/dst"))
			require.NoError(t, driver.MoveNew(ctx, d, "/new/dst/file", "/new/file"))
			got, err := d.GetContent(ctx, "/new/file")
			require.NoError(t, err)
			require.Equal(t, "x", string(got))
		})
	}
}

// TestDeleteOfChangingDirectory puts a file into a directory just before it is
// removed, once and for ever.
func TestDeleteOfChangingDirectory(t *testing.T) {
	root := t.TempDir()
	sys := newTraced(t)
	d := open(t, root, filedriver.Options{Sys: sys})
	left := 1
	sys.before = func(call string) error {
		if call == "rmdir /dir" && left > 0 {
			left--
			return os.WriteFile(filepath.Join(root, "dir", "late"), nil, 0o644)
		}
		return nil
	}
	require.NoError(t, d.PutContent(t.Context(), "/dir/file", nil))
	require.NoError(t, d.Delete(t.Context(), "/dir"))
	require.Zero(t, left)

	left = 1 << 30
	require.NoError(t, d.PutContent(t.Context(), "/dir/file", nil))
	require.ErrorIs(t, d.Delete(t.Context(), "/dir"), syscall.ENOTEMPTY)
	left = 0
	require.NoError(t, d.Delete(t.Context(), "/dir"))
}

// TestPutIntoVanishingDirectory removes the directory that a file is about to
// be put into.
func TestPutIntoVanishingDirectory(t *testing.T) {
	root := t.TempDir()
	sys := newTraced(t)
	d := open(t, root, filedriver.Options{Sys: sys})
	removed := 0
	sys.before = func(call string) error {
		if strings.HasPrefix(call, "create ") && removed < 2 {
			removed++
			return os.RemoveAll(filepath.Join(root, "dir"))
		}
		return nil
	}
	require.NoError(t, d.PutContent(t.Context(), "/dir/sub/file", []byte("x")))
	require.Equal(t, 2, removed)
	removed = 0
	w, err := d.Writer(t.Context(), "/dir/sub/other", true)
	require.NoError(t, err)
	require.NoError(t, w.Commit(t.Context()))
	require.Equal(t, 2, removed)
}

// TestMakingWithOthers makes a directory just before the driver does.
func TestMakingWithOthers(t *testing.T) {
	root := t.TempDir()
	sys := newTraced(t)
	sys.before = func(call string) error {
		if name, ok := strings.CutPrefix(call, "mkdir "); ok {
			return os.Mkdir(filepath.Join(root, name), 0o755)
		}
		return nil
	}
	d := open(t, root, filedriver.Options{Sys: sys})
	require.NoError(t, d.PutContent(t.Context(), "/a/b/c/file", []byte("x")))
	got, err := d.GetContent(t.Context(), "/a/b/c/file")
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}

// TestListOfMany reads a directory as large as the tags of a busy repository.
func TestListOfMany(t *testing.T) {
	many := 100_000
	if testing.Short() {
		many = 5_000
	}
	root := t.TempDir()
	want := make(map[string]bool, many)
	for i := range many {
		name := fmt.Sprintf("tag-%d", i)
		require.NoError(t, unix.Mkdir(filepath.Join(root, name), 0o755))
		want["/"+name] = true
	}
	children, err := open(t, root, filedriver.Options{}).List(t.Context(), "/")
	require.NoError(t, err)
	require.Len(t, children, many)
	for _, child := range children {
		require.True(t, want[child], child)
		delete(want, child)
	}
}

// TestErrnos checks that the reasons of the system reach the caller.
func TestErrnos(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EROFS, syscall.EACCES, syscall.EMFILE, syscall.EDQUOT, syscall.EXDEV} {
		sys := newTraced(t)
		sys.before = func(string) error { return &os.PathError{Op: "op", Path: "path", Err: errno} }
		d := open(t, t.TempDir(), filedriver.Options{Sys: sys})
		err := d.PutContent(t.Context(), "/file", nil)
		require.ErrorIs(t, err, errno)
		require.EqualError(t, err, "filedriver: putcontent /file: "+errno.Error())
	}
}
