package filedriver_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/driver"
	"registryfs/driver/drivertest"
	"registryfs/driver/filedriver"
)

func TestConformance(t *testing.T) { drivertest.Run(t, newDriver) }

func TestOpenFiles(t *testing.T) { drivertest.RunOpenFiles(t, newDriver) }

func TestLarge(t *testing.T) { drivertest.RunLarge(t, newDriver) }

// A file system of its own is what has a capacity.
func TestFull(t *testing.T) {
	drivertest.RunFull(t, func(t *testing.T, capacity int64) driver.Driver {
		root := t.TempDir()
		require.NoError(t, unix.Mount("tmpfs", root, "tmpfs", 0, fmt.Sprintf("size=%d", capacity)), "the test needs root")
		t.Cleanup(func() { require.NoError(t, unix.Unmount(root, unix.MNT_DETACH)) })
		return open(t, root, filedriver.Options{})
	})
}

func newDriver(t *testing.T) driver.Driver { return open(t, t.TempDir(), filedriver.Options{}) }

func open(t *testing.T, root string, o filedriver.Options) driver.Driver {
	t.Helper()
	d, err := filedriver.New(root, o)
	require.NoError(t, err)
	return d
}
