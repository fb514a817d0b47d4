package storagetest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// MemoryDir is a new directory on a file system in memory, where there is one,
// for tests that lose no power, or only simulate it.
func MemoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "registryfs-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}
