package loop

import (
	"context"
	"errors"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// ErrAbsent is the answer to a LOOKUP that there is no such name, and that the
// kernel may keep that for EntryValid of the response. It is right only where
// nothing but a request with that very name can make it, or for as long as its
// coming may go unseen. The errno is ENOENT, as it is of other answers, which
// are not kept.
var ErrAbsent error = absent{}

type absent struct{}

func (absent) Error() string { return "there is no such name" }

func (absent) Errno() fuse.Errno { return fuse.Errno(syscall.ENOENT) }

// EntryValider is a node that says how long the kernel may keep the name that
// SYMLINK or MKDIR has given it. A name from LINK is never kept, since the
// answer must be a node of the kind of the old one, whatever the name is.
type EntryValider interface {
	EntryValid() time.Duration
}

// entry completes the answer that a name stands for a node.
func (c *call) entry(ctx context.Context, s *fuse.LookupResponse, n fusefs.Node) error {
	if err := attrOf(ctx, n, &s.Attr); err != nil {
		return err
	}
	s.Node = c.loop.nodes.save(n)
	c.entered = s.Node
	return nil
}

func (c *call) lookup(ctx context.Context, r *fuse.LookupRequest) (func(), error) {
	// The kernel looks before it makes anything, and takes names of 1024 bytes.
	if len(r.Name) > syscall.NAME_MAX {
		return nil, syscall.ENAMETOOLONG
	}
	s := &fuse.LookupResponse{}
	var found fusefs.Node
	var err error
	switch n := c.node.Node.(type) {
	case fusefs.NodeStringLookuper:
		found, err = n.Lookup(ctx, r.Name)
	case fusefs.NodeRequestLookuper:
		found, err = n.Lookup(ctx, r, s)
	default:
		return nil, syscall.ENOTDIR
	}
	switch {
	case errors.Is(err, ErrAbsent) && s.EntryValid > 0:
		s.Node = 0
		return func() { r.Respond(s) }, nil
	case err != nil:
		return nil, err
	}
	return func() { r.Respond(s) }, c.entry(ctx, s, found)
}

func (c *call) create(ctx context.Context, r *fuse.CreateRequest) (func(), error) {
	n, ok := c.node.Node.(fusefs.NodeCreater)
	if !ok {
		return nil, syscall.EPERM // after ENOSYS the kernel would try MKNOD
	}
	if c.loop.handles.areTooMany() {
		return nil, syscall.ENFILE
	}
	s := &fuse.CreateResponse{}
	made, opened, err := n.Create(ctx, r, s)
	if err != nil {
		return nil, err
	}
	if err := c.entry(ctx, &s.LookupResponse, made); err != nil {
		return nil, err
	}
	s.Handle = c.loop.handles.add(&handle{Handle: opened})
	c.opened = s.Handle
	return func() { r.Respond(s) }, nil
}

func (c *call) mkdir(ctx context.Context, r *fuse.MkdirRequest) (func(), error) {
	n, ok := c.node.Node.(fusefs.NodeMkdirer)
	if !ok {
		return nil, syscall.EPERM
	}
	made, err := n.Mkdir(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &fuse.MkdirResponse{}
	s.EntryValid = entryValid(made)
	return func() { r.Respond(s) }, c.entry(ctx, &s.LookupResponse, made)
}

func (c *call) symlink(ctx context.Context, r *fuse.SymlinkRequest) (func(), error) {
	n, ok := c.node.Node.(fusefs.NodeSymlinker)
	if !ok {
		return nil, syscall.EPERM
	}
	made, err := n.Symlink(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &fuse.SymlinkResponse{}
	s.EntryValid = entryValid(made)
	return func() { r.Respond(s) }, c.entry(ctx, &s.LookupResponse, made)
}

func entryValid(n fusefs.Node) time.Duration {
	if v, ok := n.(EntryValider); ok {
		return v.EntryValid()
	}
	return 0
}

func (c *call) link(ctx context.Context, r *fuse.LinkRequest) (func(), error) {
	n, ok := c.node.Node.(fusefs.NodeLinker)
	if !ok {
		return nil, syscall.EPERM
	}
	old := c.loop.nodes.get(r.OldNode)
	if old == nil {
		return nil, syscall.ESTALE
	}
	made, err := n.Link(ctx, r, old.Node)
	if err != nil {
		return nil, err
	}
	s := &fuse.LookupResponse{}
	return func() { r.Respond(s) }, c.entry(ctx, s, made)
}

func (c *call) mknod(ctx context.Context, r *fuse.MknodRequest) (func(), error) {
	n, ok := c.node.Node.(fusefs.NodeMknoder)
	if !ok {
		return nil, syscall.EPERM
	}
	made, err := n.Mknod(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &fuse.LookupResponse{}
	return func() { r.Respond(s) }, c.entry(ctx, s, made)
}

func (c *call) rename(ctx context.Context, r *fuse.RenameRequest) error {
	n, ok := c.node.Node.(fusefs.NodeRenamer)
	if !ok {
		return syscall.EPERM
	}
	dir := c.loop.nodes.get(r.NewDir)
	if dir == nil {
		return syscall.ESTALE
	}
	return n.Rename(ctx, r, dir.Node)
}
