// Package driver is the contract between the registry's storage system and
// whatever keeps its bytes: a directory, memory, later an object store.
//
// A driver is a tree of files named by absolute slash-separated paths
//
//	/docker/registry/v2/blobs/sha256/ab/ab…/data
//	/registryfs/…
//
// and knows nothing of what they hold. Directories exist because files are in
// them; a driver may also keep empty ones. The methods follow the storage
// driver of docker/distribution, so that drivers can be carried over.
//
// [Driver] is the core that every implementation writes. What only some can do
// is an optional interface with a fallback function beside it: [Walker] and
// [Walk], [AtOpener] and [OpenAt], [NewMover] and [MoveNew], [DirMover] and
// [MoveDir], [DirMaker] and [MakeDir], [DirRemover] and [RemoveDir],
// [FilePutter] and [PutFile], [FileGetter] and [GetFile], [Syncer] and [Sync],
// [Unsyncer] and [Unsynced], [Locker] and [Lock], [Spacer] and [SpaceOf]. Wrap
// an implementation in [Checked] and it need not check paths and offsets itself,
// nor calls of a writer that has ended.
// Package drivertest holds the conformance suite.
package driver

import (
	"context"
	"io"
	"time"
)

// MaxContent is the size in bytes of the largest file that GetContent and
// PutContent take.
const MaxContent = 16 << 20

// Driver stores files. All methods may be called concurrently.
//
// Paths are checked as [ValidPath] says; only Stat and List accept "/". Errors
// about a path are [*PathError] and match [ErrNotExist], [ErrInvalidPath],
// [ErrInvalidOffset], [ErrTooLarge], [ErrReadOnly] or [ErrBusy] with errors.Is;
// anything else is a failure of the backend: [syscall.ENOSPC] says that it is
// full. A path below a file is ErrInvalidPath; where directories are no more
// than names, reading it may be ErrNotExist. What a method acknowledged is
// durable, as far as the backend knows durability.
type Driver interface {
	// Name is the kind of driver, for messages: "filedriver".
	Name() string

	// GetContent returns the whole of a small file, in a slice of the
	// caller's. A file of more than MaxContent bytes is ErrTooLarge.
	GetContent(ctx context.Context, path string) ([]byte, error)

	// PutContent replaces a file, or makes it, with its missing directories.
	// A concurrent reader sees the old content or the new, never a mixture.
	// More than MaxContent bytes are ErrTooLarge. content stays the caller's.
	PutContent(ctx context.Context, path string, content []byte) error

	// Reader reads a file from offset to its end. At or after the end it
	// reads nothing. A negative offset is ErrInvalidOffset.
	Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error)

	// Writer opens a file for writing at its end. Without append the file
	// starts empty, and what it held is gone. With append it goes on after
	// what an earlier writer left by Close, or after a committed file, and a
	// missing file is begun. One writer of a path is open at a time, across
	// processes where the backend can tell; a second is ErrBusy.
	Writer(ctx context.Context, path string, append bool) (Writer, error)

	// Stat describes a file or a directory.
	Stat(ctx context.Context, path string) (FileInfo, error)

	// List returns the absolute paths of the direct children of a directory,
	// in any order: all of them, so that nobody takes a directory for empty
	// that is not. Others may have put there what no path can name, or what is
	// neither a file nor a directory; to every method its path is
	// ErrInvalidPath. The root always exists. Listing a file is an error.
	List(ctx context.Context, path string) ([]string, error)

	// Move renames a file in one step, replacing dst, and makes the missing
	// directories of dst. Where src is missing dst is untouched. A directory
	// as src or dst is ErrInvalidPath.
	Move(ctx context.Context, src, dst string) error

	// Delete removes a file, or a directory with all below it.
	Delete(ctx context.Context, path string) error
}

// Writer is a file being written. It is not safe for concurrent use. After
// Close, Cancel or a successful Commit every method but Size returns
// [ErrClosed]; after a failed Commit, Cancel or Close must still be called.
// Once a write has failed, Close and Commit fail too.
type Writer interface {
	// Write appends.
	io.Writer

	// Size is the number of bytes in the file, those of earlier writers
	// included.
	Size() int64

	// Close keeps the bytes for a later Writer with append and ends this one.
	// They are durable when Close returns nil.
	Close() error

	// Cancel ends the writer and removes the file. That ctx has ended does
	// not stop it.
	Cancel(ctx context.Context) error

	// Commit makes the content durable under the path and ends the writer. It
	// may then be read and moved. Where the path no longer names the file
	// that was written, Commit is ErrNotExist.
	Commit(ctx context.Context) error
}

// RandomWriter is a Writer that can also change bytes it has written. Ranges
// never written read as zeros. WriteAt and ReadAt calls may run concurrently.
type RandomWriter interface {
	Writer
	io.WriterAt
	io.ReaderAt

	// Truncate cuts the file, or extends it with zeros, to size bytes.
	Truncate(size int64) error

	// Sync makes what was written so far durable.
	Sync() error
}

// FileInfo describes a file or a directory.
type FileInfo struct {
	Path    string
	Size    int64 // bytes; 0 for a directory
	ModTime time.Time
	IsDir   bool

	// Version is opaque and changes whenever the content may have changed:
	// two equal non-empty versions of one path stand for equal content.
	Version string
}

// File is a file open for reading. ReadAt may be called concurrently. A file
// that is moved, replaced or deleted stays readable where the backend can do
// that.
type File interface {
	io.ReaderAt
	io.Closer

	// Stat describes what is open, not what the path names by now.
	Stat() (FileInfo, error)
}

// AtOpener is implemented by drivers that read at offsets better than by one
// Reader a call.
type AtOpener interface {
	OpenAt(ctx context.Context, path string) (File, error)
}

// Walker is implemented by drivers that walk a tree better than by List.
type Walker interface {
	Walk(ctx context.Context, root string, fn WalkFunc) error
}

// DirMover is implemented by drivers that move a directory in one step.
type DirMover interface {
	// MoveDir renames the directory src to dst and makes the missing parents
	// of dst. An existing dst is ErrExist, and nothing is changed.
	MoveDir(ctx context.Context, src, dst string) error
}

// NewMover is implemented by drivers that rename a file, in one step, to where
// none is.
type NewMover interface {
	// MoveNew is Move, but an existing dst is ErrExist, and nothing is
	// changed.
	MoveNew(ctx context.Context, src, dst string) error
}

// Syncer is implemented by drivers in which what can be seen need not be
// durable.
type Syncer interface {
	// Sync makes a file, its name and those of its directories durable.
	Sync(ctx context.Context, path string) error
}

// Locker is implemented by drivers that keep locks between those who use a
// store. A lock ends with its process.
type Locker interface {
	// Lock takes a lock on a directory, which must exist, shared with others
	// or alone, until the result is closed. One that others hold otherwise is
	// ErrBusy: nothing is waited for. Nothing is written, and nobody is kept
	// from anything but the lock. Two calls of one process are two holders.
	Lock(ctx context.Context, path string, shared bool) (io.Closer, error)
}

// Space is the room of a backend, in bytes and in files.
type Space struct {
	Bytes, BytesFree uint64
	Files, FilesFree uint64
}

// Spacer is implemented by drivers that know how much room they have.
type Spacer interface {
	Space(ctx context.Context) (Space, error)
}
