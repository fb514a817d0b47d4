package storage_test

import (
	"context"
	"errors"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/drivertest"
	"registryfs/storage"
)

// A disk that is not mounted looks as if all content were gone. Nothing is
// taken away for that.
func TestRepairWithoutContent(t *testing.T) {
	s := newCheckedStore(t)
	require.NoError(t, os.Rename(s.dir+v2+"/blobs", s.dir+"/elsewhere"))
	require.NoError(t, os.Mkdir(s.dir+v2+"/blobs", 0o755))
	before := tree(t, s.driver)
	_, summary := s.check(t, storage.CheckOptions{Repair: true})
	require.NotZero(t, summary.Damaged)
	require.Zero(t, summary.Repaired)
	require.Equal(t, before, tree(t, s.driver))
	require.NoError(t, os.Remove(s.dir+v2+"/blobs"))
	require.NoError(t, os.Rename(s.dir+"/elsewhere", s.dir+v2+"/blobs"))
	findings, _ := s.check(t, storage.CheckOptions{})
	require.Empty(t, findings)
}

// What changes while it is read, be it only its mode, may be good: nothing is
// known about it.
func TestRepairWhileContentChanges(t *testing.T) {
	s := newCheckedStore(t)
	app := repository(t, again(t, s.driver), "app")
	content := noise(storage.MaxResident + 1) // what is smaller is read at once
	which := putBlob(t, app, content)
	ageLinks(t, s.dir)
	before := tree(t, s.driver)
	changes := 0
	restless := drivertest.Hooks{Before: func(_ context.Context, call string) error {
		if call != "fstat "+dataPath(which) {
			return nil
		}
		changes++
		return os.Chtimes(s.dir+dataPath(which), time.Time{}, time.Unix(int64(changes), 0))
	}}.Wrap(s.driver)

	findings, summary := checkDriver(t, restless, storage.CheckOptions{Repair: true})
	require.Equal(t, []string{
		line(storage.FindingUnreadable, dataPath(which)),
		line(storage.FindingDangling, layerLink("app", which)),
	}, lines(findings, true))
	require.Zero(t, summary.Repaired)
	require.Equal(t, before, tree(t, s.driver))
	require.Equal(t, content, readAll(t, app, which))

	_, err := repository(t, again(t, restless), "app").Blobs().Open(t.Context(), which)
	require.Error(t, err)
	require.NotErrorIs(t, err, storage.ErrCorrupt)
}

// A repair that is interrupted anywhere is ended by the next.
func TestRepairInterrupted(t *testing.T) {
	damage := func(t *testing.T) *checkedStore {
		s := newCheckedStore(t)
		overwrite(t, s.driver, dataPath(s.three.manifest), 5, []byte("X"))
		put(t, s.driver, layerLink("app", s.one.layer), "")
		put(t, s.driver, layerLink("app", s.one.config), strings.Repeat("x", 1000))
		put(t, s.driver, revisionLink("app", s.one.manifest), "forged")
		put(t, s.driver, currentLink("app", "v1"), "")
		s.remove(t, path.Dir(layerLink("app/other", s.other.layer)))
		put(t, s.driver, strays[0], "x")
		ageLinks(t, s.dir)
		return s
	}
	n := 0
	for stopped := true; stopped; n++ {
		s := damage(t)
		d := &stoppingDriver{Driver: s.driver, left: n}
		checkDriver(t, d, storage.CheckOptions{Repair: true})
		stopped = d.left < 0
		_, summary := s.check(t, storage.CheckOptions{Repair: true})
		require.Equal(t, summary.Damaged, summary.Repaired)
		findings, _ := s.check(t, storage.CheckOptions{})
		require.Empty(t, lines(findings, true), "stopped at change %d: %+v", n, findings)
		s.rest(t, []string{"moved"})
	}
	require.Greater(t, n, 8)
	t.Logf("stopped at %d changes", n-1)
}

// stoppingDriver changes things so often, and then no more.
type stoppingDriver struct {
	driver.Driver
	left int
}

var errStopped = errors.New("stopped")

func (d *stoppingDriver) change(fn func() error) error {
	if d.left--; d.left < 0 {
		return errStopped
	}
	return fn()
}

func (d *stoppingDriver) PutContent(ctx context.Context, p string, content []byte) error {
	return d.change(func() error { return d.Driver.PutContent(ctx, p, content) })
}

func (d *stoppingDriver) PutFile(ctx context.Context, p string, content []byte) (w driver.Written, err error) {
	err = d.change(func() error {
		w, err = driver.PutFile(ctx, d.Driver, p, content)
		return err
	})
	return w, err
}

func (d *stoppingDriver) Move(ctx context.Context, src, dst string) error {
	return d.change(func() error { return d.Driver.Move(ctx, src, dst) })
}

func (d *stoppingDriver) MoveDir(ctx context.Context, src, dst string) error {
	return d.change(func() error { return driver.MoveDir(ctx, d.Driver, src, dst) })
}

func (d *stoppingDriver) Delete(context.Context, string) error { return errors.New("a repair deletes") }
