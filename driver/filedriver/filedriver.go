// Package filedriver is a driver that keeps files in a directory:
//
//	<root>/
//	└── docker/registry/v2/…/
//	    ├── link                the file of that path
//	    └── link.<random>.tmp   a PutContent under way, or what a crash left of one
//
// Every path is opened beneath the root as the kernel resolves it: no symlink
// is followed, nowhere on the way and not at its end, and only regular files
// are opened. Whatever else stands in a file's place is driver.ErrInvalidPath.
//
// New files and directories take owner, group and permission bits from the
// directory that they are made in, so that a registry which runs as a user of
// its own can work with them. What a method acknowledged has been fsynced, and
// so has the directory that names it, unless Options.NoSync says otherwise.
//
// Limitations: openat2(2) is needed (Linux 5.6). One writer of a file at a time
// is kept by flock(2), which programs that do not lock do not heed. Where the
// process may not change owners, new files keep the owner of the process; where
// it does not own a file, reading it may update its access time. A crash may
// leave a new directory, or a temporary, with the owner of the process. A
// directory that another process has just made is taken for durable: where that
// process died before it synced it, journaling file systems keep it all the
// same, as soon as something in it is synced. A Version is as fine as the file system's clock: before Linux 6.13 a change in
// place that keeps the size, in the same tick as the one before, does not show.
package filedriver

import (
	"os"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

// Options change how a directory is used. The zero value is ready to use.
type Options struct {
	// ReadOnly makes every changing method fail with driver.ErrReadOnly.
	// Nothing under the root is changed then, and it may be on a read-only
	// file system.
	ReadOnly bool

	// NoSync leaves it to the kernel when something becomes durable: a crash
	// of the machine may lose, or tear, what was acknowledged. It is for
	// stores that would be made anew anyway.
	NoSync bool

	// Sys makes the system calls that change the store. Nil means [System].
	Sys Sys
}

// maxRaces is how often an operation begins anew when others changed under it
// the directories it was working in.
const maxRaces = 8

// New returns the driver of the directory root, which must exist. A symlink
// that root is or passes through is resolved now and never again, and moving
// the directory elsewhere does not disturb the driver. Should it be removed,
// every operation fails and it is not made again: see [ErrRootGone].
func New(root string, o Options) (driver.Driver, error) {
	fd, err := openRetry(func() (int, error) {
		return unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	s := &store{root: os.NewFile(uintptr(fd), "/"), sys: o.Sys, making: newMaking(), named: newNamed()}
	if s.sys == nil {
		s.sys = System()
	}
	if o.NoSync {
		s.sys = unsynced{s.sys}
	}
	probe, err := openDir(s.root, "/")
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: root, Err: err}
	}
	probe.Close()
	if o.ReadOnly {
		return driver.Checked(&readOnly{s}), nil
	}
	return driver.Checked(s), nil
}

// store is a directory. The methods are in files named after what they do.
type store struct {
	root   *os.File
	sys    Sys
	making *making
	named  *named
}

var (
	_ driver.Driver     = (*store)(nil)
	_ driver.AtOpener   = (*store)(nil)
	_ driver.FilePutter = (*store)(nil)
	_ driver.NewMover   = (*store)(nil)
	_ driver.DirMover   = (*store)(nil)
	_ driver.DirMaker   = (*store)(nil)
	_ driver.DirRemover = (*store)(nil)
	_ driver.Syncer     = (*store)(nil)
	_ driver.Unsyncer   = (*store)(nil)
	_ driver.Locker     = (*store)(nil)
	_ driver.Spacer     = (*store)(nil)
)

func (s *store) Name() string { return "filedriver" }

func (s *store) Unsynced() driver.Driver {
	return &store{root: s.root, sys: unnamed{s.sys}, making: s.making, named: newNamed()}
}
