package filedriver_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/filedriver"
)

var random = regexp.MustCompile(`\.[A-Z2-7]{26}\.tmp`)

// ordered is the calls so far, without what is random in them.
func (s *traced) ordered() []string {
	var calls []string
	for _, call := range s.all() {
		calls = append(calls, random.ReplaceAllString(call, ".tmp"))
	}
	return calls
}

// TestOrder fixes what is made durable before what.
func TestOrder(t *testing.T) {
	for _, test := range []struct {
		name string
		act  func(t *testing.T, d driver.Driver) error
		want []string
	}{
		{
			"put over a file",
			func(t *testing.T, d driver.Driver) error { return d.PutContent(t.Context(), "/dir/old", []byte("x")) },
			[]string{
				"create /dir/old.tmp", "write /dir/old.tmp", "sync /dir/old.tmp",
				"rename /dir/old.tmp /dir/old", "syncdir /dir",
			},
		},
		{
			"put in new directories",
			func(t *testing.T, d driver.Driver) error { return d.PutContent(t.Context(), "/dir/a/b/f", nil) },
			[]string{
				"mkdir /dir/a", "syncdir /dir", "mkdir /dir/a/b", "syncdir /dir/a",
				"create /dir/a/b/f.tmp", "write /dir/a/b/f.tmp", "sync /dir/a/b/f.tmp",
				"rename /dir/a/b/f.tmp /dir/a/b/f", "syncdir /dir/a/b",
			},
		},
		{
			"move",
			func(t *testing.T, d driver.Driver) error { return d.Move(t.Context(), "/dir/old", "/new/dst") },
			[]string{"mkdir /new", "syncdir /", "rename /dir/old /new/dst", "syncdir /new", "syncdir /dir"},
		},
		{
			"move of what is missing",
			func(t *testing.T, d driver.Driver) error {
				require.ErrorIs(t, d.Move(t.Context(), "/dir/none", "/new/dst"), driver.ErrNotExist)
				return nil
			},
			nil,
		},
		{
			"move to a free name",
			func(t *testing.T, d driver.Driver) error {
				return driver.MoveNew(t.Context(), d, "/dir/old", "/new/dst")
			},
			[]string{"mkdir /new", "syncdir /", "renamenew /dir/old /new/dst", "syncdir /new", "syncdir /dir"},
		},
		{
			"sync",
			func(t *testing.T, d driver.Driver) error { return driver.Sync(t.Context(), d, "/dir/old") },
			[]string{"sync /dir/old", "syncdir /dir", "syncdir /"},
		},
		{
			"sync of two files with directories in common",
			func(t *testing.T, d driver.Driver) error {
				un := driver.Unsynced(d)
				require.NoError(t, un.PutContent(t.Context(), "/dir/a/b/f", nil))
				require.NoError(t, un.PutContent(t.Context(), "/dir/a/c/f", nil))
				require.NoError(t, driver.Sync(t.Context(), d, "/dir/a/b/f"))
				return driver.Sync(t.Context(), d, "/dir/a/c/f")
			},
			[]string{
				"mkdir /dir/a", "mkdir /dir/a/b", "create /dir/a/b/f.tmp", "write /dir/a/b/f.tmp", "sync /dir/a/b/f.tmp",
				"rename /dir/a/b/f.tmp /dir/a/b/f",
				"mkdir /dir/a/c", "create /dir/a/c/f.tmp", "write /dir/a/c/f.tmp", "sync /dir/a/c/f.tmp",
				"rename /dir/a/c/f.tmp /dir/a/c/f",
				"sync /dir/a/b/f", "syncdir /dir/a/b", "syncdir /dir/a", "syncdir /dir", "syncdir /",
				"sync /dir/a/c/f", "syncdir /dir/a/c", "syncdir /dir/a",
			},
		},
		{
			"move of a directory",
			func(t *testing.T, d driver.Driver) error { return driver.MoveDir(t.Context(), d, "/dir", "/new/dst") },
			[]string{"mkdir /new", "syncdir /", "renamenew /dir /new/dst", "syncdir /new", "syncdir /"},
		},
		{
			"make a directory",
			func(t *testing.T, d driver.Driver) error { return driver.MakeDir(t.Context(), d, "/new/sub") },
			[]string{"mkdir /new", "syncdir /", "mkdir /new/sub", "syncdir /new"},
		},
		{
			"remove an empty directory",
			func(t *testing.T, d driver.Driver) error {
				require.NoError(t, d.Delete(t.Context(), "/dir/old"))
				return driver.RemoveDir(t.Context(), d, "/dir")
			},
			[]string{"unlink /dir/old", "syncdir /dir", "rmdir /dir", "syncdir /"},
		},
		{
			"delete",
			func(t *testing.T, d driver.Driver) error { return d.Delete(t.Context(), "/dir") },
			[]string{"unlink /dir", "unlink /dir/old", "rmdir /dir", "syncdir /"},
		},
		{
			"write a new file",
			func(t *testing.T, d driver.Driver) error {
				w, err := d.Writer(t.Context(), "/dir/new", false)
				require.NoError(t, err)
				_, err = w.Write([]byte("x"))
				require.NoError(t, err)
				return w.Commit(t.Context())
			},
			[]string{"open /dir/new", "create /dir/new", "write /dir/new", "sync /dir/new", "syncdir /dir"},
		},
		{
			"write a file anew",
			func(t *testing.T, d driver.Driver) error {
				w, err := d.Writer(t.Context(), "/dir/old", false)
				require.NoError(t, err)
				return w.Close()
			},
			[]string{"open /dir/old", "truncate /dir/old", "sync /dir/old", "syncdir /dir"},
		},
		{
			"put without waiting for the disk",
			func(t *testing.T, d driver.Driver) error {
				return driver.Unsynced(d).PutContent(t.Context(), "/dir/a/f", nil)
			},
			[]string{
				"mkdir /dir/a", "create /dir/a/f.tmp", "write /dir/a/f.tmp", "sync /dir/a/f.tmp",
				"rename /dir/a/f.tmp /dir/a/f",
			},
		},
		{
			"cancel",
			func(t *testing.T, d driver.Driver) error {
				w, err := d.Writer(t.Context(), "/dir/old", true)
				require.NoError(t, err)
				return w.Cancel(t.Context())
			},
			[]string{"open /dir/old", "unlink /dir/old", "syncdir /dir"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			act := func(noSync bool) []string {
				sys := newTraced(t)
				d := open(t, inheritable(t), filedriver.Options{Sys: sys, NoSync: noSync})
				require.NoError(t, d.PutContent(t.Context(), "/dir/old", []byte("old")))
				sys.reset()
				require.NoError(t, test.act(t, d))
				return sys.ordered()
			}
			require.Equal(t, test.want, act(false))
			// Without syncs all else is done, in the same order.
			unsynced := slices.DeleteFunc(slices.Clone(test.want), func(call string) bool {
				return strings.HasPrefix(call, "sync")
			})
			require.Equal(t, strings.Join(unsynced, "\n"), strings.Join(act(true), "\n"))
		})
	}
}
