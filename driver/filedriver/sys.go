package filedriver

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Sys is the system calls that change a store: all of them, so that a test can
// put errors and crashes between any two. Files are named, for messages, by
// their paths below the root. Errors are bare errnos or wrap them.
type Sys interface {
	// Open opens the regular file name in dir for reading and writing; flags
	// may add O_CREAT and O_EXCL. It blocks on nothing and follows no symlink.
	Open(dir *os.File, name string, flags int, mode uint32) (*os.File, error)
	// WriteAt writes all of p.
	WriteAt(f *os.File, p []byte, offset int64) (int, error)
	Truncate(f *os.File, size int64) error
	// Sync makes a file's content durable.
	Sync(f *os.File) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir *os.File) error
	Chmod(f *os.File, mode uint32) error
	// Chown changes owner and group; -1 leaves one as it is.
	Chown(f *os.File, uid, gid int) error
	Mkdir(dir *os.File, name string, mode uint32) error
	// Rename takes flags such as RENAME_NOREPLACE.
	Rename(from *os.File, oldName string, to *os.File, newName string, flags uint) error
	// Unlink takes AT_REMOVEDIR to remove an empty directory.
	Unlink(dir *os.File, name string, flags int) error
}

// System returns the calls of the operating system.
func System() Sys { return system{} }

type system struct{}

var _ Sys = system{}

func (system) Open(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	return openFile(dir, name, unix.O_RDWR|flags, mode)
}

func (system) WriteAt(f *os.File, p []byte, offset int64) (int, error) { return f.WriteAt(p, offset) }

func (system) Truncate(f *os.File, size int64) error { return f.Truncate(size) }

func (system) Sync(f *os.File) error { return f.Sync() }

func (system) SyncDir(dir *os.File) error { return dir.Sync() }

func (system) Chmod(f *os.File, mode uint32) error {
	defer runtime.KeepAlive(f)
	return retry(func() error { return unix.Fchmod(int(f.Fd()), mode) })
}

func (system) Chown(f *os.File, uid, gid int) error { return f.Chown(uid, gid) }

func (system) Mkdir(dir *os.File, name string, mode uint32) error {
	defer runtime.KeepAlive(dir)
	return retry(func() error { return unix.Mkdirat(int(dir.Fd()), name, mode) })
}

func (system) Rename(from *os.File, oldName string, to *os.File, newName string, flags uint) error {
	defer runtime.KeepAlive(from)
	defer runtime.KeepAlive(to)
	return retry(func() error {
		return unix.Renameat2(int(from.Fd()), oldName, int(to.Fd()), newName, flags)
	})
}

func (system) Unlink(dir *os.File, name string, flags int) error {
	defer runtime.KeepAlive(dir)
	return retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, flags) })
}

// unsynced are calls that make nothing durable.
type unsynced struct{ Sys }

func (unsynced) Sync(*os.File) error { return nil }

func (unsynced) SyncDir(*os.File) error { return nil }

// unnamed are calls that make no names durable.
type unnamed struct{ Sys }

func (unnamed) SyncDir(*os.File) error { return nil }

// retry calls fn again while a signal interrupts it.
func retry(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openRetry is retry for what returns a descriptor.
func openRetry(fn func() (int, error)) (fd int, err error) {
	err = retry(func() error {
		fd, err = fn()
		return err
	})
	return fd, err
}
