package drivertest

import (
	"context"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

// RunFull tests a store that becomes full, for drivers that know how much room
// they have. newDriver returns an empty store of that capacity in bytes.
func RunFull(t *testing.T, newDriver func(t *testing.T, capacity int64) driver.Driver) {
	const capacity = 4 << 20
	s := &suite{t: t, newDriver: func(t *testing.T) driver.Driver { return newDriver(t, capacity) }}
	big := noise(1, capacity/2)

	s.test("Write", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/small")
		before := free(t, d)
		w := writer(t, d, "/dir/file", false)
		n, err := io.Copy(w, onlyReader{strings.NewReader(big + big + big)})
		requirePathError(t, err, syscall.ENOSPC)
		require.Equal(t, n, w.Size())
		require.LessOrEqual(t, n, int64(capacity))
		require.Greater(t, n, int64(capacity*3/4))
		requirePathError(t, w.Commit(t.Context()), syscall.ENOSPC)
		require.NoError(t, w.Cancel(t.Context()))
		requireMissing(t, d, "/dir/file")
		require.Equal(t, before, free(t, d))

		w = writer(t, d, "/dir/file", false)
		write(t, w, big)
		require.NoError(t, w.Commit(t.Context()), "what fits is taken again")
		requireContent(t, d, "/dir/file", big)
		requireContent(t, d, "/dir/small", "/dir/small")
	})

	s.test("Close", func(t *testing.T, d driver.Driver) {
		w := writer(t, d, "/dir/file", false)
		n, err := io.Copy(w, onlyReader{strings.NewReader(big + big + big)})
		requirePathError(t, err, syscall.ENOSPC)
		requirePathError(t, w.Close(), syscall.ENOSPC)
		require.NoError(t, d.Delete(t.Context(), "/dir/file"))
		w = writer(t, d, "/dir/file", true)
		require.Zero(t, w.Size())
		write(t, w, big[:n/2])
		require.NoError(t, w.Commit(t.Context()))
	})

	s.test("PutContent", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/small")
		require.NoError(t, d.PutContent(t.Context(), "/dir/file", []byte(big)))
		before := free(t, d)
		for _, path := range []string{"/dir/small", "/dir/file", "/dir/new"} {
			requirePathError(t, d.PutContent(t.Context(), path, []byte(big+"more")), syscall.ENOSPC)
		}
		requireList(t, d, "/dir", "small", "file")
		requireContent(t, d, "/dir/small", "/dir/small")
		requireContent(t, d, "/dir/file", big)
		require.Equal(t, before, free(t, d))
	})

	for name, act := range map[string]func(t *testing.T, d driver.Driver) error{
		"PutContent": func(t *testing.T, d driver.Driver) error {
			return d.PutContent(t.Context(), "/dir/file", []byte("x"))
		},
		"Writer": func(t *testing.T, d driver.Driver) error {
			return writer(t, d, "/dir/file", false).Commit(t.Context())
		},
		"Truncate": func(t *testing.T, d driver.Driver) error {
			w := writer(t, d, "/dir/file", true)
			random, ok := w.(driver.RandomWriter)
			if !ok {
				return w.Cancel(t.Context())
			}
			require.NoError(t, random.Truncate(1))
			return w.Commit(t.Context())
		},
		"Cancel": func(t *testing.T, d driver.Driver) error {
			return writer(t, d, "/dir/file", true).Cancel(t.Context())
		},
		"Move":   func(t *testing.T, d driver.Driver) error { return d.Move(t.Context(), "/dir/small", "/dir/file") },
		"Delete": func(t *testing.T, d driver.Driver) error { return d.Delete(t.Context(), "/dir/file") },
		"DeleteDir": func(t *testing.T, d driver.Driver) error {
			require.NoError(t, driver.MoveDir(t.Context(), d, "/dir", "/dir2/sub"))
			return d.Delete(t.Context(), "/dir2")
		},
	} {
		s.test("FreedBy"+name, func(t *testing.T, d driver.Driver) {
			require.NoError(t, d.PutContent(t.Context(), "/dir/file", []byte("x")))
			put(t, d, "/dir/small")
			before := free(t, d)
			require.NoError(t, d.PutContent(t.Context(), "/dir/file", []byte(big)))
			require.Less(t, free(t, d), before-capacity/4)
			require.NoError(t, act(t, d))
			require.GreaterOrEqual(t, free(t, d), before)
		})
	}

	s.test("OpenFile", func(t *testing.T, d driver.Driver) {
		before := free(t, d)
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte(big)))
		f := openAt(t, d, "/file")
		require.NoError(t, d.Delete(t.Context(), "/file"))
		got := make([]byte, len(big))
		if _, err := f.ReadAt(got, 0); err == nil {
			require.True(t, string(got) == big)
			require.Less(t, free(t, d), before, "what can be read is somewhere")
		}
		require.NoError(t, f.Close())
		require.Equal(t, before, free(t, d))
	})

	s.test("Sparse", func(t *testing.T, d driver.Driver) {
		before := free(t, d)
		w := writer(t, d, "/file", false)
		random, ok := w.(driver.RandomWriter)
		if !ok {
			return
		}
		_, err := random.WriteAt([]byte("x"), 1<<33)
		require.NoError(t, err)
		require.NoError(t, random.Truncate(1<<34))
		require.NoError(t, w.Commit(t.Context()))
		require.Equal(t, int64(1<<34), stat(t, d, "/file").Size)
		require.Less(t, before-free(t, d), int64(capacity/4), "holes take no room")
		require.NoError(t, d.Delete(t.Context(), "/file"))
		require.Equal(t, before, free(t, d))
	})
}

// onlyReader keeps io.Copy from writing everything at once.
type onlyReader struct{ io.Reader }

// free is the room in bytes that a store has left.
func free(t *testing.T, d driver.Driver) int64 {
	t.Helper()
	space, err := driver.SpaceOf(context.WithoutCancel(t.Context()), d)
	require.NoError(t, err)
	require.LessOrEqual(t, space.BytesFree, space.Bytes)
	return int64(space.BytesFree)
}
