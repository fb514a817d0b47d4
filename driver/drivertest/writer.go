package drivertest

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testWriter(s *suite) {
	for name, content := range map[string]string{
		"one byte":  "a",
		"utf-8":     "Größe",
		"not utf-8": strings.Repeat("\x80", 64),
		"32 bytes":  noise(1, 32),
		"1 MiB":     noise(2, 1<<20),
		"20 MB":     noise(3, 20_000_001),
	} {
		s.test("WriteRead/"+name, func(t *testing.T, d driver.Driver) {
			w := writer(t, d, "/a/b/file", false)
			require.Zero(t, w.Size())
			n, err := io.Copy(w, strings.NewReader(content))
			require.NoError(t, err)
			require.Equal(t, int64(len(content)), n)
			require.Equal(t, n, w.Size())
			require.NoError(t, w.Commit(t.Context()))
			require.Equal(t, n, w.Size())
			require.True(t, readFrom(t, d, "/a/b/file", 0) == content)
			require.Equal(t, n, stat(t, d, "/a/b/file").Size)
			requireList(t, d, "/a/b", "file")
		})
	}

	s.test("Empty", func(t *testing.T, d driver.Driver) {
		w := writer(t, d, "/a", false)
		require.NoError(t, w.Commit(t.Context()))
		requireContent(t, d, "/a", "")
		w = writer(t, d, "/b", true)
		require.NoError(t, w.Close())
		w = writer(t, d, "/b", true)
		require.Zero(t, w.Size())
		require.NoError(t, w.Commit(t.Context()))
		requireContent(t, d, "/b", "")
	})

	for name, size := range map[string]int{"Small": 32, "Large": 10 << 20} {
		s.test("Continue"+name, func(t *testing.T, d driver.Driver) {
			var want string
			for i := range 3 {
				part := noise(uint64(i), size)
				w := writer(t, d, "/a/file", i > 0)
				require.Equal(t, int64(len(want)), w.Size())
				write(t, w, part)
				want += part
				if i == 2 {
					require.NoError(t, w.Commit(t.Context()))
				} else {
					require.NoError(t, w.Close())
				}
				require.Equal(t, int64(len(want)), w.Size())
			}
			require.True(t, readFrom(t, d, "/a/file", 0) == want)
		})
	}

	s.test("AppendToEmptyStream", func(t *testing.T, d driver.Driver) {
		w := writer(t, d, "/file", false)
		require.NoError(t, w.Commit(t.Context()))
		w = writer(t, d, "/file", true)
		write(t, w, "abc")
		require.NoError(t, w.Commit(t.Context()))
		requireContent(t, d, "/file", "abc")
	})

	s.test("AppendToEmptyContent", func(t *testing.T, d driver.Driver) {
		require.NoError(t, d.PutContent(t.Context(), "/file", nil))
		w := writer(t, d, "/file", true)
		write(t, w, "abc")
		require.NoError(t, w.Commit(t.Context()))
		requireContent(t, d, "/file", "abc")
	})

	s.test("AppendToCommitted", func(t *testing.T, d driver.Driver) {
		put(t, d, "/file")
		w := writer(t, d, "/file", true)
		require.Equal(t, int64(len("/file")), w.Size())
		write(t, w, " and more")
		require.NoError(t, w.Commit(t.Context()))
		requireContent(t, d, "/file", "/file and more")
	})

	s.test("AppendBeginsMissing", func(t *testing.T, d driver.Driver) {
		w := writer(t, d, "/new/dir/file", true)
		require.Zero(t, w.Size())
		write(t, w, "abc")
		require.NoError(t, w.Commit(t.Context()))
		requireContent(t, d, "/new/dir/file", "abc")
	})

	s.test("WithoutAppendStartsEmpty", func(t *testing.T, d driver.Driver) {
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte(noise(1, 1<<20))))
		w := writer(t, d, "/file", false)
		require.Zero(t, w.Size())
		write(t, w, "new")
		require.NoError(t, w.Commit(t.Context()))
		requireContent(t, d, "/file", "new")
		w = writer(t, d, "/file", false)
		require.NoError(t, w.Close())
		require.Zero(t, writer(t, d, "/file", true).Size())
	})

	s.test("ManySmallWrites", func(t *testing.T, d driver.Driver) {
		content := noise(5, 200_000)
		w := writer(t, d, "/file", false)
		for rest := content; rest != ""; {
			n := min(len(rest), 777)
			write(t, w, rest[:n])
			rest = rest[n:]
		}
		write(t, w, "")
		require.NoError(t, w.Commit(t.Context()))
		requireContent(t, d, "/file", content)
	})

	s.test("CommitThenMove", func(t *testing.T, d driver.Driver) {
		w := writer(t, d, "/uploads/1/data", false)
		write(t, w, "blob")
		require.NoError(t, w.Commit(t.Context()))
		require.NoError(t, d.Move(t.Context(), "/uploads/1/data", "/blobs/1/data"))
		requireContent(t, d, "/blobs/1/data", "blob")
		require.NoError(t, d.Delete(t.Context(), "/uploads/1"))
		requireList(t, d, "/uploads")
	})
}
