package driver

import (
	"errors"
	"fmt"
	"io/fs"
)

var (
	// ErrNotExist says that a path names nothing.
	ErrNotExist = fmt.Errorf("driver: path not found: %w", fs.ErrNotExist)
	// ErrExist says that something is in the way: at the destination of MoveDir
	// or MoveNew, or in the directory of RemoveDir.
	ErrExist = fmt.Errorf("driver: path exists: %w", fs.ErrExist)
	// ErrInvalidPath says that a path is not one that [ValidPath] accepts, or
	// that its kind does not fit: a file used as a directory, a symlink or a
	// special file in the store.
	ErrInvalidPath = fmt.Errorf("driver: invalid path: %w", fs.ErrInvalid)
	// ErrInvalidOffset says that a read was to begin at a negative offset.
	ErrInvalidOffset = fmt.Errorf("driver: invalid offset: %w", fs.ErrInvalid)
	// ErrTooLarge says that content is larger than [MaxContent], or ends past
	// the largest offset.
	ErrTooLarge = fmt.Errorf("driver: content too large: %w", fs.ErrInvalid)
	// ErrBusy says that another writer has the path open.
	ErrBusy = errors.New("driver: another writer is at work")
	// ErrClosed says that a writer or a file has been ended.
	ErrClosed = fmt.Errorf("driver: already closed: %w", fs.ErrClosed)
	// ErrReadOnly says that a driver was opened for reading only.
	ErrReadOnly = fmt.Errorf("driver: read-only: %w", fs.ErrPermission)
)

// PathError is a failed operation on a path.
type PathError struct {
	Driver string // Name of the driver
	Op     string // method, in lower case: "putcontent"
	Path   string
	Err    error
}

func (e *PathError) Error() string {
	return fmt.Sprintf("%s: %s %s: %v", e.Driver, e.Op, ShownPath(e.Path), e.Err)
}

func (e *PathError) Unwrap() error { return e.Err }
