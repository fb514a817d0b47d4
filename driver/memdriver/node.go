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

func newFile(c *content) *node { return &node{content: c} }

func (n *node) isDir() bool { return n.content == nil }

// find returns the node that path names below n.
func (n *node) find(path string) (*node, error) {
	rest := strings.TrimPrefix(path, "/")
	for rest != "" {
		if !n.isDir() {
			return nil, driver.ErrInvalidPath
		}
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		child, ok := n.children[name]
		if !ok {
			return nil, driver.ErrNotExist
		}
		n = child
	}
	return n, nil
}

// place puts child under path, over a file but not over a directory, and makes
// the missing directories; on an error it has made none.
func (n *node) place(path string, child *node) error {
	if old, err := n.find(path); err == nil && old.isDir() {
		return driver.ErrInvalidPath
	}
	dir, name := split(path)
	parent, err := n.makeDir(dir)
	if err != nil {
		return err
	}
	parent.set(name, child)
	return nil
}

// makeDir returns the directory that path names, made where it is missing.
func (n *node) makeDir(path string) (*node, error) {
	rest := strings.TrimPrefix(path, "/")
	for rest != "" && n.isDir() {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		child, ok := n.children[name]
		if !ok {
			child = newDir()
			n.set(name, child)
		}
		n = child
	}
	if !n.isDir() {
		return nil, driver.ErrInvalidPath
	}
	return n, nil
}

// remove takes away what path names.
func (n *node) remove(path string) error {
	if _, err := n.find(path); err != nil {
		return err
	}
	dir, name := split(path)
	parent, err := n.find(dir)
	if err != nil {
		return err
	}
	delete(parent.children, name)
	parent.modTime = now()
	return nil
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

// move puts what is at src, which is moved, at dst.
func (n *node) move(moved *node, src, dst string) error {
	if err := n.place(dst, moved); err != nil {
		return err
	}
	return n.remove(src)
}
