package filedriver_test

import (
	"os"
	"path"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"registryfs/driver/filedriver"
)

// traced records the calls that change a store, and lets a test put in an error
// or a deed before each.
type traced struct {
	filedriver.Sys
	before func(call string) error // may be nil

	mu    sync.Mutex
	calls []string // "rename /dir/a /dir/b"
}

// note is called before a system call; an error takes its place.
func (s *traced) note(op string, names ...string) error {
	call := op
	for _, name := range names {
		call += " " + name
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	if s.before == nil {
		return nil
	}
	return s.before(call)
}

// reset forgets the calls so far.
func (s *traced) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// all returns the calls so far.
func (s *traced) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func (s *traced) Open(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	op := "open"
	if flags&unix.O_CREAT != 0 {
		op = "create"
	}
	if err := s.note(op, path.Join(dir.Name(), name)); err != nil {
		return nil, err
	}
	return s.Sys.Open(dir, name, flags, mode)
}

func (s *traced) WriteAt(f *os.File, p []byte, offset int64) (int, error) {
	if err := s.note("write", f.Name()); err != nil {
		n, _ := s.Sys.WriteAt(f, p[:len(p)/2], offset)
		return n, err
	}
	return s.Sys.WriteAt(f, p, offset)
}

func (s *traced) Truncate(f *os.File, size int64) error {
	if err := s.note("truncate", f.Name()); err != nil {
		return err
	}
	return s.Sys.Truncate(f, size)
}

func (s *traced) Sync(f *os.File) error {
	if err := s.note("sync", f.Name()); err != nil {
		return err
	}
	return s.Sys.Sync(f)
}

func (s *traced) SyncDir(dir *os.File) error {
	if err := s.note("syncdir", dir.Name()); err != nil {
		return err
	}
	return s.Sys.SyncDir(dir)
}

func (s *traced) Chmod(f *os.File, mode uint32) error {
	if err := s.note("chmod", f.Name()); err != nil {
		return err
	}
	return s.Sys.Chmod(f, mode)
}

func (s *traced) Chown(f *os.File, uid, gid int) error {
	if err := s.note("chown", f.Name()); err != nil {
		return err
	}
	return s.Sys.Chown(f, uid, gid)
}

func (s *traced) Mkdir(dir *os.File, name string, mode uint32) error {
	if err := s.note("mkdir", path.Join(dir.Name(), name)); err != nil {
		return err
	}
	return s.Sys.Mkdir(dir, name, mode)
}

func (s *traced) Rename(from *os.File, oldName string, to *os.File, newName string, flags uint) error {
	op := "rename"
	if flags&unix.RENAME_NOREPLACE != 0 {
		op = "renamenew"
	}
	if err := s.note(op, path.Join(from.Name(), oldName), path.Join(to.Name(), newName)); err != nil {
		return err
	}
	return s.Sys.Rename(from, oldName, to, newName, flags)
}

func (s *traced) Unlink(dir *os.File, name string, flags int) error {
	op := "unlink"
	if flags&unix.AT_REMOVEDIR != 0 {
		op = "rmdir"
	}
	if err := s.note(op, path.Join(dir.Name(), name)); err != nil {
		return err
	}
	return s.Sys.Unlink(dir, name, flags)
}

// newTraced returns a recorder of the real calls.
func newTraced(t *testing.T) *traced {
	t.Helper()
	return &traced{Sys: filedriver.System()}
}
