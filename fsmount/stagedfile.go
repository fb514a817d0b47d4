package fsmount

import (
	"context"
	"sync"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// stagedFile is a file that has not been published: one that is being written,
// a temporary that waits for its rename, or a placeholder that was made and
// left empty.
type stagedFile struct {
	fs    *fileSystem
	inode uint64

	mu        sync.Mutex
	target    target
	bytes     *staging // what readers see
	writers   int      // handles that write to bytes
	readers   int      // handles that only read them
	uncached  bool     // the writers go past the kernel's page cache
	isTouched bool     // a byte was ever written
	changed   time.Time
}

var (
	_ fusefs.Node          = (*stagedFile)(nil)
	_ fusefs.NodeOpener    = (*stagedFile)(nil)
	_ fusefs.NodeSetattrer = (*stagedFile)(nil)
	_ fusefs.NodeFsyncer   = (*stagedFile)(nil)
)

func (f *fileSystem) newStagedFile(t target) (*stagedFile, error) {
	bytes, err := f.newStaging(t.place.repo)
	if err != nil {
		return nil, err
	}
	return &stagedFile{fs: f, inode: f.inodes.next(), target: t, bytes: bytes, changed: time.Now()}, nil
}

func (n *stagedFile) Attr(ctx context.Context, a *fuse.Attr) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fs.fileAttr(a, n.inode, n.bytes.size.Load())
	a.Nlink = 1
	a.Mtime, a.Ctime, a.Atime = n.changed, n.changed, n.changed
	a.Valid = 0
	return nil
}

func (n *stagedFile) Open(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	if req.Flags.IsReadOnly() {
		resp.Flags |= fuse.OpenDirectIO
		return n.openForReading(), nil
	}
	h, err := n.openForWriting(req.Header.Pid, req.Flags, resp)
	return h, n.fs.fail(&req.Header, "open", n.path(), err)
}

// openForWriting begins a handle. Writers of a temporary share its bytes, as
// writers of a file do; writers of a name that closing publishes get bytes of
// their own, so that each publishes what it wrote. What only writes goes past
// the kernel's page cache, which nobody will read; the writers of a file do so
// all or none.
func (n *stagedFile) openForWriting(tid uint32, flags fuse.OpenFlags, resp *fuse.OpenResponse) (*writeHandle, error) {
	if n.fs.isClosing() {
		return nil, refuse(errClosing, "the mount is being closed")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.writers == 0 {
		n.uncached = flags.IsWriteOnly()
	}
	if n.uncached {
		resp.Flags |= fuse.OpenDirectIO
	}
	bytes := n.bytes
	if n.writers > 0 && n.target.isCommitted() {
		var err error
		if bytes, err = n.fs.newStaging(n.target.place.repo); err != nil {
			return nil, err
		}
	} else {
		n.writers++
	}
	return n.fs.newWriteHandle(n, n.target, bytes, tid), nil
}

func (n *stagedFile) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	if !req.Valid.Size() {
		return nil
	}
	bytes := n.content()
	if req.Size == 0 {
		if h := n.fs.handles.opening(n, req.Header.Pid); h != nil {
			bytes = h.bytes
		}
	}
	return n.fs.fail(&req.Header, "truncate", n.path(), bytes.truncate(ctx, int64(req.Size)))
}

func (n *stagedFile) Fsync(ctx context.Context, req *fuse.FsyncRequest) error {
	return n.fs.fail(&req.Header, "fsync", n.path(), n.fs.handles.sync(ctx, n))
}

// touched takes note of a change of the content. A name that closing publishes
// is not to be found meanwhile, also where it was a placeholder's.
func (n *stagedFile) touched() {
	n.mu.Lock()
	isFirst, t := !n.isTouched, n.target
	n.isTouched, n.changed = true, time.Now()
	n.mu.Unlock()
	if isFirst && t.isCommitted() && !t.isLayoutFile() {
		n.fs.names.remove(t.place, t.name, local{file: n})
	}
}

// isForgotten reports whether this is a placeholder that nobody came back for.
// names calls it under its lock.
func (n *stagedFile) isForgotten() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.writers == 0 && !n.isTouched && time.Since(n.changed) > placeholderAge
}

// isIdleSince reports whether nobody has written to the file since then, or has
// it open to.
func (n *stagedFile) isIdleSince(then time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.writers == 0 && n.changed.Before(then)
}

func (n *stagedFile) content() *staging {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bytes
}

// goal is what the file is to become.
func (n *stagedFile) goal() target {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.target
}

// rename gives the file another name, and so another goal.
func (n *stagedFile) rename(t target) {
	n.mu.Lock()
	n.target = t
	n.mu.Unlock()
	n.fs.handles.rename(n, placeName{t.place, t.name})
}

// handles is how many handles have the bytes open that readers see.
func (n *stagedFile) handles() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.writers + n.readers
}

// isNamed reports whether the file can be found under its name.
func (n *stagedFile) isNamed() bool {
	t := n.goal()
	l, ok := n.fs.names.get(t.place, t.name)
	return ok && l.file == n
}

// isEmpty reports whether nothing was ever written to the file.
func (n *stagedFile) isEmpty() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.isTouched
}

// closed ends a handle that wrote to what readers see.
func (n *stagedFile) closed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.writers--
	n.changed = time.Now()
}

func (n *stagedFile) path() string { return n.goal().path() }

// stagedReader is a stagedFile open for reading only.
type stagedReader struct {
	file *stagedFile
}

var (
	_ fusefs.HandleReader   = (*stagedReader)(nil)
	_ fusefs.HandleReleaser = (*stagedReader)(nil)
)

func (n *stagedFile) openForReading() *stagedReader {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.readers++
	return &stagedReader{n}
}

func (h *stagedReader) Read(ctx context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	return h.file.fs.read(ctx, req, resp, h.file.path(), h.file.content())
}

func (h *stagedReader) Release(ctx context.Context, req *fuse.ReleaseRequest) error {
	h.file.mu.Lock()
	h.file.readers--
	h.file.mu.Unlock()
	if !h.file.isNamed() {
		h.file.fs.dropBytes(h.file)
	}
	return nil
}
