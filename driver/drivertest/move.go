package drivertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testMove(s *suite) {
	s.test("ToNewDirectories", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a/file", "/a/other")
		require.NoError(t, d.Move(t.Context(), "/a/file", "/b/c/d/moved"))
		requireContent(t, d, "/b/c/d/moved", "/a/file")
		requireMissing(t, d, "/a/file")
		requireContent(t, d, "/a/other", "/a/other")
	})

	s.test("Overwrite", func(t *testing.T, d driver.Driver) {
		require.NoError(t, d.PutContent(t.Context(), "/dst", []byte(noise(1, 100_000))))
		put(t, d, "/src")
		require.NoError(t, d.Move(t.Context(), "/src", "/dst"))
		requireContent(t, d, "/dst", "/src")
		requireMissing(t, d, "/src")
	})

	s.test("Missing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dst", "/dir/file")
		requirePathError(t, d.Move(t.Context(), "/src", "/dst"), driver.ErrNotExist)
		requireContent(t, d, "/dst", "/dst")
		requirePathError(t, d.Move(t.Context(), "/no/src", "/new/dir/dst"), driver.ErrNotExist)
		requirePathError(t, d.Move(t.Context(), "/dir/fil", "/new/dst"), driver.ErrNotExist)
		requireList(t, d, "/", "dst", "dir")
	})

	s.test("OntoItself", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		require.NoError(t, d.Move(t.Context(), "/dir/file", "/dir/file"))
		requireContent(t, d, "/dir/file", "/dir/file")
	})

	s.test("DirectoryAsSource", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		requirePathError(t, d.Move(t.Context(), "/dir", "/else"), driver.ErrInvalidPath)
		requireContent(t, d, "/dir/file", "/dir/file")
		requireList(t, d, "/", "dir")
	})

	s.test("DirectoryAsDestination", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file", "/src")
		requirePathError(t, d.Move(t.Context(), "/src", "/dir"), driver.ErrInvalidPath)
		requireContent(t, d, "/dir/file", "/dir/file")
		requireContent(t, d, "/src", "/src")
	})

	s.test("BelowItself", func(t *testing.T, d driver.Driver) {
		put(t, d, "/file")
		requirePathError(t, d.Move(t.Context(), "/file", "/file/x"), driver.ErrInvalidPath)
		requireContent(t, d, "/file", "/file")
	})

	s.test("PrefixNamedSiblings", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a/file", "/a/file2", "/a/fil")
		require.NoError(t, d.Move(t.Context(), "/a/file", "/b/file2"))
		requireList(t, d, "/a", "file2", "fil")
		requireContent(t, d, "/a/file2", "/a/file2")
	})
}
