package driver_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func TestValidPathLimits(t *testing.T) {
	longest := strings.Repeat("/"+strings.Repeat("d", 95), driver.MaxPath/96)
	require.Len(t, longest, driver.MaxPath)
	require.True(t, driver.ValidPath(longest))
	require.False(t, driver.ValidPath(longest+"d"))
	require.True(t, driver.ValidPath("/"+strings.Repeat("n", driver.MaxName)))
	require.False(t, driver.ValidPath("/"+strings.Repeat("n", driver.MaxName+1)))
}

// FuzzValidPath compares ValidPath with what path.Clean and a pattern say.
func FuzzValidPath(f *testing.F) {
	for _, seed := range []string{
		"", "/", "//", "/a", "a", "/a/", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/...", "/a/..b", "/-_.",
		"/a b", "/é", "/\x80", "/a\x00", "/a\n", "/docker/registry/v2/blobs/sha256/ab/abcd/data",
	} {
		f.Add(seed)
	}
	pattern := regexp.MustCompile(`\A(/[A-Za-z0-9._-]+)+\z`)
	f.Fuzz(func(t *testing.T, p string) {
		long := func(name string) bool { return len(name) > driver.MaxName }
		want := pattern.MatchString(p) && path.Clean(p) == p && len(p) <= driver.MaxPath &&
			!slices.ContainsFunc(strings.Split(p, "/"), long)
		require.Equal(t, want, driver.ValidPath(p), "%q", p)
	})
}
