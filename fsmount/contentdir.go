package fsmount

import (
	"context"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
	"registryfs/fsmount/loop"
)

// contentDir is _blobs, _manifests or _oci/blobs of a repository: the algorithms, and
// aliases of what was written there under other names. A digest can be looked
// up as <alg>:<hex> as well.
type contentDir struct {
	refusals
	place place
}

var (
	_ fusefs.NodeRequestLookuper = contentDir{}
	_ fusefs.HandleReadDirAller  = contentDir{}
	_ loop.KeptDirectory         = contentDir{}
)

func (f *fileSystem) contentDirectory(p place) contentDir {
	return contentDir{refusals{f, p.path()}, p}
}

func (d contentDir) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, viewInode(d.place))
	return nil
}

func (d contentDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	if digest.IsAlgorithm(req.Name) {
		resp.EntryValid = d.fs.options.AttrTimeout
		return d.fs.algorithmDirectory(d.algorithm(req.Name)), nil
	}
	resp.EntryValid = 0
	if d.fs.recent.hides(d.place, req.Name, req.Header.Pid) {
		return nil, syscall.ENOENT
	}
	if dgst, ok := d.place.digestOf(req.Name); ok {
		err := d.fs.stat(ctx, d.place.repo, d.place.view, dgst)
		if isThere(err) {
			return digestLink{fs: d.fs, place: d.place, digest: dgst}, nil
		}
		if node := d.fs.localNodeFor(d.place, req); node != nil {
			return node, nil
		}
		return nil, d.fs.failLookup(&req.Header, d.place.join(req.Name), err)
	}
	if node := d.fs.localNodeFor(d.place, req); node != nil {
		return node, nil
	}
	return nil, d.fs.absent(req.Name, resp)
}

func (d contentDir) algorithm(alg string) place {
	p := d.place
	p.alg = alg
	return p
}

func (d contentDir) ListingKept() (time.Duration, uint64) {
	return d.fs.options.AttrTimeout, d.fs.changes.version(d.place.repo)
}

// ReadDirAll lists the canonical algorithm alone: whatever goes by another
// digest is there too.
func (d contentDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := listing(viewInode(d.place), repoInode(d.place.repo))
	canonical := digest.SHA256.String()
	entries = append(entries, fuse.Dirent{Inode: viewInode(d.algorithm(canonical)), Type: fuse.DT_Dir, Name: canonical})
	d.fs.names.eachAlias(d.place, func(name string) {
		entries = append(entries, fuse.Dirent{Inode: linkInode(d.place, name), Type: fuse.DT_Link, Name: name})
	})
	return entries, nil
}

func (d contentDir) Mkdir(ctx context.Context, req *fuse.MkdirRequest) (fusefs.Node, error) {
	if digest.IsAlgorithm(req.Name) {
		return nil, syscall.EEXIST
	}
	return d.refusals.Mkdir(ctx, req)
}

func (d contentDir) Create(ctx context.Context, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	return d.fs.create(d.place, req, resp)
}

func (d contentDir) Symlink(ctx context.Context, req *fuse.SymlinkRequest) (fusefs.Node, error) {
	return d.fs.symlink(ctx, d.place, req)
}

func (d contentDir) Link(ctx context.Context, req *fuse.LinkRequest, old fusefs.Node) (fusefs.Node, error) {
	return d.fs.link(ctx, d.place, req, old)
}

func (d contentDir) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	return d.fs.remove(ctx, d.place, req)
}

func (d contentDir) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	return d.fs.rename(ctx, d.place, req, newDir)
}
