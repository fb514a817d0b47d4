package loop

import (
	fusefs "bazil.org/fuse/fs"

	"bazil.org/fuse"
)

// StoreAlign is the size in bytes of the pages that Store fills: a piece ends
// at a multiple of it, or at the end of the file.
const StoreAlign = 4096

// Store puts content of a node into the kernel's page cache. It must not be
// called for a range that a READ may wait for, nor under a lock that a READ may
// need. Errors: fuse.ErrNotCached where the kernel does not know the node.
func (l *Loop) Store(n fusefs.Node, p []byte, off int64) error {
	id, ok := l.nodes.idOf(n)
	if !ok {
		return fuse.ErrNotCached
	}
	return store(l.device, id, p, off)
}

// Knows reports whether the kernel knows a node, and so perhaps what is below it.
func (l *Loop) Knows(n fusefs.Node) bool {
	_, ok := l.nodes.idOf(n)
	return ok
}

// DropAttr makes the kernel forget the attributes of a node.
func (l *Loop) DropAttr(n fusefs.Node) error { return l.invalidate(n, 0) }

// DropPages makes the kernel forget the content and the attributes of a node.
// It must not be called where a READ of the node may wait.
func (l *Loop) DropPages(n fusefs.Node) error { return l.invalidate(n, -1) }

func (l *Loop) invalidate(n fusefs.Node, size int64) error {
	id, ok := l.nodes.idOf(n)
	if !ok {
		return fuse.ErrNotCached
	}
	return l.conn.InvalidateNode(id, 0, size)
}
