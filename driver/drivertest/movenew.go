package drivertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testMoveNew(s *suite) {
	s.test("ToNewDirectories", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a/file", "/a/other")
		require.NoError(t, driver.MoveNew(t.Context(), d, "/a/file", "/b/c/moved"))
		requireContent(t, d, "/b/c/moved", "/a/file")
		requireMissing(t, d, "/a/file")
		requireContent(t, d, "/a/other", "/a/other")
	})

	s.test("Existing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src", "/dir/file")
		for _, dst := range []string{"/dir/file", "/dir", "/src"} {
			requirePathError(t, driver.MoveNew(t.Context(), d, "/src", dst), driver.ErrExist)
		}
		requireContent(t, d, "/src", "/src")
		requireContent(t, d, "/dir/file", "/dir/file")
		requireList(t, d, "/dir", "file")
	})

	s.test("Missing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dst")
		requirePathError(t, driver.MoveNew(t.Context(), d, "/src", "/dst"), driver.ErrNotExist)
		requirePathError(t, driver.MoveNew(t.Context(), d, "/src", "/new/dst"), driver.ErrNotExist)
		requireContent(t, d, "/dst", "/dst")
		requireList(t, d, "/", "dst")
	})

	s.test("Directory", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		requirePathError(t, driver.MoveNew(t.Context(), d, "/dir", "/else"), driver.ErrInvalidPath)
		requireContent(t, d, "/dir/file", "/dir/file")
	})

	s.test("BelowFile", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src", "/file")
		requirePathError(t, driver.MoveNew(t.Context(), d, "/src", "/file/dst"), driver.ErrInvalidPath)
		requireContent(t, d, "/src", "/src")
	})
}

func testSync(s *suite) {
	s.test("File", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		require.NoError(t, driver.Sync(t.Context(), d, "/dir/file"))
		requireContent(t, d, "/dir/file", "/dir/file")
	})
}
