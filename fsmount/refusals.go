package fsmount

import (
	"context"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// refusals is what a directory answers to what it does not do. Without it the
// library would answer most of that with EIO, and mv must never see EXDEV,
// which makes it copy and delete.
type refusals struct {
	fs   *fileSystem
	path string
}

var (
	_ fusefs.NodeMkdirer   = refusals{}
	_ fusefs.NodeCreater   = refusals{}
	_ fusefs.NodeMknoder   = refusals{}
	_ fusefs.NodeSymlinker = refusals{}
	_ fusefs.NodeLinker    = refusals{}
	_ fusefs.NodeRemover   = refusals{}
	_ fusefs.NodeRenamer   = refusals{}
	_ fusefs.NodeSetattrer = refusals{}
	_ fusefs.NodeFsyncer   = refusals{}
)

func (r refusals) refuse(h *fuse.Header, op, name, why string) error {
	return r.fs.fail(h, op, join(r.path, name), refuse(errPerm, why))
}

func (r refusals) Mkdir(ctx context.Context, req *fuse.MkdirRequest) (fusefs.Node, error) {
	return nil, r.refuse(&req.Header, "mkdir", req.Name, "directories can be made only where repositories are")
}

func (r refusals) Create(ctx context.Context, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	return nil, nil, r.refuse(&req.Header, "create", req.Name, "files can be made only in _blobs, _manifests and _tags")
}

func (r refusals) Mknod(ctx context.Context, req *fuse.MknodRequest) (fusefs.Node, error) {
	return nil, r.refuse(&req.Header, "mknod", req.Name, "a registry has no special files")
}

func (r refusals) Symlink(ctx context.Context, req *fuse.SymlinkRequest) (fusefs.Node, error) {
	return nil, r.refuse(&req.Header, "symlink", req.NewName, "links can be made only in _tags")
}

func (r refusals) Link(ctx context.Context, req *fuse.LinkRequest, old fusefs.Node) (fusefs.Node, error) {
	return nil, r.refuse(&req.Header, "link", req.NewName, "links can be made only in _blobs, _manifests and _tags")
}

func (r refusals) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	return r.refuse(&req.Header, "remove", req.Name, "this is part of the mount")
}

func (r refusals) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	return r.refuse(&req.Header, "rename", req.OldName, "this cannot be renamed")
}

func (r refusals) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	return nil // modes, owners and times are those of the mount
}

func (r refusals) Fsync(ctx context.Context, req *fuse.FsyncRequest) error {
	return nil // what was acknowledged is durable
}
