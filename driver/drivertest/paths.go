package drivertest

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testPaths(s *suite) {
	s.test("Root", func(t *testing.T, d driver.Driver) {
		require.NotEmpty(t, d.Name())
		requireList(t, d, "/")
		require.True(t, stat(t, d, "/").IsDir)
		require.NoError(t, driver.Walk(t.Context(), d, "/", func(info driver.FileInfo) error {
			return &driver.PathError{Path: info.Path, Err: driver.ErrExist}
		}))
	})

	for _, path := range []string{
		"/a", "/2", "/aa", "/a.a", "/0-9/abcdefg", "/abcdefg/z.75", "/abc/1.2.3.4.5-6_zyx/123.z/4",
		"/docker/docker-registry", "/123.abc", "/abc./abc", "/.abc", "/a--b", "/a-.b", "/_.abc",
		"/Docker/docker-registry", "/Abc/Cba", "/-", "/_", "/...", "/a/...", "/..a/b..",
		"/" + strings.Repeat("n", driver.MaxName),
		strings.Repeat("/"+strings.Repeat("d", 95), driver.MaxPath/96),
	} {
		s.test("Valid"+shorten(path), func(t *testing.T, d driver.Driver) {
			put(t, d, path)
			requireContent(t, d, path, path)
			require.Equal(t, int64(len(path)), stat(t, d, path).Size)
		})
	}

	for name, path := range map[string]string{
		"empty":            "",
		"relative":         "abc",
		"relative deep":    "abc/abc",
		"trailing slash":   "/abc/",
		"double slash":     "//bcd",
		"slash within":     "/abc//abc",
		"dot":              "/.",
		"dot within":       "/a/./b",
		"dot-dot":          "/..",
		"dot-dot within":   "/a/../b",
		"dot-dot out":      "/../x",
		"at sign":          "/abc@",
		"space":            "/a b",
		"underscore space": "/abc_123 /x",
		"colon":            "/sha256:abc",
		"plus":             "/lost+found",
		"backslash":        `/a\b`,
		"newline":          "/a\n",
		"null":             "/a\x00b",
		"utf-8":            "/é",
		"not utf-8":        "/\x80",
		"long name":        "/" + strings.Repeat("n", driver.MaxName+1),
		"long path":        strings.Repeat("/"+strings.Repeat("d", 95), driver.MaxPath/96) + "/x",
	} {
		s.test("Invalid/"+name, func(t *testing.T, d driver.Driver) { requireInvalid(t, d, path) })
	}

	s.test("RootIsNoFile", func(t *testing.T, d driver.Driver) {
		ctx := t.Context()
		put(t, d, "/a")
		requirePathError(t, d.PutContent(ctx, "/", nil), driver.ErrInvalidPath)
		requirePathError(t, d.Move(ctx, "/", "/b"), driver.ErrInvalidPath)
		requirePathError(t, d.Move(ctx, "/a", "/"), driver.ErrInvalidPath)
		requirePathError(t, d.Delete(ctx, "/"), driver.ErrInvalidPath)
		requireContent(t, d, "/a", "/a")
	})

	s.test("NameRepeated", func(t *testing.T, d driver.Driver) {
		put(t, d, "/foo/foo/foo", "/foo/bar")
		requireMissing(t, d, "/foo/foo/foo2")
		requireContent(t, d, "/foo/foo/foo", "/foo/foo/foo")
		requireList(t, d, "/", "foo")
		requireList(t, d, "/foo", "foo", "bar")
		requireList(t, d, "/foo/foo", "foo")
		requireMissing(t, d, "/bar")
		require.NoError(t, d.Move(t.Context(), "/foo/foo/foo", "/bar/bar/bar"))
		requireMissing(t, d, "/foo/foo/foo")
		requireContent(t, d, "/bar/bar/bar", "/foo/foo/foo")
	})
}

// requireInvalid checks that no method takes path.
func requireInvalid(t *testing.T, d driver.Driver, path string) {
	t.Helper()
	ctx := t.Context()
	put(t, d, "/good")
	for op, call := range map[string]func() error{
		"get":     func() error { _, err := d.GetContent(ctx, path); return err },
		"put":     func() error { return d.PutContent(ctx, path, []byte("x")) },
		"putfile": func() error { _, err := driver.PutFile(ctx, d, path, []byte("x")); return err },
		"reader":  func() error { _, err := d.Reader(ctx, path, 0); return err },
		"writer":  func() error { _, err := d.Writer(ctx, path, false); return err },
		"append":  func() error { _, err := d.Writer(ctx, path, true); return err },
		"stat":    func() error { _, err := d.Stat(ctx, path); return err },
		"list":    func() error { _, err := d.List(ctx, path); return err },
		"move":    func() error { return d.Move(ctx, path, "/x") },
		"moveto":  func() error { return d.Move(ctx, "/good", path) },
		"delete":  func() error { return d.Delete(ctx, path) },
		"openat":  func() error { _, err := driver.OpenAt(ctx, d, path); return err },
		"getfile": func() error { _, _, err := driver.GetFile(ctx, d, path, 1); return err },
		"movedir": func() error { return driver.MoveDir(ctx, d, path, "/x") },
		"makedir": func() error { return driver.MakeDir(ctx, d, path) },
		"rmdir":   func() error { return driver.RemoveDir(ctx, d, path) },
		"walk":    func() error { return driver.Walk(ctx, d, path, nil) },
	} {
		err := call()
		require.ErrorIs(t, err, driver.ErrInvalidPath, op)
		var pathErr *driver.PathError
		require.ErrorAs(t, err, &pathErr, op)
		require.Equal(t, path, pathErr.Path, op)
	}
	requireList(t, d, "/", "good")
}

// testContext checks that nothing is begun under a context that has ended.
func testContext(s *suite) {
	s.test("Ended", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := d.GetContent(ctx, "/a")
		require.ErrorIs(t, err, context.Canceled)
		_, err = d.Writer(ctx, "/b", false)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, d.PutContent(ctx, "/a", nil), context.Canceled)
		require.ErrorIs(t, d.Move(ctx, "/a", "/b"), context.Canceled)
		require.ErrorIs(t, d.Delete(ctx, "/a"), context.Canceled)
		requireContent(t, d, "/a", "/a")
		requireList(t, d, "/", "a")
	})
	s.test("CommitEndedThenCancel", func(t *testing.T, d driver.Driver) {
		w := writer(t, d, "/a", false)
		write(t, w, "abc")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, w.Commit(ctx), context.Canceled)
		require.NoError(t, w.Cancel(ctx))
		requireMissing(t, d, "/a")
	})
}

// shorten makes a path fit for the name of a test.
func shorten(path string) string {
	const most = 40
	if len(path) > most {
		return path[:most] + "…"
	}
	return path
}
