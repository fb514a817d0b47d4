package memdriver

import (
	"strings"
	"time"

	"registryfs/driver"
)

// node is a file or a directory. Whoever uses one holds the store's lock.
type node struct {
	children map[string]*node // of a directory
	modTime  time.Time        // of a directory
	content  *content         // of a file
}

func newDir() *node { return &node{children: make(map[string]*node), modTime: now()} }

func (n *node) isDir() bool { return n.content == nil }

// find returns the node that path names below n.
func (n *node) find(path string) (*node, error) {
	n, missing := n.nearest(path)
	switch {
	case missing == "":
		return n, nil
	case n.isDir():
		return nil, driver.ErrNotExist
	}
	return nil, driver.ErrInvalidPath
}

// nearest returns the last node that there is on the way to path, and what is
// missing below it.
func (n *node) nearest(path string) (last *node, missing string) {
	missing = strings.TrimPrefix(path, "/")
	for missing != "" {
		name, rest, _ := strings.Cut(missing, "/")
		child, ok := n.children[name]
		if !ok {
			break
		}
		n, missing = child, rest
	}
	return n, missing
}

func (n *node) set(name string, child *node) {
	n.children[name] = child
	n.modTime = now()
}

// split cuts a path before its last component.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:i], path[i+1:]
}
