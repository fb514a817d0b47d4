package drivertest

import (
	"fmt"
	"testing"

	"registryfs/driver"
)

func testList(s *suite) {
	s.test("Children", func(t *testing.T, d driver.Driver) {
		var names []string
		for i := range 50 {
			names = append(names, fmt.Sprintf("file%02d", i))
			put(t, d, "/top/dir/"+names[i])
		}
		requireList(t, d, "/", "top")
		requireList(t, d, "/top", "dir")
		requireList(t, d, "/top/dir", names...)
	})

	s.test("OnlyDirect", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a/b/c/d", "/a/x", "/ab/y", "/a-b/z", "/a.b")
		requireList(t, d, "/", "a", "ab", "a-b", "a.b")
		requireList(t, d, "/a", "b", "x")
		requireList(t, d, "/a/b", "c")
	})

	s.test("File", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		_, err := d.List(t.Context(), "/dir/file")
		requirePathError(t, err, driver.ErrInvalidPath)
	})

	s.test("Missing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		for _, dir := range []string{"/nothing", "/dir/nothing", "/di", "/dir/file2"} {
			_, err := d.List(t.Context(), dir)
			requirePathError(t, err, driver.ErrNotExist)
		}
	})
}
