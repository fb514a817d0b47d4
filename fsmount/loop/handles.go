package loop

import (
	"sync"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// maxHandles is how many files and directories can be open at once.
const maxHandles = 1 << 17

// handle is a file or a directory that is open.
type handle struct {
	fusefs.Handle
	node *node

	mu      sync.Mutex
	all     []byte // a listing, or the whole of what reads itself at once
	isRead  bool   // all is there
	version uint64 // of the directory in all
	caching bool   // the kernel keeps the listing that it reads here
	listing *encoded
}

// handles is what is open. No number is ever used again.
type handles struct {
	max int

	mu   sync.Mutex
	last fuse.HandleID
	byID map[fuse.HandleID]*handle
}

func (hs *handles) init() { hs.max, hs.byID = maxHandles, map[fuse.HandleID]*handle{} }

func (hs *handles) add(h *handle) fuse.HandleID {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.last++
	hs.byID[hs.last] = h
	return hs.last
}

// areTooMany is asked before one more is opened: those that are being opened
// meanwhile go beyond the limit.
func (hs *handles) areTooMany() bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return len(hs.byID) >= hs.max
}

// get is the handle of a number, or nil.
func (hs *handles) get(id fuse.HandleID) *handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.byID[id]
}

func (hs *handles) remove(id fuse.HandleID) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(hs.byID, id)
}
