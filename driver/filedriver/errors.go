package filedriver

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

// ErrRootGone says that the directory of a driver has been removed. It is not
// driver.ErrNotExist: nothing is known about the path asked for.
var ErrRootGone = errors.New("filedriver: the root directory has been removed")

// fault puts an error of a system call in the words of package driver. Errnos
// that have none there, such as ENOSPC, stay as they are.
func (s *store) fault(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err // package driver names the path itself
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		if st, statErr := fstat(s.root); statErr != nil || st.Nlink == 0 {
			return ErrRootGone
		}
		return driver.ErrNotExist
	case errors.Is(err, unix.EEXIST):
		return driver.ErrExist
	case errors.Is(err, unix.ENOTDIR), // a file used as a directory
		errors.Is(err, unix.EISDIR), // a directory used as a file
		errors.Is(err, unix.ELOOP),  // a symlink
		errors.Is(err, unix.ENXIO),  // a FIFO or a socket opened for writing
		errors.Is(err, errNotRegular):
		return fmt.Errorf("%w: %w", driver.ErrInvalidPath, err)
	}
	return err
}
