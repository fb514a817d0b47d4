package fsmount

import (
	"context"
	"slices"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
	"registryfs/fsmount/loop"
)

// algDir is _blobs/<alg>, _manifests/<alg> or _oci/blobs/<alg>: content by
// digest. What is being
// written under a digest is not found here before it is published, so that any
// number of writers can create one name.
type algDir struct {
	refusals
	place place
}

var (
	_ fusefs.NodeRequestLookuper = algDir{}
	_ fusefs.HandleReadDirAller  = algDir{}
	_ loop.KeptDirectory         = algDir{}
)

func (f *fileSystem) algorithmDirectory(p place) algDir {
	return algDir{refusals{f, p.path()}, p}
}

func (d algDir) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, viewInode(d.place))
	return nil
}

func (d algDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	if signed, ok := d.place.signedDigestOf(req.Name); ok {
		resp.EntryValid = d.fs.contentEntry()
		if node, err := d.fs.signedFile(ctx, d.place.repo, signed); err == nil {
			return node, nil
		}
	}
	dgst, ok := d.place.digestOf(req.Name)
	if !ok {
		resp.EntryValid = 0
		if node := d.fs.localNodeFor(d.place, req); node != nil {
			return node, nil
		}
		return nil, d.fs.absent(req.Name, resp)
	}
	if d.fs.recent.hides(d.place, req.Name, req.Header.Pid) {
		return nil, syscall.ENOENT
	}
	err := d.fs.stat(ctx, d.place.repo, d.place.view, dgst)
	if err == nil {
		resp.EntryValid = d.fs.contentEntry()
	} else {
		resp.EntryValid = 0
	}
	if isThere(err) {
		return blobFile{d.fs, d.place.repo, dgst}, nil
	}
	if node := d.fs.localNodeFor(d.place, req); node != nil {
		return node, nil
	}
	return nil, d.fs.failLookup(&req.Header, d.place.join(req.Name), err)
}

func (d algDir) ListingKept() (time.Duration, uint64) {
	return d.fs.options.AttrTimeout, d.fs.changes.version(d.place.repo)
}

func (d algDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	parent := d.place
	parent.alg = ""
	entries := listing(viewInode(d.place), viewInode(parent))
	repo, err := d.fs.registry.Repository(d.place.repo)
	if err != nil {
		return nil, d.fs.fail(&fuse.Header{}, "list", d.path, err)
	}
	enumerate := repo.Blobs().Enumerate
	switch d.place.view {
	case viewManifests:
		enumerate = repo.Manifests().Enumerate
	case viewLayoutBlobs:
		enumerate = func(ctx context.Context, fn func(digest.Digest) error) error { return d.fs.reached(ctx, repo, fn) }
	}
	err = enumerate(ctx, func(dgst digest.Digest) error {
		if dgst.Algorithm().String() == d.place.alg && !d.fs.content.isHidden(d.place.repo, dgst) {
			entries = append(entries, fuse.Dirent{Inode: d.fs.inodes.of(dgst), Type: fuse.DT_File, Name: dgst.Encoded()})
		}
		return nil
	})
	slices.SortFunc(entries[2:], func(a, b fuse.Dirent) int { return int(int64(a.Inode) - int64(b.Inode)) })
	return entries, d.fs.fail(&fuse.Header{}, "list", d.path, err)
}

func (d algDir) Create(ctx context.Context, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	return d.fs.create(d.place, req, resp)
}

func (d algDir) Symlink(ctx context.Context, req *fuse.SymlinkRequest) (fusefs.Node, error) {
	return d.fs.symlink(ctx, d.place, req)
}

func (d algDir) Link(ctx context.Context, req *fuse.LinkRequest, old fusefs.Node) (fusefs.Node, error) {
	return d.fs.link(ctx, d.place, req, old)
}

func (d algDir) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	return d.fs.remove(ctx, d.place, req)
}

func (d algDir) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	return d.fs.rename(ctx, d.place, req, newDir)
}
