package loop

import (
	"context"
	"sync"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// maxRead is the size in bytes of the largest READ of the kernel.
const maxRead = 128 << 10

// buffers are of maxRead bytes, for the answers to READ.
var buffers = sync.Pool{New: func() any { return new([maxRead]byte) }}

// handleOf is the handle that a request is about.
func handleOf(req fuse.Request) (fuse.HandleID, bool) {
	switch r := req.(type) {
	case *fuse.ReadRequest:
		return r.Handle, true
	case *fuse.WriteRequest:
		return r.Handle, true
	case *fuse.FlushRequest:
		return r.Handle, true
	case *fuse.ReleaseRequest:
		return r.Handle, true
	case *fuse.FsyncRequest:
		return r.Handle, true
	case *fuse.SetattrRequest:
		return r.Handle, r.Valid.Handle()
	}
	return 0, false
}

func (c *call) open(ctx context.Context, r *fuse.OpenRequest) (func(), error) {
	if c.loop.handles.areTooMany() {
		return nil, syscall.ENFILE
	}
	s := &fuse.OpenResponse{}
	h := &handle{Handle: c.node.Node, node: c.node}
	if n, ok := c.node.Node.(fusefs.NodeOpener); ok {
		opened, err := n.Open(ctx, r, s)
		if err != nil {
			return nil, err
		}
		h.Handle = opened
	}
	if r.Dir {
		c.openDir(h, s)
	}
	s.Handle = c.loop.handles.add(h)
	c.opened = s.Handle
	return func() { r.Respond(s) }, nil
}

func (c *call) read(ctx context.Context, r *fuse.ReadRequest) (func(), error) {
	s := &fuse.ReadResponse{}
	switch h := c.handle.Handle.(type) {
	case fusefs.HandleReadAller:
		all, err := c.handle.readAll(ctx, h)
		s.Data = page(all, r)
		return func() { r.Respond(s) }, err
	case fusefs.HandleReader:
		if r.Size > maxRead {
			s.Data = make([]byte, 0, r.Size)
			return func() { r.Respond(s) }, h.Read(ctx, r, s)
		}
		buffer := buffers.Get().(*[maxRead]byte)
		s.Data = buffer[:0]
		err := h.Read(ctx, r, s)
		if err != nil {
			buffers.Put(buffer)
		}
		return func() {
			r.Respond(s)
			buffers.Put(buffer)
		}, err
	}
	return nil, syscall.ENOTSUP
}

// readAll is the content of a handle that gives it in one piece, once.
func (h *handle) readAll(ctx context.Context, from fusefs.HandleReadAller) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.isRead {
		all, err := from.ReadAll(ctx)
		if err != nil {
			return nil, err
		}
		h.all, h.isRead = all, true
	}
	return h.all, nil
}

// page is the part of all that a request asks for.
func page(all []byte, r *fuse.ReadRequest) []byte {
	from := min(max(r.Offset, 0), int64(len(all)))
	return all[from:min(from+int64(r.Size), int64(len(all)))]
}

func (c *call) write(ctx context.Context, r *fuse.WriteRequest) (func(), error) {
	h, ok := c.handle.Handle.(fusefs.HandleWriter)
	if !ok {
		return nil, syscall.EBADF
	}
	s := &fuse.WriteResponse{}
	err := h.Write(ctx, r, s)
	return func() { r.Respond(s) }, err
}

// HandleFsyncer is a handle that is asked in place of its node for FSYNC.
type HandleFsyncer interface {
	fusefs.NodeFsyncer
}

func (c *call) fsync(ctx context.Context, r *fuse.FsyncRequest) error {
	if h, ok := c.handle.Handle.(HandleFsyncer); ok {
		return h.Fsync(ctx, r)
	}
	if n, ok := c.node.Node.(fusefs.NodeFsyncer); ok {
		return n.Fsync(ctx, r)
	}
	return syscall.EIO
}

// release ends a handle, whatever it says.
func (c *call) release(ctx context.Context, r *fuse.ReleaseRequest) error {
	c.loop.handles.remove(r.Handle)
	c.closeDir()
	if h, ok := c.handle.Handle.(fusefs.HandleReleaser); ok {
		return h.Release(ctx, r)
	}
	return nil
}
