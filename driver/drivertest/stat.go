package drivertest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testStat(s *suite) {
	s.test("File", func(t *testing.T, d driver.Driver) {
		before := time.Now().Add(-2 * time.Second) // stores may round to seconds
		put(t, d, "/dir/file")
		info := stat(t, d, "/dir/file")
		require.False(t, info.IsDir)
		require.Equal(t, int64(len("/dir/file")), info.Size)
		require.True(t, info.ModTime.After(before), "%v", info.ModTime)
		require.False(t, info.ModTime.After(time.Now().Add(time.Minute)), "%v", info.ModTime)
	})

	s.test("Directory", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/sub/file")
		for _, dir := range []string{"/", "/dir", "/dir/sub"} {
			info := stat(t, d, dir)
			require.True(t, info.IsDir, dir)
			require.Zero(t, info.Size, dir)
		}
	})

	s.test("Missing", func(t *testing.T, d driver.Driver) {
		put(t, d, "/dir/file")
		requireMissing(t, d, "/dir/file1")
		requireMissing(t, d, "/di")
	})

	s.test("ModTimeGoesOn", func(t *testing.T, d driver.Driver) {
		put(t, d, "/file")
		last := stat(t, d, "/file").ModTime
		for range 5 {
			put(t, d, "/file")
			next := stat(t, d, "/file").ModTime
			require.False(t, next.Before(last), "%v after %v", next, last)
			last = next
		}
	})

	s.test("Version", func(t *testing.T, d driver.Driver) {
		ctx := t.Context()
		seen := make(map[string]string) // by version
		check := func(what string) {
			t.Helper()
			v := stat(t, d, "/file").Version
			if v == "" {
				return // a driver that cannot tell says so
			}
			require.Empty(t, seen[v], "%s left the version unchanged", what)
			seen[v] = what
			require.Equal(t, v, stat(t, d, "/file").Version)
			f, err := driver.OpenAt(ctx, d, "/file")
			require.NoError(t, err)
			info, err := f.Stat()
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.Equal(t, v, info.Version)
		}
		require.NoError(t, d.PutContent(ctx, "/file", []byte("aaa")))
		check("making it")
		require.NoError(t, d.PutContent(ctx, "/file", []byte("bbb")))
		check("replacing it")
		w := writer(t, d, "/file", true)
		write(t, w, "c")
		require.NoError(t, w.Commit(ctx))
		check("appending to it")
		w = writer(t, d, "/file", false)
		write(t, w, "dd")
		require.NoError(t, w.Commit(ctx))
		check("writing it anew")
		put(t, d, "/other")
		require.NoError(t, d.Move(ctx, "/other", "/file"))
		check("moving another over it")
	})
}
