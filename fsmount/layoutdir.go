package fsmount

import (
	"context"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/fsmount/loop"
	"registryfs/manifest"
)

// layoutDir is _oci: the repository as an OCI image layout.
//
//	_oci/
//	├── oci-layout
//	├── index.json           the tags, and the manifests that have none
//	├── blobs/<alg>/<hex>    blobs and manifests alike
//	└── …                    any other name is a temporary
//
// What tools write into blobs becomes a blob of the repository. It becomes a
// manifest when an index.json is written that leads to it: see commitIndex.
type layoutDir struct {
	refusals
	place place
}

var (
	_ fusefs.NodeRequestLookuper = layoutDir{}
	_ fusefs.HandleReadDirAller  = layoutDir{}
	_ loop.Slow                  = layoutDir{}
)

func (f *fileSystem) layoutDirectory(p place) layoutDir {
	return layoutDir{refusals{f, p.path()}, p}
}

func (d layoutDir) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, viewInode(d.place))
	return nil
}

// isPartOfLayout reports whether a name in the place is one that every layout
// has.
func (p place) isPartOfLayout(name string) bool {
	if p.view != viewLayout || p.dir != nil {
		return false
	}
	switch name {
	case manifest.LayoutVersionFile, manifest.LayoutIndexFile, manifest.LayoutBlobs:
		return true
	}
	return false
}

func (d layoutDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = d.fs.options.AttrTimeout
	switch req.Name {
	case manifest.LayoutBlobs:
		return d.fs.contentDirectory(d.blobs()), nil
	case manifest.LayoutVersionFile, manifest.LayoutIndexFile:
		if d.fs.recent.hides(d.place, req.Name, req.Header.Pid) {
			resp.EntryValid = 0
			return nil, syscall.ENOENT
		}
		return layoutFile{d.fs, d.place, req.Name}, nil
	}
	resp.EntryValid = 0
	if node := d.fs.localNode(d.place, req.Name); node != nil {
		return node, nil
	}
	return nil, syscall.ENOENT
}

// IsSlow reports whether a request is a look-up of index.json that takes long.
func (d layoutDir) IsSlow(req fuse.Request) bool {
	lookup, ok := req.(*fuse.LookupRequest)
	return ok && lookup.Name == manifest.LayoutIndexFile && layoutFile{d.fs, d.place, lookup.Name}.IsSlow(req)
}

func (d layoutDir) blobs() place {
	p := d.place
	p.view = viewLayoutBlobs
	return p
}

func (d layoutDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := listing(viewInode(d.place), repoInode(d.place.repo))
	entries = append(entries, fuse.Dirent{Inode: viewInode(d.blobs()), Type: fuse.DT_Dir, Name: manifest.LayoutBlobs})
	for _, name := range []string{manifest.LayoutVersionFile, manifest.LayoutIndexFile} {
		file := layoutFile{d.fs, d.place, name}
		entries = append(entries, fuse.Dirent{Inode: file.inode(), Type: fuse.DT_File, Name: name})
	}
	return d.fs.appendScratch(entries, d.place), nil
}

func (d layoutDir) Create(ctx context.Context, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	return d.fs.create(d.place, req, resp)
}

func (d layoutDir) Mkdir(ctx context.Context, req *fuse.MkdirRequest) (fusefs.Node, error) {
	return d.fs.makeDir(d.place, req)
}

func (d layoutDir) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	return d.fs.remove(ctx, d.place, req)
}

func (d layoutDir) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	return d.fs.rename(ctx, d.place, req, newDir)
}
