package filedriver

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

func (s *store) Delete(ctx context.Context, path string) error {
	dir, name, err := s.openParent(path)
	if err != nil {
		return s.fault(err)
	}
	defer dir.Close()
	if err := s.remove(ctx, dir, name); err != nil {
		return s.fault(err)
	}
	return s.fault(s.sys.SyncDir(dir))
}

func (s *store) RemoveDir(_ context.Context, path string) error {
	dir, name, err := s.openParent(path)
	if err != nil {
		return s.fault(err)
	}
	defer dir.Close()
	err = s.sys.Unlink(dir, name, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOTEMPTY) {
		return driver.ErrExist
	}
	if err != nil {
		return s.fault(err)
	}
	return s.fault(s.sys.SyncDir(dir))
}

// remove unlinks name, whatever it is. A directory that others put something
// into meanwhile is emptied again.
func (s *store) remove(ctx context.Context, dir *os.File, name string) error {
	err := s.sys.Unlink(dir, name, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	for range maxRaces {
		if err := s.empty(ctx, dir, name); err != nil {
			return err
		}
		err = s.sys.Unlink(dir, name, unix.AT_REMOVEDIR)
		if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return err
}

// empty removes all that is in a directory.
func (s *store) empty(ctx context.Context, parent *os.File, name string) error {
	dir, err := openDir(parent, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.remove(ctx, dir, name); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}
