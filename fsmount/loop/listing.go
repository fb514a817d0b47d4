package loop

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// KeptDirectory is a directory whose listing the kernel may keep. ListingKept
// says for how long after it was made, and of which version of the directory a
// listing made now would be: one of an earlier version is not kept any longer.
// Changes that the kernel itself asks for, by CREATE and its like in the
// directory, need no new version.
type KeptDirectory interface {
	ListingKept() (valid time.Duration, version uint64)
}

// listing is what the kernel may have of the listing of a directory. It keeps
// what it reads through handles that allow that, until it is told otherwise by
// the answer to OPENDIR. Such handles can be open while that changes and would
// then mix listings; so the kernel begins anew only when there are none.
type listing struct {
	mu      sync.Mutex
	caching int  // handles through which the kernel keeps what it reads
	isKept  bool // it may have something
	version uint64
	made    time.Time
	read    *encoded // the latest that a handle has read and not let go of
}

// openDir decides whether the kernel may use the listing that it has, or keep
// another.
func (c *call) openDir(h *handle, s *fuse.OpenResponse) {
	dir, ok := c.node.Node.(KeptDirectory)
	if !ok {
		return
	}
	valid, version := dir.ListingKept()
	if valid <= 0 {
		return
	}
	l := c.loop.nodes.listing(c.node)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.isKept && l.version == version && time.Since(l.made) < valid:
		s.Flags |= fuse.OpenKeepCache
	case l.caching > 0:
		return // it is read as it is now, past what the kernel has
	case l.isKept:
		// Linux 6.9 to 6.12 keep what they are not told to keep.
		if err := c.loop.conn.InvalidateNode(c.node.id, 0, -1); err != nil && !errors.Is(err, fuse.ErrNotCached) {
			return
		}
		l.isKept = false
	}
	s.Flags |= fuse.OpenCacheDir
	l.caching++
	h.caching = true
}

// keep takes note that the kernel is given a listing to keep.
func (l *listing) keep(version uint64, made time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isKept && l.version != version {
		version, made = 0, time.Time{} // parts of two: of no use to anybody
	}
	if !l.isKept || made.Before(l.made) {
		l.made = made
	}
	l.isKept, l.version = true, version
}

// closeDir ends a handle of a directory.
func (c *call) closeDir() {
	h := c.handle
	h.mu.Lock()
	defer h.mu.Unlock()
	c.dropListing()
	if !h.caching {
		return
	}
	l := c.loop.nodes.listing(h.node)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.caching--
}

// dropListing lets go of the listing that the handle has read. The caller holds
// its lock.
func (c *call) dropListing() {
	if h := c.handle; h.listing != nil {
		c.loop.nodes.listing(h.node).drop(h.listing, &c.loop.listings)
		h.listing, h.all, h.isRead = nil, nil, false
	}
}

// listing is what the kernel may have of the listing of a node.
func (ns *nodes) listing(n *node) *listing {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n.listing == nil {
		n.listing = &listing{}
	}
	return n.listing
}

// has reports whether a READ is answered from what the handle has. It does not
// wait for that to come.
func (h *handle) has(r *fuse.ReadRequest) bool {
	if !h.mu.TryLock() {
		return false
	}
	defer h.mu.Unlock()
	return h.isRead && !(r.Dir && r.Offset == 0)
}

// isBusy reports whether a READ of the handle goes on: the kernel need not wait
// for one whose maker was killed.
func (h *handle) isBusy() bool {
	isFree := h.mu.TryLock()
	if isFree {
		h.mu.Unlock()
	}
	return !isFree
}

// readDir answers from the listing that is made when reading begins, and anew
// when it goes back to the beginning.
func (c *call) readDir(ctx context.Context, r *fuse.ReadRequest) (func(), error) {
	dir, ok := c.handle.Handle.(fusefs.HandleReadDirAller)
	if !ok {
		return nil, syscall.ENOTDIR
	}
	h := c.handle
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.isRead || r.Offset == 0 {
		made := time.Now()
		if h.caching {
			_, h.version = h.node.Node.(KeptDirectory).ListingKept()
		}
		entries, err := dir.ReadDirAll(ctx)
		if err != nil {
			return nil, err
		}
		c.dropListing()
		held, err := c.loop.nodes.listing(h.node).hold(encode(entries), &c.loop.listings)
		if err != nil {
			return nil, err
		}
		h.listing, h.all, h.isRead = held, held.bytes, true
		if h.caching {
			c.loop.nodes.listing(h.node).keep(h.version, made)
		}
	}
	s := &fuse.ReadResponse{Data: page(h.all, r)}
	return func() { r.Respond(s) }, nil
}

// encode puts a listing in the form in which the kernel reads it.
func encode(entries []fuse.Dirent) []byte {
	const header, word = 24, 8 // of struct fuse_dirent
	size := 0
	for _, e := range entries {
		size += header + (len(e.Name)+word-1)/word*word
	}
	all := make([]byte, 0, size)
	for _, e := range entries {
		all = fuse.AppendDirent(all, e)
	}
	return all
}
