package drivertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testWriterEnd(s *suite) {
	for name, end := range map[string]func(t *testing.T, w driver.Writer) error{
		"Close":  func(_ *testing.T, w driver.Writer) error { return w.Close() },
		"Commit": func(t *testing.T, w driver.Writer) error { return w.Commit(t.Context()) },
		"Cancel": func(t *testing.T, w driver.Writer) error { return w.Cancel(t.Context()) },
	} {
		s.test("After"+name, func(t *testing.T, d driver.Driver) {
			w := writer(t, d, "/file", false)
			write(t, w, "abc")
			require.NoError(t, end(t, w))
			_, err := w.Write([]byte("x"))
			requirePathError(t, err, driver.ErrClosed)
			requirePathError(t, w.Close(), driver.ErrClosed)
			requirePathError(t, w.Commit(t.Context()), driver.ErrClosed)
			requirePathError(t, w.Cancel(t.Context()), driver.ErrClosed)
			if random, ok := w.(driver.RandomWriter); ok {
				_, err = random.WriteAt([]byte("x"), 0)
				requirePathError(t, err, driver.ErrClosed)
				_, err = random.ReadAt(make([]byte, 1), 0)
				requirePathError(t, err, driver.ErrClosed)
				requirePathError(t, random.Truncate(0), driver.ErrClosed)
				requirePathError(t, random.Sync(), driver.ErrClosed)
			}
			require.Equal(t, int64(3), w.Size())
			if name == "Cancel" {
				requireMissing(t, d, "/file")
				return
			}
			w = writer(t, d, "/file", true)
			write(t, w, "d")
			require.NoError(t, w.Commit(t.Context()))
			requireContent(t, d, "/file", "abcd")
		})
	}

	s.test("CancelOfResumed", func(t *testing.T, d driver.Driver) {
		w := writer(t, d, "/dir/file", false)
		write(t, w, "abc")
		require.NoError(t, w.Close())
		require.NoError(t, writer(t, d, "/dir/file", true).Cancel(t.Context()))
		requireMissing(t, d, "/dir/file")
		w = writer(t, d, "/dir/file", true)
		require.Zero(t, w.Size())
		require.NoError(t, w.Commit(t.Context()))
	})

	s.test("Busy", func(t *testing.T, d driver.Driver) {
		first := writer(t, d, "/file", false)
		write(t, first, "abc")
		for _, append := range []bool{false, true} {
			_, err := d.Writer(t.Context(), "/file", append)
			requirePathError(t, err, driver.ErrBusy)
		}
		write(t, first, "def")
		require.NoError(t, first.Commit(t.Context()))
		requireContent(t, d, "/file", "abcdef")
		require.NoError(t, writer(t, d, "/file", true).Close())
		require.NoError(t, writer(t, d, "/file", true).Cancel(t.Context()))
		require.NoError(t, writer(t, d, "/file", false).Commit(t.Context()))
	})

	s.test("HeldOnceCommitted", func(t *testing.T, d driver.Driver) {
		w := writer(t, d, "/file", false)
		write(t, w, "abc")
		release, err := driver.CommitHeld(t.Context(), w)
		require.NoError(t, err)
		requireContent(t, d, "/file", "abc")
		requirePathError(t, w.Close(), driver.ErrClosed)
		require.NoError(t, d.Move(t.Context(), "/file", "/moved"))
		if other, err := d.Writer(t.Context(), "/moved", true); err != nil {
			requirePathError(t, err, driver.ErrBusy)
		} else {
			require.NoError(t, other.Close()) // the driver has no way to hold it
		}
		require.NoError(t, release())
		require.NoError(t, writer(t, d, "/moved", true).Close())
	})

	s.test("OtherPathsAreNotBusy", func(t *testing.T, d driver.Driver) {
		a, b := writer(t, d, "/dir/file", false), writer(t, d, "/dir/file2", false)
		write(t, a, "a")
		write(t, b, "b")
		require.NoError(t, a.Commit(t.Context()))
		require.NoError(t, b.Commit(t.Context()))
		requireContent(t, d, "/dir/file", "a")
		requireContent(t, d, "/dir/file2", "b")
	})

	for name, take := range map[string]func(t *testing.T, d driver.Driver) error{
		"Deleted": func(t *testing.T, d driver.Driver) error { return d.Delete(t.Context(), "/dir") },
		"Moved":   func(t *testing.T, d driver.Driver) error { return d.Move(t.Context(), "/dir/file", "/else") },
	} {
		s.test("CommitOf"+name, func(t *testing.T, d driver.Driver) {
			w := writer(t, d, "/dir/file", false)
			write(t, w, "abc")
			require.NoError(t, take(t, d))
			requirePathError(t, w.Commit(t.Context()), driver.ErrNotExist)
			require.NoError(t, w.Cancel(t.Context()))
			requireMissing(t, d, "/dir/file")
		})
	}

	s.test("CancelSparesAnother", func(t *testing.T, d driver.Driver) {
		w := writer(t, d, "/file", false)
		write(t, w, "abc")
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte("other")))
		require.NoError(t, w.Cancel(t.Context()))
		requireContent(t, d, "/file", "other")
	})
}
