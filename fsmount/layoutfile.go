package fsmount

import (
	"context"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/fsmount/loop"
	"registryfs/manifest"
)

// layoutFile is one of the two files of a layout: index.json, which is made of
// what the repository has when somebody opens it, and stays so for as long as
// they have it open, or oci-layout, which never changes.
type layoutFile struct {
	fs    *fileSystem
	place place
	name  string
}

var (
	_ fusefs.NodeOpener    = layoutFile{}
	_ fusefs.NodeSetattrer = layoutFile{}
	_ fusefs.NodeFsyncer   = layoutFile{}
	_ loop.Slow            = layoutFile{}
)

func (l layoutFile) path() string { return l.place.join(l.name) }

func (l layoutFile) inode() uint64 { return derivedInode(classLink, l.path()) }

// content is what the file holds now. Where it is an index that by reads, that
// is remembered.
func (l layoutFile) content(ctx context.Context, by process) ([]byte, error) {
	if l.name == manifest.LayoutVersionFile {
		return manifest.LayoutVersion(), nil
	}
	index, err := l.fs.layoutIndex(ctx, l.place.repo)
	if err != nil {
		return nil, err
	}
	if by != (process{}) {
		l.fs.layouts.bases.read(l.place.repo, by, index.version)
	}
	return index.payload, nil
}

func (l layoutFile) Attr(ctx context.Context, a *fuse.Attr) error {
	content, err := l.content(ctx, process{})
	if err != nil {
		l.fs.note(0, "stat", l.path(), err)
		return errnoOf(err)
	}
	l.fs.fileAttr(a, l.inode(), int64(len(content)))
	a.Valid = 0
	return nil
}

// IsSlow reports whether a request waits for an index to be made.
func (l layoutFile) IsSlow(req fuse.Request) bool {
	return l.name == manifest.LayoutIndexFile && !l.fs.hasLayoutIndex(l.place.repo)
}

// Open begins with direct I/O, since the kernel does not know the size of what
// a handle holds.
func (l layoutFile) Open(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	resp.Flags |= fuse.OpenDirectIO
	h, err := l.open(ctx, req)
	if err != nil {
		return nil, l.fs.fail(&req.Header, "open", l.path(), err)
	}
	return h, nil
}

func (l layoutFile) open(ctx context.Context, req *fuse.OpenRequest) (fusefs.Handle, error) {
	by := processOf(req.Header.Pid)
	if req.Flags.IsReadOnly() {
		content, err := l.content(ctx, by)
		return fusefs.DataHandle(content), err
	}
	t, err := l.place.targetOf(l.name)
	if err != nil {
		return nil, err
	}
	t.by = by
	if !req.Flags.IsReadWrite() {
		return l.fs.openTarget(l, nil, t, req)
	}
	content, err := l.content(ctx, by)
	if err != nil {
		return nil, err
	}
	return l.fs.openTarget(l, bytesBefore(content), t, req)
}

func (l layoutFile) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	return l.fs.setSize(ctx, l, l.path(), req)
}

func (l layoutFile) Fsync(ctx context.Context, req *fuse.FsyncRequest) error {
	return l.fs.fail(&req.Header, "fsync", l.path(), l.fs.handles.sync(ctx, l))
}

// checkLayoutVersion takes what was written to oci-layout: it must be what is
// there.
func checkLayoutVersion(ctx context.Context, s *staging) error {
	payload, err := s.payload(ctx, manifest.MaxLayoutVersionSize)
	if err != nil {
		return err
	}
	if err := manifest.CheckLayoutVersion(payload); err != nil {
		return err
	}
	s.published()
	return nil
}
