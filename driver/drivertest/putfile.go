package drivertest

import (
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

// testPutFile is about what is known of a write. A driver may know nothing.
func testPutFile(s *suite) {
	s.test("Content", func(t *testing.T, d driver.Driver) {
		for _, content := range []string{"", "0123456789", noise(5, 100_000), "x"} {
			_, err := driver.PutFile(t.Context(), d, "/dir/file", []byte(content))
			require.NoError(t, err)
			requireContent(t, d, "/dir/file", content)
		}
	})

	s.test("Versions", func(t *testing.T, d driver.Driver) {
		first, err := driver.PutFile(t.Context(), d, "/dir/file", []byte("content"))
		require.NoError(t, err)
		isKnown := first != driver.Written{}
		if isKnown {
			require.Equal(t, driver.Written{Version: stat(t, d, "/dir/file").Version, IsNew: true}, first)
		}
		second, err := driver.PutFile(t.Context(), d, "/dir/file", []byte("content"))
		require.NoError(t, err)
		if !isKnown {
			require.Zero(t, second, "what is known of one is known of all")
			return
		}
		require.Equal(t, driver.Written{Version: stat(t, d, "/dir/file").Version, Replaced: first.Version}, second)
		require.NotEqual(t, first.Version, second.Version, "though the content is the same")

		require.NoError(t, d.PutContent(t.Context(), "/dir/file", []byte("content")))
		require.NotEqual(t, second.Version, stat(t, d, "/dir/file").Version)
		require.NoError(t, d.Delete(t.Context(), "/dir/file"))
		again, err := driver.PutFile(t.Context(), d, "/dir/file", []byte("content"))
		require.NoError(t, err)
		require.True(t, again.IsNew)
	})

	s.test("Directory", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		_, err := driver.PutFile(t.Context(), d, "/dir", []byte("content"))
		requirePathError(t, err, driver.ErrInvalidPath)
		requireContent(t, d, "/dir/file", "/dir/file")
	})

	s.test("TooLarge", func(t *testing.T, d driver.Driver) {
		_, err := driver.PutFile(t.Context(), d, "/file", make([]byte, driver.MaxContent+1))
		requirePathError(t, err, driver.ErrTooLarge)
	})

	s.test("OneIsNew", func(t *testing.T, d driver.Driver) {
		for n := range 20 {
			var all sync.WaitGroup
			written := make([]driver.Written, 8)
			for i := range written {
				all.Go(func() {
					var err error
					written[i], err = driver.PutFile(t.Context(), d, "/dir/"+strconv.Itoa(n), []byte("content"))
					assert.NoError(t, err)
				})
			}
			all.Wait()
			news, versions := 0, map[string]bool{}
			for _, w := range written {
				if w.IsNew {
					news++
				}
				if w.Version != "" {
					versions[w.Version] = true
				}
			}
			if written[0] != (driver.Written{}) {
				require.Equal(t, 1, news)
				require.Contains(t, versions, stat(t, d, "/dir/"+strconv.Itoa(n)).Version)
			}
		}
	})
}
