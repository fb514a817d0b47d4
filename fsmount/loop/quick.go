package loop

import (
	"strings"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// Quick is a node or a handle that knows which requests it answers without
// waiting for anything. A node is asked about OPEN, GETXATTR and LISTXATTR, a
// handle about READ, WRITE, FLUSH and RELEASE. Without it these can wait; LOOKUP,
// GETATTR and READLINK are taken to be quick, unless a node is [Slow].
type Quick interface {
	IsQuick(req fuse.Request) bool
}

// Slow is a node that knows which of its LOOKUP and GETATTR can take long.
type Slow interface {
	IsSlow(req fuse.Request) bool
}

// isQuick reports whether a reader answers the request itself.
func (c *call) isQuick() bool {
	switch r := c.req.(type) {
	case *fuse.LookupRequest, *fuse.GetattrRequest:
		n, ok := c.node.Node.(Slow)
		return !ok || !n.IsSlow(c.req)
	case *fuse.ReadlinkRequest, *fuse.AccessRequest, *fuse.PollRequest, *fuse.UnrecognizedRequest:
		return true
	case *fuse.GetxattrRequest:
		return isForeignXattr(r.Name) || c.isQuickFor(c.node.Node)
	case *fuse.ListxattrRequest:
		return c.isQuickFor(c.node.Node)
	case *fuse.OpenRequest:
		return r.Dir || c.isQuickFor(c.node.Node)
	case *fuse.ReadRequest:
		return c.handle.has(r) || !r.Dir && c.isQuickFor(c.handle.Handle)
	case *fuse.WriteRequest:
		return c.isQuickFor(c.handle.Handle)
	case *fuse.FlushRequest:
		_, ok := c.handle.Handle.(fusefs.HandleFlusher)
		return !ok || c.isQuickFor(c.handle.Handle)
	case *fuse.ReleaseRequest:
		_, ok := c.handle.Handle.(fusefs.HandleReleaser)
		return !ok && !c.handle.isBusy() || c.isQuickFor(c.handle.Handle)
	}
	return false
}

func (c *call) isQuickFor(x any) bool {
	q, ok := x.(Quick)
	return ok && q.IsQuick(c.req)
}

// isForeignXattr reports whether an extended attribute is the kernel's own:
// no node has any. It asks for these more often than users for theirs.
func isForeignXattr(name string) bool {
	return strings.HasPrefix(name, "security.") || strings.HasPrefix(name, "system.")
}
