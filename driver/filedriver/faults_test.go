package filedriver_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/driver"
	"registryfs/driver/filedriver"
)

// TestFaults lets each system call of each operation fail in turn. The failure
// must surface, no temporary may be left, what was there must still be there,
// old or new but whole, and trying again must work.
func TestFaults(t *testing.T) {
	write := func(t *testing.T, d driver.Driver, path string, append bool, end func(driver.Writer) error) error {
		w, err := d.Writer(t.Context(), path, append)
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte("+ more")); err != nil {
			require.ErrorIs(t, w.Close(), syscall.ENOSPC, "a failed write is forgotten")
			return err
		}
		if err := end(w); err != nil {
			_ = w.Close() // after a failed Commit; another end has ended it
			return err
		}
		return nil
	}
	isOneOf := func(contents ...string) func(t *testing.T, d driver.Driver) {
		return func(t *testing.T, d driver.Driver) {
			got, err := d.GetContent(t.Context(), "/dir/old")
			require.NoError(t, err)
			require.Contains(t, contents, string(got))
		}
	}
	isAt := func(paths ...string) func(t *testing.T, d driver.Driver) {
		return func(t *testing.T, d driver.Driver) {
			found := 0
			for _, path := range paths {
				if got, err := d.GetContent(t.Context(), path); err == nil {
					require.Equal(t, "old", string(got))
					found++
				}
			}
			require.Equal(t, 1, found, "the file must have one name")
		}
	}
	nothing := func(*testing.T, driver.Driver) {}

	for _, test := range []struct {
		name  string
		act   func(t *testing.T, d driver.Driver) error
		after func(t *testing.T, d driver.Driver) // what a failure must leave
	}{
		{
			"put over a file",
			func(t *testing.T, d driver.Driver) error { return d.PutContent(t.Context(), "/dir/old", []byte("new")) },
			isOneOf("old", "new"),
		},
		{
			"put in new directories",
			func(t *testing.T, d driver.Driver) error {
				return d.PutContent(t.Context(), "/dir/a/b/f", []byte("new"))
			},
			isOneOf("old"),
		},
		{
			"move",
			func(t *testing.T, d driver.Driver) error { return d.Move(t.Context(), "/dir/old", "/new/dst") },
			isAt("/dir/old", "/new/dst"),
		},
		{
			"move to a free name",
			func(t *testing.T, d driver.Driver) error {
				return driver.MoveNew(t.Context(), d, "/dir/old", "/new/dst")
			},
			isAt("/dir/old", "/new/dst"),
		},
		{
			"sync",
			func(t *testing.T, d driver.Driver) error { return driver.Sync(t.Context(), d, "/dir/old") },
			isOneOf("old"),
		},
		{
			"move a directory",
			func(t *testing.T, d driver.Driver) error { return driver.MoveDir(t.Context(), d, "/dir", "/new/dst") },
			isAt("/dir/old", "/new/dst/old"),
		},
		{
			"make a directory",
			func(t *testing.T, d driver.Driver) error { return driver.MakeDir(t.Context(), d, "/dir/a/b") },
			isOneOf("old"),
		},
		{
			"make and remove a directory",
			func(t *testing.T, d driver.Driver) error {
				return errors.Join(driver.MakeDir(t.Context(), d, "/dir/a"), driver.RemoveDir(t.Context(), d, "/dir/a"))
			},
			isOneOf("old"),
		},
		{
			"delete",
			func(t *testing.T, d driver.Driver) error { return d.Delete(t.Context(), "/dir") },
			nothing,
		},
		{
			"write and commit",
			func(t *testing.T, d driver.Driver) error {
				return write(t, d, "/dir/a/f", false, func(w driver.Writer) error { return w.Commit(t.Context()) })
			},
			isOneOf("old"),
		},
		{
			"write anew and close",
			func(t *testing.T, d driver.Driver) error { return write(t, d, "/dir/old", false, driver.Writer.Close) },
			nothing,
		},
		{
			"write and cancel",
			func(t *testing.T, d driver.Driver) error {
				return write(t, d, "/dir/f", true, func(w driver.Writer) error { return w.Cancel(t.Context()) })
			},
			isOneOf("old"),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The root belongs to another, so that owners are set too.
			prepare := func() (*traced, driver.Driver, string) {
				root := t.TempDir()
				if os.Geteuid() == 0 {
					require.NoError(t, os.Chown(root, 12345, 23456))
				}
				require.NoError(t, unix.Chmod(root, 0o2770))
				sys := newTraced(t)
				d := open(t, root, filedriver.Options{Sys: sys})
				require.NoError(t, d.PutContent(t.Context(), "/dir/old", []byte("old")))
				sys.reset()
				return sys, d, root
			}
			sys, d, _ := prepare()
			require.NoError(t, test.act(t, d))
			calls := sys.all()
			require.NotEmpty(t, calls)

			for n := range calls {
				sys, d, root := prepare()
				made, failed := 0, ""
				sys.before = func(call string) error {
					made++
					if made != n+1 {
						return nil
					}
					failed = call
					return syscall.ENOSPC
				}
				err := test.act(t, d)
				require.ErrorIs(t, err, syscall.ENOSPC, "after a failed %s", calls[n])
				require.NotEmpty(t, failed)
				var pathErr *driver.PathError
				require.ErrorAs(t, err, &pathErr)
				eachBelow(t, root, func(path string, _ bool, _ unix.Stat_t) {
					require.False(t, strings.HasSuffix(path, ".tmp"), "%s left after a failed %s", path, failed)
				})
				test.after(t, d)
				if err := test.act(t, d); err != nil {
					// What was moved or deleted is no longer there to be.
					require.ErrorIs(t, err, driver.ErrNotExist, "again after a failed %s", failed)
					require.True(t, strings.HasPrefix(failed, "syncdir"), failed)
				}
			}
		})
	}
}

// TestDirectoryIsDurableOrNotThere fails the sync that makes a directory
// durable: a later operation must not find it and believe that it is.
func TestDirectoryIsDurableOrNotThere(t *testing.T) {
	sys := newTraced(t)
	d := open(t, inheritable(t), filedriver.Options{Sys: sys})
	sys.before = func(call string) error {
		if call == "syncdir /" {
			return syscall.EIO
		}
		return nil
	}
	require.ErrorIs(t, d.PutContent(t.Context(), "/dir/file", nil), syscall.EIO)
	sys.before = nil
	sys.reset()
	require.NoError(t, d.PutContent(t.Context(), "/dir/file", nil))
	require.Equal(t, []string{"mkdir /dir", "syncdir /"}, sys.all()[:2])
}

// TestStickyErrors checks that a writer which failed once never reports that
// its bytes are safe, and never repeats an fsync.
func TestStickyErrors(t *testing.T) {
	for _, failing := range []string{"write /file", "sync /file", "syncdir /", "truncate /file"} {
		t.Run(failing, func(t *testing.T) {
			sys := newTraced(t)
			d := open(t, inheritable(t), filedriver.Options{Sys: sys})
			opened, err := d.Writer(t.Context(), "/file", false)
			require.NoError(t, err)
			w := opened.(driver.RandomWriter)
			_, err = w.Write([]byte("good"))
			require.NoError(t, err)

			failures := 0
			sys.before = func(call string) error {
				if call == failing && failures == 0 {
					failures++
					return syscall.EIO
				}
				return nil
			}
			switch failing {
			case "write /file":
				n, err := w.Write([]byte("1234"))
				require.ErrorIs(t, err, syscall.EIO)
				require.Equal(t, int64(4+n), w.Size())
			case "truncate /file":
				require.ErrorIs(t, w.Truncate(1), syscall.EIO)
			default:
				require.ErrorIs(t, w.Sync(), syscall.EIO)
			}
			require.Equal(t, 1, failures)
			sys.reset()
			_, err = w.Write([]byte("x"))
			require.ErrorIs(t, err, syscall.EIO)
			_, err = w.WriteAt([]byte("x"), 0)
			require.ErrorIs(t, err, syscall.EIO)
			require.ErrorIs(t, w.Truncate(0), syscall.EIO)
			require.ErrorIs(t, w.Sync(), syscall.EIO)
			require.ErrorIs(t, w.Commit(t.Context()), syscall.EIO)
			require.ErrorIs(t, w.Close(), syscall.EIO)
			require.Empty(t, sys.all(), "no call may follow the failure")

			again, err := d.Writer(t.Context(), "/file", true)
			require.NoError(t, err, "the lock is kept")
			require.NoError(t, again.Cancel(t.Context()))
		})
	}
}
