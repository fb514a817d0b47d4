package loop

import (
	"context"

	"bazil.org/fuse"
)

// unsaid takes back what the answer to a request would have told the kernel,
// which no longer waits for it: the kernel will not forget the node, nor release
// the handle. What it knows of the names may be wrong by now.
func (c *call) unsaid() {
	if h := c.loop.handles.get(c.opened); h != nil {
		release := &fuse.ReleaseRequest{Header: *c.req.Hdr(), Handle: c.opened}
		_, _ = (&call{loop: c.loop, req: release, node: c.node, handle: h}).serve(context.Background())
	}
	if c.entered != 0 {
		c.loop.nodes.forget(c.entered, 1)
	}
	dir := c.req.Hdr().Node
	switch r := c.req.(type) {
	case *fuse.CreateRequest:
		c.dropName(dir, r.Name)
	case *fuse.MkdirRequest:
		c.dropName(dir, r.Name)
	case *fuse.SymlinkRequest:
		c.dropName(dir, r.NewName)
	case *fuse.LinkRequest:
		c.dropName(dir, r.NewName)
	case *fuse.RemoveRequest:
		c.dropName(dir, r.Name)
	case *fuse.RenameRequest:
		c.dropName(dir, r.OldName)
		c.dropName(r.NewDir, r.NewName)
	}
}

// dropName makes the kernel forget a name. It waits until nobody changes the
// directory, and so perhaps for other requests: it must not keep what these need.
func (c *call) dropName(dir fuse.NodeID, name string) {
	c.loop.running.Go(func() { _ = c.loop.conn.InvalidateEntry(dir, name) })
}
