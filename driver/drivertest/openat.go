package drivertest

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testOpenAt(s *suite) {
	s.test("ReadAt", func(t *testing.T, d driver.Driver) {
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte("0123456789")))
		requireReadAt(t, openAt(t, d, "/file"), "0123456789")
	})

	s.test("Empty", func(t *testing.T, d driver.Driver) {
		require.NoError(t, d.PutContent(t.Context(), "/file", nil))
		requireReadAt(t, openAt(t, d, "/file"), "")
	})

	s.test("Stat", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		info, err := openAt(t, d, "/dir/file").Stat()
		require.NoError(t, err)
		require.Equal(t, stat(t, d, "/dir/file"), info)
	})

	s.test("Closed", func(t *testing.T, d driver.Driver) {
		put(t, d, "/file")
		f := openAt(t, d, "/file")
		require.NoError(t, f.Close())
		_, err := f.ReadAt(make([]byte, 1), 0)
		requirePathError(t, err, driver.ErrClosed)
		_, err = f.Stat()
		requirePathError(t, err, driver.ErrClosed)
		requirePathError(t, f.Close(), driver.ErrClosed)
	})

	s.test("Concurrent", func(t *testing.T, d driver.Driver) {
		content := noise(2, 1<<20)
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte(content)))
		f := openAt(t, d, "/file")
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				p := make([]byte, 10_000)
				for offset := i; offset+len(p) <= len(content); offset += 50_000 {
					_, err := f.ReadAt(p, int64(offset))
					assert.NoError(t, err)
					assert.True(t, string(p) == content[offset:offset+len(p)])
				}
			})
		}
		wg.Wait()
	})
}

// openAt opens a file, which the end of the test closes if need be.
func openAt(t *testing.T, d driver.Driver, path string) driver.File {
	t.Helper()
	f, err := driver.OpenAt(t.Context(), d, path)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}
