package fsmount

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/fsmount/loop"
	"registryfs/storage"
)

// repoDir is a directory named like a repository: a repository, a namespace of
// others, both, or one in waiting. "" is the root.
type repoDir struct {
	refusals
	name string
	gen  uint64
}

var (
	_ fusefs.NodeRequestLookuper = repoDir{}
	_ fusefs.HandleReadDirAller  = repoDir{}
	_ loop.KeptDirectory         = repoDir{}
	_ loop.EntryValider          = repoDir{}
)

func (f *fileSystem) directory(name string, gen uint64) repoDir {
	return repoDir{refusals{f, "/" + name}, name, gen}
}

func (d repoDir) EntryValid() time.Duration { return d.fs.options.AttrTimeout }

func (d repoDir) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, repoInode(d.name))
	return nil
}

func repoInode(name string) uint64 {
	if name == "" {
		return inodeRoot
	}
	return derivedInode(classRepo, name)
}

func (d repoDir) child(name string) string { return strings.TrimPrefix(d.name+"/"+name, "/") }

func (d repoDir) parentInode() uint64 {
	i := strings.LastIndexByte(d.name, '/')
	return repoInode(d.name[:max(i, 0)])
}

func (d repoDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = d.fs.options.AttrTimeout
	if node := d.view(req.Name); node != nil {
		return node, nil
	}
	if d.name == "" && req.Name == controlName {
		return d.fs.controlDirectory(), nil
	}
	name := d.child(req.Name)
	if storage.CheckName(name) != nil {
		return nil, loop.ErrAbsent
	}
	if !d.fs.waiting.has(name) {
		exists, err := d.fs.registry.Exists(ctx, name)
		if err != nil {
			return nil, d.fs.failLookup(&req.Header, join(d.path, req.Name), err)
		}
		if !exists {
			return nil, loop.ErrAbsent // only MKDIR makes it, or somebody else
		}
	}
	return d.fs.directory(name, d.fs.waiting.generation(name)), nil
}

// view is one of the directories of a repository, or nil. Every name answers
// for them, whether or not it holds anything.
func (d repoDir) view(name string) fusefs.Node {
	if d.name == "" {
		return nil
	}
	p := place{repo: d.name, gen: d.gen}
	switch name {
	case viewBlobs.String():
		p.view = viewBlobs
		return d.fs.contentDirectory(p)
	case viewManifests.String():
		p.view = viewManifests
		return d.fs.contentDirectory(p)
	case viewTags.String():
		p.view = viewTags
		return d.fs.tagsDirectory(p)
	case viewUploads.String():
		p.view = viewUploads
		return d.fs.uploadsDirectory(p)
	case viewLayout.String():
		p.view = viewLayout
		return d.fs.layoutDirectory(p)
	case viewImages.String():
		p.view = viewImages
		return d.fs.imagesDirectory(p)
	}
	return nil
}

func (d repoDir) ListingKept() (time.Duration, uint64) {
	return d.fs.options.AttrTimeout, d.fs.changes.version(d.name)
}

func (d repoDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := listing(repoInode(d.name), d.parentInode())
	children, err := d.fs.registry.List(ctx, d.name)
	if err != nil && !errors.Is(err, storage.ErrRepositoryUnknown) {
		return nil, d.fs.fail(&fuse.Header{}, "list", d.path, err)
	}
	children = append(children, d.fs.waiting.below(d.name)...)
	slices.Sort(children)
	children = slices.Compact(children)
	if d.name == "" {
		if d.fs.options.ListViews {
			entries = append(entries, fuse.Dirent{Inode: d.fs.controlDirectory().inode(), Type: fuse.DT_Dir, Name: controlName})
		}
	} else if len(children) == 0 || d.isRepository(ctx) {
		entries = d.appendViews(entries)
	}
	for _, child := range children {
		name := child[strings.LastIndexByte(child, '/')+1:]
		entries = append(entries, fuse.Dirent{Inode: repoInode(child), Type: fuse.DT_Dir, Name: name})
	}
	return entries, nil
}

func (d repoDir) isRepository(ctx context.Context) bool {
	entry, err := d.fs.registry.Stat(ctx, d.name)
	return err == nil && entry.Repository
}

// appendViews appends the views in the order in which they must be copied.
func (d repoDir) appendViews(entries []fuse.Dirent) []fuse.Dirent {
	views := []view{viewBlobs, viewManifests, viewTags}
	if d.fs.options.ListViews {
		views = append(views, viewUploads, viewLayout, viewImages)
	}
	for _, v := range views {
		entries = append(entries, fuse.Dirent{Inode: viewInode(place{repo: d.name, view: v}), Type: fuse.DT_Dir, Name: v.String()})
	}
	return entries
}

// viewInode is the number of a place. Places of one repository are in the
// order of their views.
func viewInode(p place) uint64 {
	return derivedInode(classView+inodeClass(p.view), p.repo+":"+p.alg)
}

func (d repoDir) Mkdir(ctx context.Context, req *fuse.MkdirRequest) (fusefs.Node, error) {
	name := d.child(req.Name)
	if err := storage.CheckName(name); err != nil {
		return nil, d.fs.fail(&req.Header, "mkdir", join(d.path, req.Name), err)
	}
	if d.fs.waiting.isFull() {
		d.fs.tidyWaiting(ctx)
	}
	if err := d.fs.waiting.add(name); err != nil {
		return nil, d.fs.fail(&req.Header, "mkdir", join(d.path, req.Name), err)
	}
	return d.fs.directory(name, d.fs.waiting.generation(name)), nil
}

// tidyWaiting takes out of the tables of repositories in waiting what they need
// not hold.
func (f *fileSystem) tidyWaiting(ctx context.Context) {
	f.waiting.prune(func(name string) bool {
		exists, err := f.registry.Exists(ctx, name)
		return err == nil && exists
	})
	named := f.names.directories()
	f.waiting.forget(func(dir madeDir) bool {
		return named[dir] || f.loop != nil && f.loop.Knows(f.directory(dir.name, dir.number))
	})
}

func (d repoDir) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	return d.fs.fail(&req.Header, "remove", join(d.path, req.Name), d.remove(ctx, req))
}

func (d repoDir) remove(ctx context.Context, req *fuse.RemoveRequest) error {
	name := d.child(req.Name)
	if !req.Dir || d.view(req.Name) != nil || !d.fs.waiting.has(name) {
		if req.Dir && d.view(req.Name) == nil && req.Name != controlName {
			return refuse(syscall.ENOTEMPTY, "a repository is removed with `registryfs rm`")
		}
		return refuse(errPerm, "this is part of the mount")
	}
	exists, err := d.fs.registry.Exists(ctx, name)
	if err != nil {
		return err
	}
	if exists || !d.fs.waiting.remove(name) {
		return refuse(syscall.ENOTEMPTY, "it holds something")
	}
	return nil
}
