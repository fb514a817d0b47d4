package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestResolve(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	for link, target := range map[string]string{
		"abs": filepath.Join(dir, "a"), "rel": "a/b", "a/up": "../rel", "dangling": "a/none", "loop": "loop",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	t.Chdir(dir)
	for path, want := range map[string]string{
		".": "", "a/": "a", "abs": "a", "abs/b": "a/b", "rel": "a/b", "a/up": "a/b", "abs/up/..": "a", "abs/up/x": "a/b/x",
		"none": "none", "abs/none/er": "a/none/er", "dangling": "a/none", "dangling/er": "a/none/er",
	} {
		got, err := resolve(path)
		require.NoError(t, err, path)
		require.Equal(t, filepath.Join(dir, want), got, path)
	}
	for _, path := range []string{"loop", "loop/x"} {
		_, err := resolve(path)
		require.Error(t, err, path)
	}
}

func TestBeneath(t *testing.T) {
	for _, tc := range []struct {
		path, dir string
		want      bool
	}{
		{"/a", "/a", true}, {"/a/b", "/a", true}, {"/a", "/a/b", false}, {"/ab", "/a", false}, {"/a", "/", true}, {"/", "/", true},
	} {
		require.Equal(t, tc.want, beneath(tc.path, tc.dir), tc)
	}
}
