package fsmount

import (
	"context"
	"errors"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/fsmount/loop"
	"registryfs/storage"
)

// tagsDir is _tags of a repository: symlinks to manifests.
type tagsDir struct {
	refusals
	place place
}

var (
	_ fusefs.NodeRequestLookuper = tagsDir{}
	_ fusefs.HandleReadDirAller  = tagsDir{}
	_ loop.KeptDirectory         = tagsDir{}
)

func (f *fileSystem) tagsDirectory(p place) tagsDir { return tagsDir{refusals{f, p.path()}, p} }

func (d tagsDir) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, viewInode(d.place))
	return nil
}

func (d tagsDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	if storage.CheckTag(req.Name) == nil {
		seen, err := d.fs.look(ctx, placeName{d.place, req.Name})
		if err == nil || errors.Is(err, storage.ErrCorrupt) {
			// A tag that cannot be read is still one that can be replaced.
			link := d.fs.namedLink(d.place, req.Name)
			if err == nil {
				link.seen.Store(seen)
			}
			resp.EntryValid = d.fs.options.AttrTimeout
			return link, nil
		}
		if !errors.Is(err, storage.ErrTagUnknown) {
			return nil, d.fs.fail(&req.Header, "lookup", d.place.join(req.Name), err)
		}
	}
	if node := d.fs.localNodeFor(d.place, req); node != nil {
		return node, nil
	}
	return nil, d.fs.absent(req.Name, resp)
}

func (d tagsDir) ListingKept() (time.Duration, uint64) {
	return d.fs.options.AttrTimeout, d.fs.changes.version(d.place.repo)
}

func (d tagsDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := listing(viewInode(d.place), repoInode(d.place.repo))
	repo, err := d.fs.registry.Repository(d.place.repo)
	if err != nil {
		return nil, d.fs.fail(&fuse.Header{}, "list", d.path, err)
	}
	tags, err := repo.Tags().All(ctx)
	if err != nil {
		return nil, d.fs.fail(&fuse.Header{}, "list", d.path, err)
	}
	for _, tag := range tags {
		entries = append(entries, fuse.Dirent{Inode: linkInode(d.place, tag), Type: fuse.DT_Link, Name: tag})
	}
	return entries, nil
}

func (d tagsDir) Create(ctx context.Context, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	return d.fs.create(d.place, req, resp)
}

func (d tagsDir) Symlink(ctx context.Context, req *fuse.SymlinkRequest) (fusefs.Node, error) {
	return d.fs.symlink(ctx, d.place, req)
}

func (d tagsDir) Link(ctx context.Context, req *fuse.LinkRequest, old fusefs.Node) (fusefs.Node, error) {
	return d.fs.link(ctx, d.place, req, old)
}

func (d tagsDir) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	return d.fs.remove(ctx, d.place, req)
}

func (d tagsDir) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	return d.fs.rename(ctx, d.place, req, newDir)
}

// tag is the value of a tag.
func (f *fileSystem) tag(ctx context.Context, repo, name string) (storage.Tag, error) {
	r, err := f.registry.Repository(repo)
	if err != nil {
		return storage.Tag{}, err
	}
	return r.Tags().Get(ctx, name)
}

// linkedTag is the value of a tag, where a link is one.
func (f *fileSystem) linkedTag(ctx context.Context, at placeName) (storage.Tag, error) {
	if at.place.view != viewTags || storage.CheckTag(at.name) != nil {
		return storage.Tag{}, storage.ErrTagUnknown
	}
	return f.tag(ctx, at.place.repo, at.name)
}
