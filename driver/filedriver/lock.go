package filedriver

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

// Lock takes a flock(2) on the directory itself, so that it leaves nothing
// behind and needs no room. Where a network file system keeps such locks to
// each machine, another one's are not seen.
func (s *store) Lock(_ context.Context, path string, shared bool) (io.Closer, error) {
	dir, err := openDir(s.root, path)
	if err != nil {
		return nil, s.fault(err)
	}
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	if err := flock(dir, how); err != nil {
		dir.Close()
		return nil, s.fault(err)
	}
	return lockedDir{dir}, nil
}

// lockedDir is a directory that closing unlocks.
type lockedDir struct{ dir *os.File }

func (l lockedDir) Close() error { return unlock(l.dir) }

// flock locks or unlocks an open file, or is driver.ErrBusy.
func flock(f *os.File, how int) error {
	err := retry(func() error {
		defer runtime.KeepAlive(f)
		return unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	})
	if errors.Is(err, unix.EWOULDBLOCK) {
		return driver.ErrBusy
	}
	return err
}

// unlock gives a lock up and closes the file. To close it would not do: a
// child that is being started has a copy of it until it executes its program,
// and the lock lasts as long as any copy.
func unlock(f *os.File) error {
	return errors.Join(flock(f, unix.LOCK_UN), f.Close())
}
