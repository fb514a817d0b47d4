package drivertest

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

// RunOpenFiles tests that a file open for reading stays what it was when its
// path is replaced, moved or deleted, for drivers that can do that.
func RunOpenFiles(t *testing.T, newDriver func(t *testing.T) driver.Driver) {
	s := &suite{t: t, newDriver: newDriver}

	s.test("File", func(t *testing.T, d driver.Driver) {
		content := noise(1, 1<<20)
		for name, change := range map[string]func() error{
			"replace": func() error { return d.PutContent(t.Context(), "/file", []byte("new")) },
			"delete":  func() error { return d.Delete(t.Context(), "/file") },
			"move":    func() error { return d.Move(t.Context(), "/file", "/moved") },
			"cover": func() error {
				put(t, d, "/other")
				return d.Move(t.Context(), "/other", "/file")
			},
		} {
			require.NoError(t, d.PutContent(t.Context(), "/file", []byte(content)), name)
			f := openAt(t, d, "/file")
			require.NoError(t, change(), name)
			got := make([]byte, len(content))
			n, err := f.ReadAt(got, 0)
			require.NoError(t, err, name)
			require.True(t, string(got[:n]) == content, name)
			info, err := f.Stat()
			require.NoError(t, err, name)
			require.Equal(t, int64(len(content)), info.Size, name)
		}
	})

	s.test("Reader", func(t *testing.T, d driver.Driver) {
		content := noise(3, 1<<20)
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte(content)))
		r, err := d.Reader(t.Context(), "/file", 0)
		require.NoError(t, err)
		defer r.Close()
		head := make([]byte, 100)
		_, err = io.ReadFull(r, head)
		require.NoError(t, err)
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte("new")))
		require.NoError(t, d.Delete(t.Context(), "/file"))
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.True(t, string(head)+string(rest) == content)
	})
}
