package filedriver

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

func (s *store) Move(_ context.Context, src, dst string) error {
	return s.rename(src, dst, unix.S_IFREG, s.replace)
}

func (s *store) MoveNew(_ context.Context, src, dst string) error {
	return s.rename(src, dst, unix.S_IFREG, s.renameNew)
}

func (s *store) MoveDir(_ context.Context, src, dst string) error {
	return s.rename(src, dst, unix.S_IFDIR, s.renameNew)
}

// renaming gives a file another name.
type renaming func(from *os.File, oldName string, to *os.File, newName string) error

// rename moves src, which must be of a kind, by a call, and makes both
// directories durable.
func (s *store) rename(src, dst string, kind uint32, call renaming) error {
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
		if err := call(from, oldName, to, newName); err != nil {
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

// replace renames over what may be there.
func (s *store) replace(from *os.File, oldName string, to *os.File, newName string) error {
	return s.sys.Rename(from, oldName, to, newName, 0)
}

// renameNew renames to a name that is free.
func (s *store) renameNew(from *os.File, oldName string, to *os.File, newName string) error {
	err := s.sys.Rename(from, oldName, to, newName, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	// The file system cannot do that in one step. Of a directory, a plain
	// rename refuses all but an empty one in its way, which this look finds
	// too. A file that others put there at this moment is replaced: link(2)
	// would refuse, but a crash before the old name is gone would leave a file
	// that changes when it is written to by either name.
	if _, err := lstat(to, newName); err == nil {
		return unix.EEXIST
	} else if !errors.Is(err, unix.ENOENT) {
		return err
	}
	return s.sys.Rename(from, oldName, to, newName, 0)
}
