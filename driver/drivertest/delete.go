package drivertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testDelete(s *suite) {
	s.test("File", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file", "/dir/other")
		require.NoError(t, d.Delete(t.Context(), "/dir/file"))
		requireMissing(t, d, "/dir/file")
		requireList(t, d, "/dir", "other")
	})

	s.test("Missing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		requirePathError(t, d.Delete(t.Context(), "/other"), driver.ErrNotExist)
		requirePathError(t, d.Delete(t.Context(), "/dir/other"), driver.ErrNotExist)
		requirePathError(t, d.Delete(t.Context(), "/no/dir/file"), driver.ErrNotExist)
		requireList(t, d, "/dir", "file")
	})

	s.test("Directory", func(t *testing.T, d driver.Driver) {
		put(t, d, "/top/dir/1", "/top/dir/2", "/top/dir/sub/deep/3", "/top/file")
		require.NoError(t, d.Delete(t.Context(), "/top/dir"))
		for _, path := range []string{"/top/dir", "/top/dir/1", "/top/dir/sub", "/top/dir/sub/deep/3"} {
			requireMissing(t, d, path)
		}
		requireContent(t, d, "/top/file", "/top/file")
	})

	s.test("OnlySubpaths", func(t *testing.T, d driver.Driver) {
		put(t, d, "/x/a/1", "/x/ab/2", "/x/a-b/3", "/x/a.b", "/x/b/a/4", "/a/5")
		require.NoError(t, d.Delete(t.Context(), "/x/a"))
		requireMissing(t, d, "/x/a")
		requireList(t, d, "/x", "ab", "a-b", "a.b", "b")
		for _, path := range []string{"/x/ab/2", "/x/a-b/3", "/x/a.b", "/x/b/a/4", "/a/5"} {
			requireContent(t, d, path, path)
		}
		require.NoError(t, d.Delete(t.Context(), "/x/a.b"))
		requireContent(t, d, "/x/ab/2", "/x/ab/2")
	})

	s.test("MadeAgain", func(t *testing.T, d driver.Driver) {
		for range 3 {
			put(t, d, "/a/b/file")
			require.NoError(t, d.Delete(t.Context(), "/a"))
			requireMissing(t, d, "/a/b/file")
		}
		put(t, d, "/a")
		requireContent(t, d, "/a", "/a")
	})
}
