package drivertest

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testReader(s *suite) {
	s.test("Offset", func(t *testing.T, d driver.Driver) {
		content := noise(1, 96)
		require.NoError(t, d.PutContent(t.Context(), "/a/file", []byte(content)))
		for _, offset := range []int{0, 1, 32, 64, 95, 96, 97, 1 << 20} {
			want := content[min(offset, len(content)):]
			require.Equal(t, want, readFrom(t, d, "/a/file", int64(offset)), "offset %d", offset)
		}
		_, err := d.Reader(t.Context(), "/a/file", -1)
		requirePathError(t, err, driver.ErrInvalidOffset)
	})

	s.test("OffsetInLargeFile", func(t *testing.T, d driver.Driver) {
		content := noise(2, 3<<20)
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte(content)))
		for _, offset := range []int{1, 4095, 4096, 1<<18 - 1, 1 << 18, 1 << 20, 3<<20 - 1} {
			require.True(t, readFrom(t, d, "/file", int64(offset)) == content[offset:], "offset %d", offset)
		}
	})

	s.test("EmptyFile", func(t *testing.T, d driver.Driver) {
		require.NoError(t, d.PutContent(t.Context(), "/file", nil))
		require.Empty(t, readFrom(t, d, "/file", 0))
		require.Empty(t, readFrom(t, d, "/file", 1))
	})

	s.test("Closed", func(t *testing.T, d driver.Driver) {
		put(t, d, "/file")
		r, err := d.Reader(t.Context(), "/file", 0)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		_, err = r.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, io.EOF)
	})
}
