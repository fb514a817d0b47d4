package memdriver_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/drivertest"
	"registryfs/driver/memdriver"
)

func TestConformance(t *testing.T) { drivertest.Run(t, newDriver) }

func TestOpenFiles(t *testing.T) { drivertest.RunOpenFiles(t, newDriver) }

func TestFull(t *testing.T) {
	drivertest.RunFull(t, func(t *testing.T, capacity int64) driver.Driver {
		return emptied(t, memdriver.New(memdriver.Capacity(capacity)))
	})
}

func newDriver(t *testing.T) driver.Driver { return emptied(t, memdriver.New()) }

// emptied is a store that the test leaves empty, and that must then have all of
// its room.
func emptied(t *testing.T, d driver.Driver) driver.Driver {
	t.Cleanup(func() {
		space, err := driver.SpaceOf(context.Background(), d)
		require.NoError(t, err)
		require.Equal(t, space.Bytes, space.BytesFree)
	})
	return d
}

// What a store may hold is counted to the byte.
func TestCapacity(t *testing.T) {
	const room = 3 << 10 // of a directory, a file, and 1 KiB of content
	d := memdriver.New(memdriver.Capacity(room))
	content := make([]byte, 1<<10)
	require.ErrorIs(t, d.PutContent(t.Context(), "/dir/file", append(content, 0)), syscall.ENOSPC)
	_, err := d.Stat(t.Context(), "/dir")
	require.ErrorIs(t, err, driver.ErrNotExist, "no directory is made for nothing")
	require.NoError(t, d.PutContent(t.Context(), "/dir/file", content))
	space, err := driver.SpaceOf(t.Context(), d)
	require.NoError(t, err)
	require.Equal(t, driver.Space{Bytes: room}, space)

	for name, err := range map[string]error{
		"file":   d.PutContent(t.Context(), "/dir/empty", nil),
		"dir":    driver.MakeDir(t.Context(), d, "/dir2"),
		"parent": d.Move(t.Context(), "/dir/file", "/dir2/file"),
	} {
		require.ErrorIs(t, err, syscall.ENOSPC, name)
	}
	_, err = d.Writer(t.Context(), "/dir/empty", false)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, d.Move(t.Context(), "/dir/file", "/dir/moved"), "which takes nothing")
	got, err := d.GetContent(t.Context(), "/dir/moved")
	require.NoError(t, err)
	require.Equal(t, content, got)
	require.NoError(t, d.Delete(t.Context(), "/dir/moved"))
	require.NoError(t, driver.MakeDir(t.Context(), d, "/dir/a"))
	require.NoError(t, driver.MakeDir(t.Context(), d, "/dir/a/b"))
}
