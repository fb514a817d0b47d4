package drivertest

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testLock(s *suite) {
	s.test("Holders", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a/file", "/b/file")
		lock := func(path string, shared bool) (io.Closer, error) { return driver.Lock(t.Context(), d, path, shared) }
		first, err := lock("/a", true)
		if errors.Is(err, errors.ErrUnsupported) {
			return
		}
		require.NoError(t, err)
		second, err := lock("/a", true)
		require.NoError(t, err)
		_, err = lock("/a", false)
		requirePathError(t, err, driver.ErrBusy)
		elsewhere, err := lock("/b", false)
		require.NoError(t, err)
		require.NoError(t, elsewhere.Close())

		require.NoError(t, first.Close())
		_, err = lock("/a", false)
		requirePathError(t, err, driver.ErrBusy)
		require.NoError(t, second.Close())
		alone, err := lock("/a", false)
		require.NoError(t, err)
		for _, shared := range []bool{true, false} {
			_, err = lock("/a", shared)
			requirePathError(t, err, driver.ErrBusy)
		}
		requireContent(t, d, "/a/file", "/a/file")
		put(t, d, "/a/other")
		require.NoError(t, d.Delete(t.Context(), "/a/other"))
		require.NoError(t, alone.Close())
		again, err := lock("/a", true)
		require.NoError(t, err)
		require.NoError(t, again.Close())
	})
	s.test("NoDirectory", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a/file")
		held, err := driver.Lock(t.Context(), d, "/a", true)
		if errors.Is(err, errors.ErrUnsupported) {
			return
		}
		require.NoError(t, err)
		require.NoError(t, held.Close())
		_, err = driver.Lock(t.Context(), d, "/missing", true)
		requirePathError(t, err, driver.ErrNotExist)
		_, err = driver.Lock(t.Context(), d, "/a/file", true)
		requirePathError(t, err, driver.ErrInvalidPath)
	})
}
