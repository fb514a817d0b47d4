package drivertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testRemoveDir(s *suite) {
	s.test("Empty", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a/file")
		require.NoError(t, driver.MakeDir(t.Context(), d, "/a/b/c"))
		if _, err := d.Stat(t.Context(), "/a/b/c"); err != nil {
			return // this store keeps no empty directories
		}
		requirePathError(t, driver.RemoveDir(t.Context(), d, "/a/b"), driver.ErrExist)
		require.NoError(t, driver.RemoveDir(t.Context(), d, "/a/b/c"))
		requireMissing(t, d, "/a/b/c")
		require.NoError(t, driver.RemoveDir(t.Context(), d, "/a/b"))
		requireList(t, d, "/a", "file")
	})

	s.test("NotEmpty", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a/b/file")
		for _, dir := range []string{"/a", "/a/b"} {
			requirePathError(t, driver.RemoveDir(t.Context(), d, dir), driver.ErrExist)
		}
		requireContent(t, d, "/a/b/file", "/a/b/file")
	})

	s.test("File", func(t *testing.T, d driver.Driver) {
		put(t, d, "/file")
		requirePathError(t, driver.RemoveDir(t.Context(), d, "/file"), driver.ErrInvalidPath)
		requireContent(t, d, "/file", "/file")
	})

	s.test("Missing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		for _, dir := range []string{"/nothing", "/dir/nothing", "/no/dir"} {
			requirePathError(t, driver.RemoveDir(t.Context(), d, dir), driver.ErrNotExist)
		}
	})
}
