package fsmount

import (
	"context"
	"sync"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// scratchDir is a directory that a tool made in _oci for its temporaries. It
// lives in the mount alone.
type scratchDir struct {
	refusals
	inode uint64
	made  time.Time

	mu sync.Mutex
	at placeName // where it is found now
}

var (
	_ fusefs.NodeRequestLookuper = (*scratchDir)(nil)
	_ fusefs.HandleReadDirAller  = (*scratchDir)(nil)
)

// makeDir makes a directory of temporaries.
func (f *fileSystem) makeDir(p place, req *fuse.MkdirRequest) (fusefs.Node, error) {
	dir, err := f.newScratchDir(p, req.Name)
	if err != nil {
		return nil, f.fail(&req.Header, "mkdir", p.join(req.Name), err)
	}
	return dir, nil
}

func (f *fileSystem) newScratchDir(p place, name string) (*scratchDir, error) {
	if f.isClosing() {
		return nil, refuse(errClosing, "the mount is being closed")
	}
	if _, err := p.meaningOf(name); err != nil {
		return nil, err
	}
	if err := f.names.mayAdd(); err != nil {
		return nil, err
	}
	dir := &scratchDir{
		refusals: refusals{f, p.join(name)},
		inode:    f.inodes.next(),
		made:     time.Now(),
		at:       placeName{p, name},
	}
	if p.isPartOfLayout(name) || !f.names.putNew(p, name, local{dir: dir}) {
		return nil, refuse(syscall.EEXIST, "it is there already")
	}
	f.sweepLater()
	return dir, nil
}

// place is where the names in the directory are: the same wherever it is moved.
func (d *scratchDir) place() place {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.at.place
	p.dir = d
	return p
}

// where is the path of the directory in the mount.
func (d *scratchDir) where() string {
	d.mu.Lock()
	at := d.at
	d.mu.Unlock()
	return at.place.join(at.name)
}

func (d *scratchDir) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, d.inode)
	a.Atime, a.Mtime, a.Ctime = d.made, d.made, d.made
	return nil
}

func (d *scratchDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	if node := d.fs.localNode(d.place(), req.Name); node != nil {
		return node, nil
	}
	return nil, syscall.ENOENT
}

func (d *scratchDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	p := d.place()
	parent := viewInode(place{repo: p.repo, view: p.view})
	return d.fs.appendScratch(listing(d.inode, parent), p), nil
}

func (d *scratchDir) Create(ctx context.Context, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	return d.fs.create(d.place(), req, resp)
}

func (d *scratchDir) Mkdir(ctx context.Context, req *fuse.MkdirRequest) (fusefs.Node, error) {
	return d.fs.makeDir(d.place(), req)
}

func (d *scratchDir) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	return d.fs.remove(ctx, d.place(), req)
}

func (d *scratchDir) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	return d.fs.rename(ctx, d.place(), req, newDir)
}

// removeDir removes a directory that is empty.
func (f *fileSystem) removeDir(p place, name string, dir *scratchDir) error {
	if !f.names.removeDir(p, name, dir) {
		return refuse(syscall.ENOTEMPTY, "it holds something")
	}
	return nil
}

// renameDir moves a directory of temporaries, with all that is in it.
func (f *fileSystem) renameDir(p place, name string, dir *scratchDir, to place, newName string) error {
	if to.view != viewLayout || to.repo != p.repo {
		return refuse(errPerm, "a directory of temporaries belongs in _oci of its repository")
	}
	if to.isPartOfLayout(newName) {
		return refuse(errPerm, "this is part of the mount")
	}
	if l, ok := f.names.get(to, newName); ok {
		switch {
		case l.dir == dir:
			return nil
		case l.dir == nil:
			return refuse(syscall.ENOTDIR, "a file has that name")
		}
		if err := f.removeDir(to, newName, l.dir); err != nil {
			return err
		}
	}
	f.names.remove(p, name, local{dir: dir})
	f.names.put(to, newName, local{dir: dir})
	dir.mu.Lock()
	dir.at = placeName{to, newName}
	dir.mu.Unlock()
	return nil
}
