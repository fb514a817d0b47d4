package fsmount

import (
	"context"
	"errors"
	"sync"
	"time"

	fusefs "bazil.org/fuse/fs"
)

// handles is every handle that is open for writing, by node: who opens with
// O_TRUNC, or syncs, is heard of by the node. The loop bounds how many are open.
type handles struct {
	mu     sync.Mutex
	byNode map[fusefs.Node][]*writeHandle
}

func newHandles() *handles { return &handles{byNode: map[fusefs.Node][]*writeHandle{}} }

func (hs *handles) add(h *writeHandle) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.byNode[h.node] = append(hs.byNode[h.node], h)
}

func (hs *handles) remove(h *writeHandle) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	open := hs.byNode[h.node]
	for i, other := range open {
		if other == h {
			open = append(open[:i:i], open[i+1:]...)
			break
		}
	}
	if len(open) == 0 {
		delete(hs.byNode, h.node)
	} else {
		hs.byNode[h.node] = open
	}
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

// sync makes what was written to a node durable, through whichever handle.
func (hs *handles) sync(ctx context.Context, node fusefs.Node) error {
	hs.mu.Lock()
	open := hs.byNode[node]
	hs.mu.Unlock()
	var errs []error
	for _, h := range open {
		errs = append(errs, h.bytes.sync(ctx))
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
