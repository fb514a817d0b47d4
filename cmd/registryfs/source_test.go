package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Of a directory of very many, most are not looked at.
func TestNamesReadAreLimited(t *testing.T) {
	dir := t.TempDir()
	for i := range maxHintEntries + 5 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, itoa(i)), nil, 0o644))
	}
	names, err := readNames(dir)
	require.NoError(t, err)
	require.Len(t, names, maxHintEntries)
}

func TestHoldersAreLimited(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.Contains(t, holders(dir), "fuser -vm "+dir)
	for range maxHolders + 2 {
		cmd := exec.Command("cat")
		cmd.Dir = dir
		_, err := cmd.StdinPipe() // never ends
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	require.Equal(t, maxHolders, strings.Count(holders(dir), "has its working directory there"))
}

// What only reads a store does not leave a trace in it, not even in the times of
// last access.
func TestNothingIsTouched(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	fillStore(t, store)
	var paths []string
	require.NoError(t, filepath.WalkDir(store, func(p string, _ fs.DirEntry, err error) error {
		paths = append(paths, p)
		return err
	}))
	// Times of which relatime would update the first.
	accessed, changed := time.Now().Add(-72*time.Hour), time.Now().Add(-48*time.Hour)
	for _, p := range paths {
		require.NoError(t, os.Chtimes(p, accessed, changed))
	}
	stats := func() map[string]unix.Stat_t {
		all := map[string]unix.Stat_t{}
		for _, p := range paths {
			var st unix.Stat_t
			require.NoError(t, unix.Lstat(p, &st))
			all[p] = st
		}
		return all
	}
	before := stats()
	for _, args := range [][]string{{"check", store}, {"gc", "--dry-run", store}, {"purge-uploads", "--dry-run", store}} {
		r := registryfs(t, args...)
		require.Equal(t, exitOK, r.status, r.stderr)
		require.Equal(t, before, stats(), args)
	}
	s := startServer(t, "--read-only", store, mnt)
	shell(t, `find "$1" -type f -exec cat {} + >/dev/null`, mnt)
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	s.end(t)
	require.Equal(t, before, stats(), "mount")
}
