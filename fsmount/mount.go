package fsmount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bazil.org/fuse"

	"registryfs/fsmount/loop"
	"registryfs/storage"
)

const (
	// Subtype makes mounts show as fuse.registryfs in /proc/mounts.
	Subtype = "registryfs"
	// BlockedThreads is how many threads wait for requests while a mount has
	// nothing to do.
	BlockedThreads = loop.IdleReaders
	// maxReadahead is the largest that the library's requests carry; unset it
	// would be none.
	maxReadahead = 128 << 10
	// keepTimeout is how long a mount that is shut down may take, after all
	// else, to keep what is unfinished. What is not done by then waits for a
	// driver that hangs, and is left as a crash leaves it.
	keepTimeout = 5 * time.Second
)

// Options say how a registry is mounted. The zero value is a private mount of
// root's files, without deletion.
type Options struct {
	Source      string // what is mounted, as it shows in /proc/mounts
	ReadOnly    bool   // refuse every change
	AllowDelete bool   // let rm remove blobs and manifests
	AllowOther  bool   // let other users in, by the modes of the files
	Exclusive   bool   // nobody else writes to the registry
	// As the registry was opened: index.json is checked as a whole before any
	// of it is done.
	SparseIndexes, ImmutableTags bool
	ListViews                    bool          // list what can otherwise only be entered
	UID, GID                     uint32        // owner of every file
	Umask                        fs.FileMode   // bits taken from 0644 and 0755
	AttrTimeout                  time.Duration // how long the kernel may keep what others can change
	// PageCache is how many bytes of one file opening it puts into the
	// kernel's page cache; 0: a share of the memory, negative: none.
	PageCache int64
	Version   string       // content of .registryfs/version
	Logger    *slog.Logger // nil: silent
}

// Mount is a mounted registry that is being served. Its methods may be called
// concurrently.
type Mount struct {
	fs    *fileSystem
	conn  *fuse.Conn
	dir   string
	ended chan struct{} // the kernel has ended the connection
	err   error         // of serving; valid after ended

	finish sync.Once
	done   chan struct{} // every file has been kept
	leave  sync.Once
	left   chan struct{} // not every file has been kept, but that took too long
}

// New mounts reg at the directory dir and serves it in the background.
func New(dir string, reg storage.Registry, o Options) (*Mount, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("fsmount: %w", err)
	}
	conn, err := fuse.Mount(dir, mountOptions(o)...)
	if err != nil {
		return nil, fmt.Errorf("fsmount: mount %s: %w", dir, err)
	}
	m := &Mount{
		fs:    newFileSystem(dir, reg, o),
		conn:  conn,
		dir:   dir,
		ended: make(chan struct{}),
		done:  make(chan struct{}),
		left:  make(chan struct{}),
	}
	m.fs.loop = loop.New(conn, m.fs, isKilled, m.fs.log)
	go m.serve()
	return m, nil
}

func mountOptions(o Options) []fuse.MountOption {
	options := []fuse.MountOption{
		fuse.FSName(o.Source),
		fuse.Subtype(Subtype),
		fuse.MaxReadahead(maxReadahead),
		fuse.AsyncRead(),
		// Without this the kernel asks for security.capability before every
		// write. There are no suid bits here to be dropped.
		fuse.HandleKillPriv(),
	}
	if o.AllowOther {
		options = append(options, fuse.AllowOther(), fuse.DefaultPermissions())
	}
	if o.ReadOnly {
		options = append(options, fuse.ReadOnly())
	}
	return options
}

func (m *Mount) serve() {
	m.err = m.fs.loop.Serve()
	m.conn.Close()
	close(m.ended)
	m.end()
}

// end keeps what is unfinished, once.
func (m *Mount) end() {
	m.finish.Do(func() {
		m.fs.finish()
		close(m.done)
	})
}

// Wait returns when the mount has ended, however that came, and every file
// that was open for writing has been kept as an upload, or Shutdown has given
// that up.
func (m *Mount) Wait() error {
	select {
	case <-m.done:
	case <-m.left:
	}
	select {
	case <-m.ended:
		return m.err
	default:
		return nil
	}
}

// Shutdown detaches the mount point at once, refuses further opens for
// writing, serves files that are open until they are closed or ctx ends, keeps
// what is unfinished as uploads, as far as the driver lets it, and ends the
// mount. Wait returns then.
func (m *Mount) Shutdown(ctx context.Context) error {
	m.fs.closing.Store(true)
	err := m.detach()
	select {
	case <-m.done:
		return err
	case <-ctx.Done():
	}
	go m.end()
	select {
	case <-m.done:
	case <-time.After(keepTimeout):
		m.fs.log.Error("the store hangs: what was being written is left as a crash leaves it")
		m.leave.Do(func() { close(m.left) })
	}
	return errors.Join(err, fmt.Errorf("fsmount: files were still open: %w", context.Cause(ctx)))
}

// detach takes the mount point out of the tree; files that are open stay.
func (m *Mount) detach() error {
	out, err := exec.Command("fusermount3", "-u", "-z", "--", m.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fsmount: unmount %s: %w: %s", m.dir, err, strings.TrimSpace(string(out)))
	}
	return nil
}
