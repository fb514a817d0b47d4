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
//
// A store has a capacity, beyond which everything that needs more is ENOSPC.
// Bytes count for as long as their file has a name or is open.
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

// Option changes what New makes.
type Option func(*store)

// Capacity bounds what a store holds, in bytes, instead of DefaultCapacity: the
// bytes of all files, without those never written, and 1 KiB for each file and
// each directory. The memory that it takes may be a quarter more.
func Capacity(bytes int64) Option { return func(s *store) { s.room.capacity = bytes } }

// New returns an empty store.
func New(options ...Option) driver.Driver {
	s := &store{room: &room{capacity: DefaultCapacity}, root: newDir(), locks: map[string]int{}}
	for _, option := range options {
		option(s)
	}
	return driver.Checked(s)
}

// store is the tree. Its lock is for the tree and the writer flags; contents
// have locks of their own.
type store struct {
	room *room

	mu    sync.RWMutex
	root  *node
	locks map[string]int // holders of a lock, or alone
}

var (
	_ driver.Driver     = (*store)(nil)
	_ driver.AtOpener   = (*store)(nil)
	_ driver.FilePutter = (*store)(nil)
	_ driver.NewMover   = (*store)(nil)
	_ driver.DirMover   = (*store)(nil)
	_ driver.DirMaker   = (*store)(nil)
	_ driver.DirRemover = (*store)(nil)
	_ driver.Locker     = (*store)(nil)
	_ driver.Spacer     = (*store)(nil)
)

func (s *store) Name() string { return "memdriver" }

func (s *store) GetContent(_ context.Context, path string) ([]byte, error) {
	c, err := s.open(path)
	if err != nil {
		return nil, err
	}
	defer c.release()
	return c.bytes()
}

func (s *store) PutContent(ctx context.Context, path string, content []byte) error {
	_, err := s.PutFile(ctx, path, content)
	return err
}

func (s *store) PutFile(_ context.Context, path string, content []byte) (driver.Written, error) {
	c := newContent(s.room)
	if _, err := c.WriteAt(content, 0); err != nil {
		c.release()
		return driver.Written{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	written := driver.Written{Version: c.info(path).Version}
	if old, err := s.root.find(path); err != nil {
		written.IsNew = true
	} else if !old.isDir() {
		written.Replaced = old.content.info(path).Version
	}
	return written, s.put(path, c)
}

func (s *store) Reader(_ context.Context, path string, offset int64) (io.ReadCloser, error) {
	c, err := s.open(path)
	if err != nil {
		return nil, err
	}
	return &reader{content: c, offset: offset}, nil
}

func (s *store) OpenAt(_ context.Context, path string) (driver.File, error) {
	c, err := s.open(path)
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
		return s.writer(path, n.content), nil
	}
	c := newContent(s.room)
	if err := s.put(path, c); err != nil {
		return nil, err
	}
	return s.writer(path, c), nil
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
	return s.move(n, src, dst)
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
	return s.move(n, src, dst)
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
	return s.move(n, src, dst)
}

func (s *store) MakeDir(_ context.Context, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.makeDir(path)
	return err
}

func (s *store) RemoveDir(_ context.Context, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.root.find(path)
	switch {
	case err != nil:
		return err
	case !n.isDir():
		return driver.ErrInvalidPath
	case len(n.children) > 0:
		return driver.ErrExist
	}
	return s.remove(path)
}

func (s *store) Delete(_ context.Context, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(path)
}

// open finds the content of a file, which the caller is to release.
func (s *store) open(path string) (*content, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, err := s.root.find(path)
	if err != nil {
		return nil, err
	}
	if n.isDir() {
		return nil, driver.ErrInvalidPath
	}
	return n.content.retain(), nil
}

// now has no monotonic part, like a time that was stored.
func now() time.Time { return time.Now().Round(0) }
