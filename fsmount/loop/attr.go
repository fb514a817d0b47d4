package loop

import (
	"context"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// attrOf is the attributes of a node.
func attrOf(ctx context.Context, n fusefs.Node, a *fuse.Attr) error {
	a.Nlink = 1
	return n.Attr(ctx, a)
}

func (c *call) getattr(ctx context.Context, r *fuse.GetattrRequest) (func(), error) {
	s := &fuse.GetattrResponse{}
	var err error
	if n, ok := c.node.Node.(fusefs.NodeGetattrer); ok {
		err = n.Getattr(ctx, r, s)
	} else {
		err = attrOf(ctx, c.node.Node, &s.Attr)
	}
	return func() { r.Respond(s) }, err
}

// HandleSetattrer is a handle that is asked in place of its node where SETATTR
// comes through it, as from ftruncate(2).
type HandleSetattrer interface {
	fusefs.NodeSetattrer
}

func (c *call) setattr(ctx context.Context, r *fuse.SetattrRequest) (func(), error) {
	s := &fuse.SetattrResponse{}
	setter, ok := c.node.Node.(fusefs.NodeSetattrer)
	if c.handle != nil {
		if h, is := c.handle.Handle.(HandleSetattrer); is {
			setter, ok = h, true
		}
	}
	if ok {
		if err := setter.Setattr(ctx, r, s); err != nil {
			return nil, err
		}
	}
	return func() { r.Respond(s) }, attrOf(ctx, c.node.Node, &s.Attr)
}

func (c *call) readlink(ctx context.Context, r *fuse.ReadlinkRequest) (func(), error) {
	n, ok := c.node.Node.(fusefs.NodeReadlinker)
	if !ok {
		return nil, syscall.EINVAL
	}
	text, err := n.Readlink(ctx, r)
	return func() { r.Respond(text) }, err
}

func (c *call) getxattr(ctx context.Context, r *fuse.GetxattrRequest) (func(), error) {
	n, ok := c.node.Node.(fusefs.NodeGetxattrer)
	if !ok || isForeignXattr(r.Name) {
		return nil, syscall.ENOTSUP
	}
	s := &fuse.GetxattrResponse{}
	err := n.Getxattr(ctx, r, s)
	if err == nil && r.Size != 0 && len(s.Xattr) > int(r.Size) {
		err = syscall.ERANGE
	}
	return func() { r.Respond(s) }, err
}

func (c *call) listxattr(ctx context.Context, r *fuse.ListxattrRequest) (func(), error) {
	n, ok := c.node.Node.(fusefs.NodeListxattrer)
	if !ok {
		return nil, syscall.ENOTSUP
	}
	s := &fuse.ListxattrResponse{}
	err := n.Listxattr(ctx, r, s)
	if err == nil && r.Size != 0 && len(s.Xattr) > int(r.Size) {
		err = syscall.ERANGE
	}
	return func() { r.Respond(s) }, err
}
