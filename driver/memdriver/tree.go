package memdriver

import (
	"strings"

	"registryfs/driver"
)

// put makes path name a new file with that content, which the store takes over;
// where it fails nothing has changed.
func (s *store) put(path string, c *content) error {
	err := s.room.take(nodeSize)
	if err == nil {
		if err = s.place(path, &node{content: c}); err != nil {
			s.room.give(nodeSize)
		}
	}
	if err != nil {
		c.release()
	}
	return err
}

// place puts child under path, over a file but not over a directory, and makes
// the missing directories; on an error it has made none.
func (s *store) place(path string, child *node) error {
	old, err := s.root.find(path)
	if err == nil && old.isDir() {
		return driver.ErrInvalidPath
	}
	dir, name := split(path)
	parent, err := s.makeDir(dir)
	if err != nil {
		return err
	}
	parent.set(name, child)
	if old != nil {
		s.free(old)
	}
	return nil
}

// makeDir returns the directory that path names, and makes what is missing of
// it; on an error it has made none.
func (s *store) makeDir(path string) (*node, error) {
	dir, rest := s.root.nearest(path)
	if !dir.isDir() {
		return nil, driver.ErrInvalidPath
	}
	if rest == "" {
		return dir, nil
	}
	missing := strings.Split(rest, "/")
	if err := s.room.take(int64(len(missing)) * nodeSize); err != nil {
		return nil, err
	}
	for _, name := range missing {
		child := newDir()
		dir.set(name, child)
		dir = child
	}
	return dir, nil
}

// move puts what is at src, which is moved, at dst.
func (s *store) move(moved *node, src, dst string) error {
	if err := s.place(dst, moved); err != nil {
		return err
	}
	return s.unlink(src)
}

// remove takes away what path names, with all below it.
func (s *store) remove(path string) error {
	n, err := s.root.find(path)
	if err != nil {
		return err
	}
	if err := s.unlink(path); err != nil {
		return err
	}
	s.free(n)
	return nil
}

// unlink takes away a name.
func (s *store) unlink(path string) error {
	dir, name := split(path)
	parent, err := s.root.find(dir)
	if err != nil {
		return err
	}
	delete(parent.children, name)
	parent.modTime = now()
	return nil
}

// free gives back the room of a node that has no name any more, and of all below
// it. What is open keeps its content.
func (s *store) free(n *node) {
	s.room.give(nodeSize)
	if !n.isDir() {
		n.content.release()
	}
	for _, child := range n.children {
		s.free(child)
	}
}
