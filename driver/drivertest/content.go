package drivertest

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testContent(s *suite) {
	for name, content := range map[string]string{
		"empty":     "",
		"one byte":  "a",
		"utf-8":     "Größe: 5 µm, 日本語",
		"not utf-8": strings.Repeat("\x80", 64),
		"nulls":     "\x00a\x00",
		"32 bytes":  noise(1, 32),
		"1 MiB":     noise(2, 1<<20),
		"5 MB":      noise(3, 5_000_001),
	} {
		s.test("PutGet/"+name, func(t *testing.T, d driver.Driver) {
			const path = "/some/where/file"
			require.NoError(t, d.PutContent(t.Context(), path, []byte(content)))
			requireContent(t, d, path, content)
			require.True(t, readFrom(t, d, path, 0) == content)
			require.Equal(t, int64(len(content)), stat(t, d, path).Size)
		})
	}

	s.test("Replace", func(t *testing.T, d driver.Driver) {
		for _, content := range []string{"first", "a longer second", "", "x", noise(4, 1<<20), "short again"} {
			require.NoError(t, d.PutContent(t.Context(), "/a/file", []byte(content)))
			requireContent(t, d, "/a/file", content)
			require.Equal(t, int64(len(content)), stat(t, d, "/a/file").Size)
		}
		requireList(t, d, "/a", "file")
	})

	s.test("Missing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a/file")
		requireMissing(t, d, "/b")
		requireMissing(t, d, "/a/b")
		requireMissing(t, d, "/a/fil")
		requireMissing(t, d, "/a/file2")
		requireMissing(t, d, "/b/c/d")
	})

	s.test("SliceIsNotKept", func(t *testing.T, d driver.Driver) {
		content := []byte("content")
		require.NoError(t, d.PutContent(t.Context(), "/a", content))
		content[0] = 'X'
		got, err := d.GetContent(t.Context(), "/a")
		require.NoError(t, err)
		require.Equal(t, "content", string(got))
		got[0] = 'Y'
		requireContent(t, d, "/a", "content")
	})

	s.test("TooLarge", func(t *testing.T, d driver.Driver) {
		put(t, d, "/a")
		large := make([]byte, driver.MaxContent+1)
		requirePathError(t, d.PutContent(t.Context(), "/a", large), driver.ErrTooLarge)
		requireContent(t, d, "/a", "/a")
		w := writer(t, d, "/a", false)
		write(t, w, string(large))
		require.NoError(t, w.Commit(t.Context()))
		_, err := d.GetContent(t.Context(), "/a")
		requirePathError(t, err, driver.ErrTooLarge)
		require.NoError(t, d.PutContent(t.Context(), "/a", large[1:]))
		requireContent(t, d, "/a", string(large[1:]))
	})

	s.test("DirectoryInPlaceOfFile", func(t *testing.T, d driver.Driver) {
		ctx := t.Context()
		put(t, d, "/dir/file")
		_, err := d.GetContent(ctx, "/dir")
		requirePathError(t, err, driver.ErrInvalidPath)
		_, err = d.Reader(ctx, "/dir", 0)
		requirePathError(t, err, driver.ErrInvalidPath)
		_, err = driver.OpenAt(ctx, d, "/dir")
		requirePathError(t, err, driver.ErrInvalidPath)
		for _, append := range []bool{false, true} {
			_, err = d.Writer(ctx, "/dir", append)
			requirePathError(t, err, driver.ErrInvalidPath)
		}
		requirePathError(t, d.PutContent(ctx, "/dir", []byte("x")), driver.ErrInvalidPath)
		requireList(t, d, "/", "dir")
		requireContent(t, d, "/dir/file", "/dir/file")
	})

	s.test("FileInPlaceOfDirectory", func(t *testing.T, d driver.Driver) {
		ctx := t.Context()
		put(t, d, "/file", "/other")
		for _, path := range []string{"/file/x", "/file/x/y"} {
			requirePathError(t, d.PutContent(ctx, path, nil), driver.ErrInvalidPath)
			_, err := d.Writer(ctx, path, false)
			requirePathError(t, err, driver.ErrInvalidPath)
			requirePathError(t, d.Move(ctx, "/other", path), driver.ErrInvalidPath)
			for _, err := range []error{
				func() error { _, err := d.GetContent(ctx, path); return err }(),
				func() error { _, err := d.Stat(ctx, path); return err }(),
				func() error { _, err := d.List(ctx, path); return err }(),
				d.Delete(ctx, path),
			} {
				none := errors.Is(err, driver.ErrInvalidPath) || errors.Is(err, driver.ErrNotExist)
				require.True(t, none, "%v", err)
			}
		}
		requireContent(t, d, "/file", "/file")
		requireContent(t, d, "/other", "/other")
	})
}
