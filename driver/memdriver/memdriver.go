// Package memdriver is a driver that keeps files in memory. It is the reference
// for what a driver does, and gone with the process.
//
// The store is a tree of nodes; a file's bytes are in chunks, of which those
// never written take no memory:
//
//	/                     dir
//	└── docker            dir
//	    └── data          file ── content ── chunk 0, chunk 1, (hole), chunk 3
//
// Replacing a file puts another content in its node's place, so whoever has the
// old one open goes on reading it.
package memdriver

import (
	"context"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"registryfs/driver"
)

// New returns an empty store.
func New() driver.Driver {
	return driver.Checked(&store{root: newDir(), locks: map[string]int{}})
}

// store is the tree. Its lock is for the tree and the writer flags; contents
// have locks of their own.
type store struct {
	mu    sync.RWMutex
	root  *node
	locks map[string]int // holders of a lock, or alone
}

var (
	_ driver.Driver   = (*store)(nil)
	_ driver.AtOpener = (*store)(nil)
	_ driver.NewMover = (*store)(nil)
	_ driver.DirMover = (*store)(nil)
	_ driver.DirMaker = (*store)(nil)
	_ driver.Locker   = (*store)(nil)
)

func (s *store) Name() string { return "memdriver" }

func (s *store) GetContent(_ context.Context, path string) ([]byte, error) {
	c, err := s.content(path)
	if err != nil {
		return nil, err
	}
	return c.bytes()
}

func (s *store) PutContent(_ context.Context, path string, content []byte) error {
	c := newContent()
	if _, err := c.WriteAt(content, 0); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.root.place(path, newFile(c))
}

func (s *store) Reader(_ context.Context, path string, offset int64) (io.ReadCloser, error) {
	c, err := s.content(path)
	if err != nil {
		return nil, err
	}
	return &reader{content: c, offset: offset}, nil
}

func (s *store) OpenAt(_ context.Context, path string) (driver.File, error) {
	c, err := s.content(path)
	if err != nil {
		return nil, err
	}
	return &file{content: c, path: path}, nil
}

func (s *store) Writer(_ context.Context, path string, append bool) (driver.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.root.find(path)
	switch {
	case err == nil && n.isDir():
		return nil, driver.ErrInvalidPath
	case err == nil && n.content.writing:
		return nil, driver.ErrBusy
	case err == nil && append:
		n.content.writing = true
		return &writer{store: s, path: path, content: n.content}, nil
	}
	c := newContent()
	if err := s.root.place(path, newFile(c)); err != nil {
		return nil, err
	}
	c.writing = true
	return &writer{store: s, path: path, content: c}, nil
}

func (s *store) Stat(_ context.Context, path string) (driver.FileInfo, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, err := s.root.find(path)
	if err != nil {
		return driver.FileInfo{}, err
	}
	if n.isDir() {
		return driver.FileInfo{Path: path, ModTime: n.modTime, IsDir: true}, nil
	}
	return n.content.info(path), nil
}

func (s *store) List(_ context.Context, dir string) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, err := s.root.find(dir)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, driver.ErrInvalidPath
	}
	paths := make([]string, 0, len(n.children))
	for name := range n.children {
		paths = append(paths, path.Join(dir, name))
	}
	return paths, nil
}

func (s *store) Move(_ context.Context, src, dst string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.root.find(src)
	switch {
	case err != nil:
		return err
	case n.isDir():
		return driver.ErrInvalidPath
	case src == dst:
		return nil
	}
	return s.root.move(n, src, dst)
}

func (s *store) MoveNew(_ context.Context, src, dst string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.root.find(src)
	switch {
	case err != nil:
		return err
	case n.isDir():
		return driver.ErrInvalidPath
	}
	if _, err := s.root.find(dst); err == nil {
		return driver.ErrExist
	}
	return s.root.move(n, src, dst)
}

func (s *store) MoveDir(_ context.Context, src, dst string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.root.find(src)
	switch {
	case err != nil:
		return err
	case !n.isDir() || strings.HasPrefix(dst, src+"/"):
		return driver.ErrInvalidPath
	}
	if _, err := s.root.find(dst); err == nil {
		return driver.ErrExist
	}
	return s.root.move(n, src, dst)
}

func (s *store) MakeDir(_ context.Context, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.root.makeDir(path)
	return err
}

func (s *store) Delete(_ context.Context, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.root.remove(path)
}

// content finds the content of a file.
func (s *store) content(path string) (*content, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, err := s.root.find(path)
	if err != nil {
		return nil, err
	}
	if n.isDir() {
		return nil, driver.ErrInvalidPath
	}
	return n.content, nil
}

// names reports whether path still names c.
func (s *store) names(path string, c *content) bool {
	found, err := s.content(path)
	return err == nil && found == c
}

// release lets go of what a writer held.
func (s *store) release(c *content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.writing = false
}

// now has no monotonic part, like a time that was stored.
func now() time.Time { return time.Now().Round(0) }
