package drivertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testGetFile(s *suite) {
	s.test("Content", func(t *testing.T, d driver.Driver) {
		for _, content := range []string{"", "0123456789", noise(5, 100_000)} {
			require.NoError(t, d.PutContent(t.Context(), "/dir/file", []byte(content)))
			got, info, err := driver.GetFile(t.Context(), d, "/dir/file", int64(len(content)))
			require.NoError(t, err)
			require.True(t, content == string(got))
			require.Equal(t, stat(t, d, "/dir/file"), info)
		}
	})

	s.test("TooLarge", func(t *testing.T, d driver.Driver) {
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte("0123456789")))
		_, _, err := driver.GetFile(t.Context(), d, "/file", 9)
		requirePathError(t, err, driver.ErrTooLarge)
	})

	s.test("Missing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/file")
		_, _, err := driver.GetFile(t.Context(), d, "/other", 100)
		requirePathError(t, err, driver.ErrNotExist)
	})

	s.test("Directory", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		_, _, err := driver.GetFile(t.Context(), d, "/dir", 100)
		require.Error(t, err)
	})

	s.test("SliceIsNotKept", func(t *testing.T, d driver.Driver) {
		put(t, d, "/file")
		got, _, err := driver.GetFile(t.Context(), d, "/file", 100)
		require.NoError(t, err)
		got[0] = 'X'
		requireContent(t, d, "/file", "/file")
	})
}
