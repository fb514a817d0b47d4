package fsmount

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	fusefs "bazil.org/fuse/fs"
)

// handles is every handle that is open for writing, by node, since who opens
// with O_TRUNC, or syncs, is heard of by the node, and by name, for who removes
// that. The loop bounds how many are open.
type handles struct {
	mu     sync.Mutex
	byNode map[fusefs.Node][]*writeHandle
	byName map[placeName][]*writeHandle
}

func newHandles() *handles {
	return &handles{byNode: map[fusefs.Node][]*writeHandle{}, byName: map[placeName][]*writeHandle{}}
}

func (hs *handles) add(h *writeHandle, at placeName) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.at = at
	hs.byNode[h.node] = append(hs.byNode[h.node], h)
	hs.byName[at] = append(hs.byName[at], h)
}

func (hs *handles) remove(h *writeHandle) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	takeOut(hs.byNode, h.node, h)
	takeOut(hs.byName, h.at, h)
}

// takeOut takes a handle out of a table. Who has a list of it keeps that as it
// is.
func takeOut[K comparable](table map[K][]*writeHandle, key K, h *writeHandle) {
	open := table[key]
	if i := slices.Index(open, h); i >= 0 {
		open = append(open[:i:i], open[i+1:]...)
	}
	if len(open) == 0 {
		delete(table, key)
	} else {
		table[key] = open
	}
}

// rename gives what is written to a node another name.
func (hs *handles) rename(node fusefs.Node, to placeName) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.byNode[node] {
		takeOut(hs.byName, h.at, h)
		h.at = to
		hs.byName[to] = append(hs.byName[to], h)
	}
}

// unlink takes its name from the file of a handle.
func (hs *handles) unlink(h *writeHandle) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	of := []*writeHandle{h}
	if h.file != nil {
		of = hs.byNode[h.node]
	}
	for _, h := range of {
		takeOut(hs.byName, h.at, h)
		h.at = placeName{}
	}
}

// named is what is written under a name, the last opened last.
func (hs *handles) named(at placeName) []*writeHandle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.byName[at]
}

// opening is the handle that a thread is just opening on a node, or nil: the
// last that it has opened, as long as nothing has been done through it. The
// answer is given once.
func (hs *handles) opening(node fusefs.Node, tid uint32) *writeHandle {
	hs.mu.Lock()
	open := hs.byNode[node]
	hs.mu.Unlock()
	for i := len(open) - 1; i >= 0; i-- {
		if h := open[i]; h.tid == tid {
			if h.isUsed.Swap(true) {
				return nil
			}
			return h
		}
	}
	return nil
}

// sync makes what was written to a node durable, through whichever handle. What
// has ended has been published, kept or dropped.
func (hs *handles) sync(ctx context.Context, node fusefs.Node) error {
	hs.mu.Lock()
	open := hs.byNode[node]
	hs.mu.Unlock()
	var errs []error
	for _, h := range open {
		if err := h.bytes.sync(ctx); err != nil && errnoOf(err) != errClosing {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// releasePause is how long the release of a closed file is waited for. What it
// has to make durable may take its time on a busy disk.
const releasePause = 5 * time.Second

// released waits for the handles of a node that seem to be closed, and reports
// whether the node is not open any more.
func (hs *handles) released(ctx context.Context, node fusefs.Node) bool {
	hs.mu.Lock()
	open := hs.byNode[node]
	hs.mu.Unlock()
	late := time.After(releasePause)
	for _, h := range open {
		if !h.isClosing() {
			return false
		}
		select {
		case <-h.gone:
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// all is every handle.
func (hs *handles) all() []*writeHandle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var all []*writeHandle
	for _, open := range hs.byNode {
		all = append(all, open...)
	}
	return all
}
