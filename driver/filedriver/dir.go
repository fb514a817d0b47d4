package filedriver

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// listChunk is how many names are read from a directory at once.
const listChunk = 1024

func (s *store) List(ctx context.Context, dir string) ([]string, error) {
	f, err := openDir(s.root, dir)
	if err != nil {
		return nil, s.fault(err)
	}
	defer f.Close()
	prefix := strings.TrimSuffix(dir, "/") + "/"
	paths := []string{}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		names, err := f.Readdirnames(listChunk)
		for _, name := range names {
			paths = append(paths, prefix+name)
		}
		if errors.Is(err, io.EOF) {
			return paths, nil
		}
		if err != nil {
			return nil, s.fault(err)
		}
	}
}

// errMade says that another process made a directory just before this one.
var errMade = errors.New("made meanwhile")

func (s *store) MakeDir(_ context.Context, path string) error {
	return s.race(func() error {
		dir, err := s.makeDir(path)
		if err != nil {
			return err
		}
		return dir.Close()
	})
}

// makeParent opens the directory that path is in, made where it is missing,
// and returns the last component.
func (s *store) makeParent(name string) (*os.File, string, error) {
	parent, base := path.Split(name)
	dir, err := s.makeDir(path.Clean(parent))
	return dir, base, err
}

// makeDir opens a directory. It and its ancestors are made where they are
// missing; what was made is durable.
func (s *store) makeDir(dir string) (*os.File, error) {
	for {
		found, err := openDir(s.root, dir)
		if errors.Is(err, unix.ENOENT) && dir != "/" {
			break
		}
		if err != nil || !s.making.await(dir) {
			return found, err
		}
		found.Close() // it may not have lasted
	}
	parent, err := s.makeDir(path.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return s.makeChild(parent, path.Base(dir), dir)
}

// makeChild opens the directory name in dir, whose path is at, made where it is
// missing. On an error none was made, so that a later call does not take it for
// a durable one.
func (s *store) makeChild(dir *os.File, name, at string) (*os.File, error) {
	for {
		child, err := openDir(dir, name)
		if err == nil && s.making.await(at) {
			child.Close()
			continue
		}
		if !errors.Is(err, unix.ENOENT) {
			return child, err
		}
		if s.making.begin(at) {
			break
		}
	}
	defer s.making.end(at)
	want, err := inherited(dir, dirBits)
	if err != nil {
		return nil, err
	}
	switch err := s.sys.Mkdir(dir, name, want.mode&0o777); {
	case errors.Is(err, unix.EEXIST):
		return nil, errMade
	case err != nil:
		return nil, err
	}
	child, err := s.adopt(dir, name, want)
	if err != nil {
		s.discard(dir, name, unix.AT_REMOVEDIR)
		return nil, err
	}
	return child, nil
}

// adopt opens a directory just made, gives it its owner and makes it durable.
func (s *store) adopt(dir *os.File, name string, want ownership) (*os.File, error) {
	child, err := openDir(dir, name)
	if err != nil {
		return nil, err
	}
	err = s.own(child, want)
	if err == nil {
		err = s.sys.SyncDir(dir)
	}
	if err != nil {
		child.Close()
		return nil, err
	}
	return child, nil
}

// Sync syncs the directories from the file up, to one whose name is known to be
// durable: a name in one that is not there after a crash is worth nothing.
func (s *store) Sync(ctx context.Context, name string) error {
	f, err := s.openRead(name)
	if err != nil {
		return err
	}
	err = s.sys.Sync(f)
	f.Close()
	parent, above := path.Dir(name), map[string]uint64{}
	for dir := parent; err == nil; dir = path.Dir(dir) {
		if err = ctx.Err(); err != nil {
			break
		}
		var inode uint64
		inode, err = s.syncDir(dir)
		if dir == "/" || s.named.has(dir, inode) {
			break
		}
		if dir != parent {
			above[dir] = inode
		}
	}
	if err == nil {
		s.named.add(above)
	}
	return s.fault(err)
}

// syncDir syncs a directory and returns its inode.
func (s *store) syncDir(name string) (uint64, error) {
	dir, err := openDir(s.root, name)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	st, err := fstat(dir)
	if err != nil {
		return 0, err
	}
	return st.Ino, s.sys.SyncDir(dir)
}
