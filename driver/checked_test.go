package driver_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/drivertest"
	"registryfs/driver/memdriver"
)

// core hides all but the core of a driver, so that every fallback is at work.
type core struct{ driver.Driver }

func (c core) Writer(ctx context.Context, path string, append bool) (driver.Writer, error) {
	w, err := c.Driver.Writer(ctx, path, append)
	if err != nil {
		return nil, err
	}
	return struct{ driver.Writer }{w}, nil
}

func TestFallbacks(t *testing.T) {
	drivertest.Run(t, func(*testing.T) driver.Driver { return driver.Checked(core{memdriver.New()}) })
}

func TestCheckedOnce(t *testing.T) {
	d := memdriver.New()
	require.Same(t, d, driver.Checked(d))
}

func TestCheckedKeepsRandomWriter(t *testing.T) {
	w, err := memdriver.New().Writer(t.Context(), "/a", false)
	require.NoError(t, err)
	require.Implements(t, (*driver.RandomWriter)(nil), w)
	w, err = driver.Checked(core{memdriver.New()}).Writer(t.Context(), "/a", false)
	require.NoError(t, err)
	_, random := w.(driver.RandomWriter)
	require.False(t, random)
}

func TestSpaceUnsupported(t *testing.T) {
	for _, d := range []driver.Driver{driver.Checked(core{memdriver.New()}), core{memdriver.New()}} {
		_, err := driver.SpaceOf(t.Context(), d)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

// broken fails with an error of its own, and lists what no path can name.
type broken struct{ driver.Driver }

func (broken) Name() string { return "broken" }

func (broken) GetContent(context.Context, string) ([]byte, error) { return nil, syscall.EIO }

func (broken) Move(context.Context, string, string) error {
	return &driver.PathError{Driver: "inner", Op: "rename", Path: "/x", Err: syscall.ENOSPC}
}

func (broken) List(context.Context, string) ([]string, error) {
	return []string{"/a", "/lost+found", "/b", "/.é"}, nil
}

func (broken) Reader(context.Context, string, int64) (io.ReadCloser, error) {
	return nil, driver.ErrNotExist
}

func TestCheckedErrors(t *testing.T) {
	d := driver.Checked(broken{memdriver.New()})
	_, err := d.GetContent(t.Context(), "/a")
	require.ErrorIs(t, err, syscall.EIO)
	require.EqualError(t, err, "broken: getcontent /a: input/output error")

	var pathErr *driver.PathError
	require.ErrorAs(t, d.Move(t.Context(), "/a", "/b"), &pathErr)
	require.Equal(t, "inner", pathErr.Driver, "wrapped twice")

	_, err = d.Reader(t.Context(), "/a", 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, err, driver.ErrNotExist)

	children, err := d.List(t.Context(), "/")
	require.NoError(t, err)
	require.Equal(t, []string{"/a", "/lost+found", "/b", "/.é"}, children)
	require.ErrorIs(t, driver.Walk(t.Context(), d, "/", nil), driver.ErrInvalidPath)

	_, err = d.Stat(t.Context(), "/a\nb")
	require.EqualError(t, err, `broken: stat "/a\nb": driver: invalid path: invalid argument`)
}
