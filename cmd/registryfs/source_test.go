package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
