package loop

import (
	"sync"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// Known is a node that is told when the kernel comes to know it, as it is told
// by Forget when the kernel does not any more. All nodes wait for either: they
// must not call the loop.
type Known interface {
	Known()
}

// node is a node that the kernel knows.
type node struct {
	fusefs.Node
	id      fuse.NodeID
	lookups uint64 // that the kernel has not forgotten
	listing *listing
}

// nodes is the nodes that the kernel knows. Equal nodes have one number for as
// long as that lasts; no number is ever used again. How many there are is for
// the kernel to say, which needs more memory for each than the few hundred bytes
// here, and forgets what it has not used for long when memory is short.
type nodes struct {
	mu     sync.Mutex
	last   fuse.NodeID
	byID   map[fuse.NodeID]*node
	byNode map[fusefs.Node]*node
}

func (ns *nodes) init() {
	ns.byID, ns.byNode = map[fuse.NodeID]*node{}, map[fusefs.Node]*node{}
}

// addRoot gives the root its number. The kernel forgets it never.
func (ns *nodes) addRoot(root fusefs.Node) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.last = fuse.RootID
	ns.insert(&node{Node: root, id: ns.last, lookups: 1})
}

// insert adds a node. The caller holds mu.
func (ns *nodes) insert(n *node) {
	ns.byID[n.id], ns.byNode[n.Node] = n, n
}

// save is the number under which the kernel will know a node once more.
func (ns *nodes) save(found fusefs.Node) fuse.NodeID {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n := ns.byNode[found]
	if n == nil {
		ns.last++
		n = &node{Node: found, id: ns.last}
		ns.insert(n)
		// Under the lock, as Forget is: a node may be found once more while it
		// is being forgotten.
		if k, ok := found.(Known); ok {
			k.Known()
		}
	}
	n.lookups++
	return n.id
}

// get is the node of a number, or nil.
func (ns *nodes) get(id fuse.NodeID) *node {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.byID[id]
}

// idOf is the number of a node, where the kernel knows it.
func (ns *nodes) idOf(n fusefs.Node) (fuse.NodeID, bool) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	known := ns.byNode[n]
	if known == nil {
		return 0, false
	}
	return known.id, true
}

// forget takes back lookups of a node, and tells it when none are left.
func (ns *nodes) forget(id fuse.NodeID, lookups uint64) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n := ns.byID[id]
	if n == nil || id == fuse.RootID {
		return
	}
	if n.lookups -= min(lookups, n.lookups); n.lookups > 0 {
		return
	}
	delete(ns.byID, id)
	delete(ns.byNode, n.Node)
	if f, ok := n.Node.(fusefs.NodeForgetter); ok {
		f.Forget()
	}
}
