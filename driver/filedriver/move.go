package filedriver

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

func (s *store) Move(_ context.Context, src, dst string) error {
	return s.rename(src, dst, unix.S_IFREG)
}

func (s *store) MoveDir(_ context.Context, src, dst string) error {
	return s.rename(src, dst, unix.S_IFDIR)
}

// rename moves src, which must be of a kind, and makes both directories
// durable. A directory goes only where nothing is.
func (s *store) rename(src, dst string, kind uint32) error {
	return s.race(func() error {
		from, oldName, err := s.openParent(src)
		if err != nil {
			return s.fault(err)
		}
		defer from.Close()
		st, err := lstat(from, oldName)
		switch {
		case err != nil:
			return s.fault(err)
		case st.Mode&unix.S_IFMT != kind:
			return driver.ErrInvalidPath
		}
		to, newName, err := s.makeParent(dst)
		if err != nil {
			return err
		}
		defer to.Close()
		if kind == unix.S_IFDIR {
			err = s.renameNew(from, oldName, to, newName)
		} else {
			err = s.sys.Rename(from, oldName, to, newName, 0)
		}
		if err != nil {
			return err
		}
		// The new name first: a crash between the two may leave both names,
		// but never none.
		if err := s.sys.SyncDir(to); err != nil {
			return err
		}
		return s.sys.SyncDir(from)
	})
}

// renameNew renames to a name that is free.
func (s *store) renameNew(from *os.File, oldName string, to *os.File, newName string) error {
	err := s.sys.Rename(from, oldName, to, newName, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	// The file system cannot do that in one step. A plain rename refuses all
	// but an empty directory in its way, which this look finds too.
	if _, err := lstat(to, newName); err == nil {
		return unix.EEXIST
	} else if !errors.Is(err, unix.ENOENT) {
		return err
	}
	return s.sys.Rename(from, oldName, to, newName, 0)
}
