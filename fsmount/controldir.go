package fsmount

import (
	"context"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

const (
	controlName    = ".registryfs"
	controlErrors  = "errors"
	controlVersion = "version"
)

// controlDir is .registryfs: no repository can have a name that begins with a
// dot.
type controlDir struct {
	refusals
}

var (
	_ fusefs.NodeStringLookuper = controlDir{}
	_ fusefs.HandleReadDirAller = controlDir{}
)

func (f *fileSystem) controlDirectory() controlDir {
	return controlDir{refusals{f, "/" + controlName}}
}

func (d controlDir) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, d.inode())
	return nil
}

func (d controlDir) inode() uint64 { return derivedInode(classControl, "") }

func (d controlDir) Lookup(ctx context.Context, name string) (fusefs.Node, error) {
	if name != controlErrors && name != controlVersion {
		return nil, syscall.ENOENT
	}
	return controlFile{d.fs, name}, nil
}

func (d controlDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := listing(d.inode(), inodeRoot)
	for _, name := range []string{controlErrors, controlVersion} {
		entries = append(entries, fuse.Dirent{Inode: controlFile{d.fs, name}.inode(), Type: fuse.DT_File, Name: name})
	}
	return entries, nil
}

// controlFile is a file of .registryfs, made anew for each that opens it.
type controlFile struct {
	fs   *fileSystem
	name string
}

var (
	_ fusefs.NodeOpener    = controlFile{}
	_ fusefs.NodeSetattrer = controlFile{}
	_ fusefs.NodeFsyncer   = controlFile{}
)

func (c controlFile) inode() uint64 { return derivedInode(classControl, c.name) }

func (c controlFile) path() string { return join("/"+controlName, c.name) }

func (c controlFile) content() []byte {
	if c.name == controlVersion {
		return []byte(c.fs.options.Version + "\n")
	}
	c.fs.reportEnded()
	return c.fs.failures.content()
}

func (c controlFile) size() int {
	if c.name == controlErrors {
		c.fs.reportEnded()
		return c.fs.failures.length()
	}
	return len(c.content())
}

func (c controlFile) Attr(ctx context.Context, a *fuse.Attr) error {
	c.fs.fileAttr(a, c.inode(), int64(c.size()))
	a.Mode = 0o600
	a.Valid = 0
	return nil
}

func (c controlFile) Open(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	if !req.Flags.IsReadOnly() {
		return nil, c.fs.fail(&req.Header, "open", c.path(), refuse(errPerm, "this file is for reading"))
	}
	resp.Flags |= fuse.OpenDirectIO
	return fusefs.DataHandle(c.content()), nil
}

func (c controlFile) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	if req.Valid.Size() {
		return c.fs.fail(&req.Header, "truncate", c.path(), refuse(errPerm, "this file is for reading"))
	}
	return nil
}

func (c controlFile) Fsync(ctx context.Context, req *fuse.FsyncRequest) error { return nil }
