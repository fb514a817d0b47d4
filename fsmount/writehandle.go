package fsmount

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
	"registryfs/fsmount/loop"
)

// writeHandle is a file open for writing. Closing publishes what was written,
// at FLUSH, so that close(2) returns the verdict. But FLUSH is not close:
// shells send it before the first write (they dup the descriptor), and
// children of a subshell send one each in the middle of the file. Hence:
//
//   - a name with a digest in it knows when it is whole: it is published at
//     the FLUSH where the digest fits, whoever sends it;
//   - anything else is published at a FLUSH after a write, by the process that
//     opened; other processes' wait for the release;
//   - a process that is dying of a signal publishes nothing;
//   - a FLUSH that fails ends nothing: more may be written.
type writeHandle struct {
	fs    *fileSystem
	node  fusefs.Node
	file  *stagedFile // nil where a published node was opened
	goal  target      // where file is nil
	bytes *staging
	tid   uint32 // that opened
	tgid  int
	at    placeName // guarded by the table

	interrupted atomic.Bool // the last to flush was dying
	flushed     atomic.Bool // by the opener, since the last write
	isUnlinked  atomic.Bool // where file is nil: the name was removed
	isUsed      atomic.Bool // something was done through it, or it was opened with O_TRUNC

	mu        sync.Mutex
	published *publication // the last of this handle, or nil
	verdict   error        // of the last flush, until more is written
	ended     bool
	lost      error         // what who closes hears when the mount ended first
	gone      chan struct{} // closed when ended
}

var (
	_ fusefs.HandleReader   = (*writeHandle)(nil)
	_ fusefs.HandleWriter   = (*writeHandle)(nil)
	_ fusefs.HandleFlusher  = (*writeHandle)(nil)
	_ fusefs.HandleReleaser = (*writeHandle)(nil)
	_ loop.HandleSetattrer  = (*writeHandle)(nil)
	_ loop.HandleFsyncer    = (*writeHandle)(nil)
)

// newWriteHandle begins a handle on a node whose bytes are to become t.
func (f *fileSystem) newWriteHandle(node fusefs.Node, t target, bytes *staging, tid uint32) *writeHandle {
	h := &writeHandle{fs: f, node: node, goal: t, bytes: bytes, tid: tid, tgid: threadGroup(tid), gone: make(chan struct{})}
	h.file, _ = node.(*stagedFile)
	f.handles.add(h, placeName{t.place, t.name})
	return h
}

// openTarget begins a handle on a published node that holds b. What that is
// when it is closed becomes t, if it was written to.
func (f *fileSystem) openTarget(node fusefs.Node, b *before, t target, req *fuse.OpenRequest) (*writeHandle, error) {
	if f.isClosing() {
		return nil, refuse(errClosing, "the mount is being closed")
	}
	if req.Flags&fuse.OpenAppend != 0 && (t.digest != "" || t.isLayoutFile()) {
		return nil, refuse(errPerm, "stored content cannot be appended to")
	}
	bytes, err := f.newStaging(t.place.repo)
	if err != nil {
		return nil, err
	}
	bytes.startWith(b)
	return f.newWriteHandle(node, t, bytes, req.Header.Pid), nil
}

// setSize truncates a published node, which is refused: what is stored keeps
// its size. But opening with O_TRUNC arrives as an open and then this, without
// the handle that is truncated.
func (f *fileSystem) setSize(ctx context.Context, node fusefs.Node, path string, req *fuse.SetattrRequest) error {
	if !req.Valid.Size() {
		return nil
	}
	if req.Size == 0 {
		if h := f.handles.opening(node, req.Header.Pid); h != nil {
			return f.fail(&req.Header, "truncate", path, h.bytes.truncate(ctx, 0))
		}
	}
	return f.fail(&req.Header, "truncate", path, refuse(errPerm, "stored content cannot be truncated"))
}

func (h *writeHandle) target() target {
	if h.file != nil {
		return h.file.goal()
	}
	if h.isUnlinked.Load() {
		return h.goal.unlinked()
	}
	return h.goal
}

// IsQuick reports whether a request is answered without waiting: writing is,
// once there is a file to write to.
func (h *writeHandle) IsQuick(req fuse.Request) bool {
	write, ok := req.(*fuse.WriteRequest)
	if !ok {
		return false
	}
	off := write.Offset
	if h.isAppend(write) {
		off = maxFileSize
	}
	return h.bytes.isReady(off)
}

func (h *writeHandle) Read(ctx context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	h.isUsed.Store(true)
	if stored, ok := h.node.(blobFile); ok && req.Flags&fuse.ReadLockOwner == 0 {
		// Not read(2), but the page cache, for a map: readers share that.
		return h.fs.read(ctx, req, resp, stored.path(), stored)
	}
	return h.fs.read(ctx, req, resp, h.target().path(), h.bytes)
}

// isAppend reports whether a write is one to the end, wherever the kernel takes
// that to be: of a published node it knows the published size.
func (h *writeHandle) isAppend(req *fuse.WriteRequest) bool {
	return h.file == nil && req.FileFlags&fuse.OpenAppend != 0
}

func (h *writeHandle) Write(ctx context.Context, req *fuse.WriteRequest, resp *fuse.WriteResponse) error {
	if err := h.changes(); err != nil {
		return err
	}
	if h.file != nil {
		h.file.touched()
	}
	var err error
	if h.isAppend(req) {
		resp.Size, err = h.bytes.append(ctx, req.Data)
	} else {
		resp.Size, err = h.bytes.writeAt(ctx, req.Data, req.Offset)
	}
	return h.fs.fail(&req.Header, "write", h.target().path(), err)
}

// Setattr truncates what is written through this handle. A truncate of the
// node itself is for that.
func (h *writeHandle) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	if !req.Valid.Size() {
		return nil
	}
	if err := h.changes(); err != nil {
		return err
	}
	return h.fs.fail(&req.Header, "truncate", h.target().path(), h.bytes.truncate(ctx, int64(req.Size)))
}

// Fsync makes durable what is written through this handle. Others of the node
// may have bytes of their own, which their owners see to.
func (h *writeHandle) Fsync(ctx context.Context, req *fuse.FsyncRequest) error {
	return h.fs.fail(&req.Header, "fsync", h.target().path(), h.bytes.sync(ctx))
}

// changes takes note that the bytes are about to change: the last verdict is
// none of theirs.
func (h *writeHandle) changes() error {
	h.isUsed.Store(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.verdict = nil
	h.flushed.Store(false)
	if h.ended {
		return errClosing
	}
	return nil
}

func (h *writeHandle) Flush(ctx context.Context, req *fuse.FlushRequest) error {
	h.isUsed.Store(true)
	if h.isOpener(req.Header.Pid) {
		h.flushed.Store(true)
	}
	if isDying(req.Header.Pid) {
		// No signal reaches it any more: it must not wait for anything.
		h.interrupted.Store(true)
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.target()
	if h.ended {
		return h.lost
	}
	if !t.isCommitted() {
		return nil
	}
	h.interrupted.Store(false)
	if !h.isPublishable(t) {
		return h.fs.fail(&req.Header, "close", t.path(), h.keepEmpty(t))
	}
	isWhole := t.digest != "" && h.matches(ctx, t.digest)
	if !isWhole && !h.isOpener(req.Header.Pid) {
		return nil
	}
	if h.verdict != nil && !errors.Is(h.verdict, context.Canceled) {
		return errnoOf(h.verdict) // nothing was written since
	}
	h.verdict = h.publish(ctx, t)
	return h.fs.fail(&req.Header, "close", t.path(), h.verdict)
}

// isPublishable reports whether there is something to publish: bytes that have
// not been, or none where none are what the name promises.
func (h *writeHandle) isPublishable(t target) bool {
	size, changed := h.bytes.length()
	if t.isLayoutFile() {
		return changed && size > 0 // tools truncate before they write
	}
	return changed || size == 0 && h.published == nil && t.digest != "" && digest.Matches(t.digest, nil)
}

// matches reports whether the bytes so far are what the name promises.
func (h *writeHandle) matches(ctx context.Context, want digest.Digest) bool {
	if !digest.IsCanonical(want) {
		return false
	}
	got, err := h.bytes.digest(ctx)
	return err == nil && got == want
}

// isOpener reports whether a thread is of the process that opened the file.
// A thread that is not known, as the kernel's own, counts as such.
func (h *writeHandle) isOpener(tid uint32) bool {
	if tid == h.tid || tid == 0 {
		return true
	}
	tgid := threadGroup(tid)
	return tgid == 0 || h.tgid == 0 || tgid == h.tgid
}

// publish makes what was written visible and takes back what this handle made
// visible before.
func (h *writeHandle) publish(ctx context.Context, t target) error {
	made, err := h.fs.publish(ctx, t, h.bytes)
	if err != nil {
		return err
	}
	if old := h.published; old != nil && old.digest != made.digest {
		h.fs.retract(context.WithoutCancel(ctx), h.bytes.repo, *old)
	} else if old != nil {
		made.link = made.link.Since(old.link) // it was there because of this handle
	}
	h.published = &made
	return nil
}

// keepEmpty gives a file that is closed empty a name in the mount, for a
// moment: it is a placeholder, as touch and tar make them.
func (h *writeHandle) keepEmpty(t target) error {
	if h.file == nil || t.isLayoutFile() || !h.file.isEmpty() || h.published != nil || h.file.isNamed() {
		return nil
	}
	if err := h.fs.names.mayAdd(); err != nil {
		return err
	}
	h.fs.names.putNew(t.place, t.name, local{file: h.file})
	h.fs.sweepLater()
	return nil
}

func (h *writeHandle) Release(ctx context.Context, req *fuse.ReleaseRequest) error {
	if b, ok := h.node.(blobFile); ok {
		defer h.fs.pages.close(b)
	}
	h.end(context.WithoutCancel(ctx), true)
	return nil
}

// end is the last chance to publish, where that is allowed; nobody hears of a
// failure but by .registryfs/errors. Without it only what is sure to be whole
// is published, because the name knows it.
func (h *writeHandle) end(ctx context.Context, mayPublish bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	h.ended = true
	defer close(h.gone)
	defer h.fs.handles.remove(h) // last: who waits for the file looks here
	if h.file != nil && h.bytes == h.file.content() {
		defer h.file.closed()
	}
	t := h.target()
	switch {
	case t.means == anUpload:
		h.keep(t, nil)
	case t.means == aScratch || !h.isPublishable(t):
		if !h.isAwaited() && !h.isShared() {
			h.drop(ctx)
		}
	case h.interrupted.Load():
		h.keep(t, errors.New("the writer was interrupted"))
	case h.verdict != nil && !errors.Is(h.verdict, context.Canceled):
		h.drop(ctx)
	case mayPublish || t.digest != "" && h.matches(ctx, t.digest):
		if err := h.publish(ctx, t); err != nil {
			h.keep(t, err)
			return
		}
		h.drop(ctx)
	default:
		h.lost = errClosing
		h.keep(t, errors.New("the mount ended while the file was open"))
	}
}

// isAwaited reports whether the bytes are those of a name in the mount: a
// temporary or a placeholder, which somebody will come back for.
func (h *writeHandle) isAwaited() bool {
	return h.file != nil && h.bytes == h.file.content() && h.file.isNamed()
}

// isShared reports whether others have the bytes open.
func (h *writeHandle) isShared() bool {
	return h.file != nil && h.bytes == h.file.content() && h.file.handles() > 1
}

// isClosing reports whether the file seems to be closed, though the kernel has
// not released it yet: it does that some time after close(2).
func (h *writeHandle) isClosing() bool { return h.flushed.Load() }

func (h *writeHandle) drop(ctx context.Context) {
	if err := h.bytes.drop(ctx); err != nil {
		h.fs.log.Warn("cannot remove what was written", "path", h.target().path(), "error", err)
	}
}

// keep leaves the bytes as an upload, and says where and why. The files of a
// layout are no content that anybody would go on with.
func (h *writeHandle) keep(t target, why error) {
	if t.isLayoutFile() {
		h.drop(context.Background())
		h.fs.note(h.tid, "close", t.path(), why)
		return
	}
	id, err := h.bytes.keep()
	switch {
	case err != nil:
		why = errors.Join(why, err)
	case id == "" || why == nil:
		return
	default:
		why = fmt.Errorf("%w; kept as upload %s", why, id)
	}
	h.fs.note(h.tid, "close", t.path(), why)
}
