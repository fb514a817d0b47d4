package drivertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testMoveDir(s *suite) {
	s.test("ToNewParents", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src/1", "/src/sub/2", "/src2/3", "/top")
		require.NoError(t, driver.MoveDir(t.Context(), d, "/src", "/new/parents/dst"))
		requireContent(t, d, "/new/parents/dst/1", "/src/1")
		requireContent(t, d, "/new/parents/dst/sub/2", "/src/sub/2")
		requireMissing(t, d, "/src")
		requireContent(t, d, "/src2/3", "/src2/3")
		requireList(t, d, "/", "new", "src2", "top")
	})

	s.test("Existing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src/1", "/dir/2", "/file")
		for _, dst := range []string{"/dir", "/file", "/src"} {
			requirePathError(t, driver.MoveDir(t.Context(), d, "/src", dst), driver.ErrExist)
		}
		requireContent(t, d, "/src/1", "/src/1")
		requireList(t, d, "/dir", "2")
		requireContent(t, d, "/file", "/file")
	})

	s.test("ExistingEmpty", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src/1", "/dst/2")
		require.NoError(t, d.Delete(t.Context(), "/dst/2"))
		if _, err := d.Stat(t.Context(), "/dst"); err != nil {
			require.NoError(t, driver.MoveDir(t.Context(), d, "/src", "/dst"))
			return // this store keeps no empty directories
		}
		requirePathError(t, driver.MoveDir(t.Context(), d, "/src", "/dst"), driver.ErrExist)
		requireContent(t, d, "/src/1", "/src/1")
	})

	s.test("Missing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/source/1")
		requirePathError(t, driver.MoveDir(t.Context(), d, "/src", "/new/dst"), driver.ErrNotExist)
		requirePathError(t, driver.MoveDir(t.Context(), d, "/source/dir", "/new/dst"), driver.ErrNotExist)
		requireList(t, d, "/", "source")
	})

	s.test("File", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src", "/file")
		requirePathError(t, driver.MoveDir(t.Context(), d, "/src", "/dst"), driver.ErrInvalidPath)
		requireContent(t, d, "/src", "/src")
		requireList(t, d, "/", "src", "file")
	})

	s.test("IntoItself", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src/1")
		requirePathError(t, driver.MoveDir(t.Context(), d, "/src", "/src/sub/dst"), driver.ErrInvalidPath)
		requireList(t, d, "/src", "1")
	})

	s.test("BesideWithPrefix", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src/1", "/src/src/2")
		require.NoError(t, driver.MoveDir(t.Context(), d, "/src", "/src2"))
		requireContent(t, d, "/src2/src/2", "/src/src/2")
		requireList(t, d, "/", "src2")
	})

	s.test("BelowFile", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src/1", "/file")
		requirePathError(t, driver.MoveDir(t.Context(), d, "/src", "/file/dst"), driver.ErrInvalidPath)
		requireContent(t, d, "/src/1", "/src/1")
	})
}

func testMakeDir(s *suite) {
	s.test("Make", func(t *testing.T, d driver.Driver) {
		require.NoError(t, driver.MakeDir(t.Context(), d, "/a/b/c"))
		require.NoError(t, driver.MakeDir(t.Context(), d, "/a/b/c"))
		require.NoError(t, driver.MakeDir(t.Context(), d, "/a/b"))
		if _, err := d.Stat(t.Context(), "/a"); err == nil { // else the store keeps none
			require.True(t, stat(t, d, "/a/b/c").IsDir)
			requireList(t, d, "/a/b/c")
			requireList(t, d, "/a", "b")
		}
		put(t, d, "/a/b/c/file")
		require.NoError(t, driver.MakeDir(t.Context(), d, "/a/b/c"))
		requireContent(t, d, "/a/b/c/file", "/a/b/c/file")
	})

	s.test("OverFile", func(t *testing.T, d driver.Driver) {
		put(t, d, "/file")
		if err := driver.MakeDir(t.Context(), d, "/file"); err != nil {
			requirePathError(t, err, driver.ErrInvalidPath)
			requirePathError(t, driver.MakeDir(t.Context(), d, "/file/sub"), driver.ErrInvalidPath)
		}
		requireContent(t, d, "/file", "/file")
	})
}
