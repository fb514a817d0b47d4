package storage_test

import (
	"errors"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"

	"registryfs/driver/filedriver"
)

// sysCall is one system call that changes a store. Only what it has is set.
type sysCall struct {
	op      string // "create", "rename", "syncdir" …
	file    *os.File
	dir     *os.File
	name    string // in dir
	to      *os.File
	newName string // in to
	p       []byte // may be cut before the call is made
	offset  int64
	size    int64
}

func (c *sysCall) String() string {
	s := c.op
	if c.dir != nil {
		s += " " + path.Join(c.dir.Name(), c.name)
	}
	if c.file != nil {
		s += " " + c.file.Name()
	}
	if c.to != nil {
		s += " " + path.Join(c.to.Name(), c.newName)
	}
	return s
}

// hooked lets a hook make each call, or not make it, or fail it. Without a hook
// the calls are made. Nothing becomes durable, unless it is to be: no test that
// simulates a crash needs it, and it would be most of the time that they take.
type hooked struct {
	hook    func(c *sysCall, do func() error) error
	durable bool

	mu     sync.Mutex
	opened []*os.File
}

var _ filedriver.Sys = (*hooked)(nil)

var system = filedriver.System()

func (h *hooked) make(c *sysCall, do func() error) error {
	if h.hook == nil {
		return do()
	}
	return h.hook(c, do)
}

// closeAll closes what a process that has died had open, and so unlocks it.
func (h *hooked) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.opened {
		_ = f.Close() // most are closed already
	}
	h.opened = nil
}

func (h *hooked) Open(dir *os.File, name string, flags int, mode uint32) (f *os.File, err error) {
	c := &sysCall{op: "open", dir: dir, name: name}
	if flags&unix.O_CREAT != 0 {
		c.op = "create"
	}
	err = h.make(c, func() error {
		f, err = system.Open(dir, name, flags, mode)
		if err == nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.opened = append(h.opened, f)
		}
		return err
	})
	if err != nil && f != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, err
}

func (h *hooked) WriteAt(f *os.File, p []byte, offset int64) (n int, err error) {
	c := &sysCall{op: "write", file: f, p: p, offset: offset}
	err = h.make(c, func() error {
		n, err = system.WriteAt(f, c.p, offset)
		return err
	})
	return n, err
}

func (h *hooked) Truncate(f *os.File, size int64) error {
	return h.make(&sysCall{op: "truncate", file: f, size: size}, func() error { return system.Truncate(f, size) })
}

func (h *hooked) Sync(f *os.File) error {
	return h.make(&sysCall{op: "sync", file: f}, func() error {
		if !h.durable {
			return nil
		}
		return system.Sync(f)
	})
}

func (h *hooked) SyncDir(dir *os.File) error {
	return h.make(&sysCall{op: "syncdir", dir: dir}, func() error {
		if !h.durable {
			return nil
		}
		return system.SyncDir(dir)
	})
}

func (h *hooked) Chmod(f *os.File, mode uint32) error {
	return h.make(&sysCall{op: "chmod", file: f}, func() error { return system.Chmod(f, mode) })
}

func (h *hooked) Chown(f *os.File, uid, gid int) error {
	return h.make(&sysCall{op: "chown", file: f}, func() error { return system.Chown(f, uid, gid) })
}

func (h *hooked) Mkdir(dir *os.File, name string, mode uint32) error {
	return h.make(&sysCall{op: "mkdir", dir: dir, name: name}, func() error { return system.Mkdir(dir, name, mode) })
}

func (h *hooked) Rename(from *os.File, oldName string, to *os.File, newName string, flags uint) error {
	c := &sysCall{op: "rename", dir: from, name: oldName, to: to, newName: newName}
	return h.make(c, func() error { return system.Rename(from, oldName, to, newName, flags) })
}

func (h *hooked) Unlink(dir *os.File, name string, flags int) error {
	c := &sysCall{op: "unlink", dir: dir, name: name}
	if flags&unix.AT_REMOVEDIR != 0 {
		c.op = "rmdir"
	}
	return h.make(c, func() error { return system.Unlink(dir, name, flags) })
}

// syncKindOf tells syncs apart by what they make durable: see syncKinds. It is
// the last change of each directory, by path, that is not durable.
type syncKindOf map[string]string

// of is the kind of a sync, and "" for every other call.
func (k syncKindOf) of(c *sysCall) string {
	switch c.op {
	case "sync":
		if path.Base(c.file.Name()) == "data" {
			return "content"
		}
		return "link"
	case "syncdir":
		return k[c.dir.Name()]
	}
	return ""
}

// made takes note of a call.
func (k syncKindOf) made(c *sysCall) {
	switch c.op {
	case "create", "mkdir", "unlink", "rmdir":
		k[c.dir.Name()] = c.op
	case "rename":
		if c.dir.Name() == c.to.Name() {
			k[c.dir.Name()] = "rename within"
			return
		}
		k[c.dir.Name()], k[c.to.Name()] = "rename out", "rename in"
	case "syncdir":
		delete(k, c.dir.Name())
	}
}
