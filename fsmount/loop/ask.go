package loop

import (
	"context"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// ask asks the node or the handle of a request for the answer. What it does not
// implement is answered as below.
func (c *call) ask(ctx context.Context) (respond func(), err error) {
	switch r := c.req.(type) {
	case *fuse.LookupRequest:
		return c.lookup(ctx, r)
	case *fuse.GetattrRequest:
		return c.getattr(ctx, r)
	case *fuse.SetattrRequest:
		return c.setattr(ctx, r)
	case *fuse.ReadlinkRequest:
		return c.readlink(ctx, r)
	case *fuse.OpenRequest:
		return c.open(ctx, r)
	case *fuse.ReadRequest:
		if r.Dir {
			return c.readDir(ctx, r)
		}
		return c.read(ctx, r)
	case *fuse.WriteRequest:
		return c.write(ctx, r)
	case *fuse.FlushRequest:
		if h, ok := c.handle.Handle.(fusefs.HandleFlusher); ok {
			err = h.Flush(ctx, r)
		}
		return r.Respond, err
	case *fuse.ReleaseRequest:
		return r.Respond, c.release(ctx, r)
	case *fuse.FsyncRequest:
		return r.Respond, c.fsync(ctx, r)

	case *fuse.CreateRequest:
		return c.create(ctx, r)
	case *fuse.MkdirRequest:
		return c.mkdir(ctx, r)
	case *fuse.SymlinkRequest:
		return c.symlink(ctx, r)
	case *fuse.LinkRequest:
		return c.link(ctx, r)
	case *fuse.MknodRequest:
		return c.mknod(ctx, r)
	case *fuse.RemoveRequest:
		if n, ok := c.node.Node.(fusefs.NodeRemover); ok {
			return r.Respond, n.Remove(ctx, r)
		}
		return nil, syscall.EPERM
	case *fuse.RenameRequest:
		return r.Respond, c.rename(ctx, r)

	case *fuse.GetxattrRequest:
		return c.getxattr(ctx, r)
	case *fuse.ListxattrRequest:
		return c.listxattr(ctx, r)
	case *fuse.SetxattrRequest:
		if n, ok := c.node.Node.(fusefs.NodeSetxattrer); ok {
			return r.Respond, n.Setxattr(ctx, r)
		}
		return nil, syscall.ENOTSUP
	case *fuse.RemovexattrRequest:
		if n, ok := c.node.Node.(fusefs.NodeRemovexattrer); ok {
			return r.Respond, n.Removexattr(ctx, r)
		}
		return nil, syscall.ENOTSUP

	case *fuse.StatfsRequest:
		s := &fuse.StatfsResponse{}
		if fs, ok := c.loop.fs.(fusefs.FSStatfser); ok {
			err = fs.Statfs(ctx, r, s)
		}
		return func() { r.Respond(s) }, err
	case *fuse.FAllocateRequest:
		return nil, syscall.ENOTSUP
	}
	return nil, syscall.ENOSYS
}
