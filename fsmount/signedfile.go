package fsmount

import (
	"context"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
)

// signedFile is <hex>.jws beside a manifest of schema 1: the manifest with its
// signatures. It is assembled when it is read.
type signedFile struct {
	fs     *fileSystem
	repo   string
	digest digest.Digest // of the manifest
}

var (
	_ fusefs.NodeOpener    = signedFile{}
	_ fusefs.NodeSetattrer = signedFile{}
	_ fusefs.NodeFsyncer   = signedFile{}
)

// signedFile is the signed form of a manifest, where it has one.
func (f *fileSystem) signedFile(ctx context.Context, repo string, d digest.Digest) (fusefs.Node, error) {
	node := signedFile{f, repo, d}
	_, err := node.content(ctx)
	return node, err
}

func (s signedFile) path() string {
	p := place{repo: s.repo, view: viewManifests, alg: s.digest.Algorithm().String()}
	return p.join(s.digest.Encoded() + signedSuffix)
}

func (s signedFile) content(ctx context.Context) ([]byte, error) {
	repo, err := s.fs.registry.Repository(s.repo)
	if err != nil {
		return nil, err
	}
	return repo.Manifests().Signed(ctx, s.digest)
}

func (s signedFile) Attr(ctx context.Context, a *fuse.Attr) error {
	content, err := s.content(ctx)
	if err != nil {
		return errnoOf(err)
	}
	s.fs.fileAttr(a, derivedInode(classLink, s.path()), int64(len(content)))
	a.Valid = 0 // signatures can be added
	return nil
}

func (s signedFile) Open(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	resp.Flags |= fuse.OpenDirectIO
	content, err := s.content(ctx)
	if err != nil {
		return nil, s.fs.fail(&req.Header, "open", s.path(), err)
	}
	if req.Flags.IsReadOnly() {
		return fusefs.DataHandle(content), nil
	}
	p := s.fs.placeOf(s.repo, viewManifests, s.digest.Algorithm().String())
	t, err := p.targetOf(s.digest.Encoded() + signedSuffix)
	if err != nil {
		return nil, s.fs.fail(&req.Header, "open", s.path(), err)
	}
	h, err := s.fs.openTarget(s, bytesBefore(content), t, req)
	if err != nil {
		return nil, s.fs.fail(&req.Header, "open", s.path(), err)
	}
	return h, nil
}

func (s signedFile) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	return s.fs.setSize(ctx, s, s.path(), req)
}

func (s signedFile) Fsync(ctx context.Context, req *fuse.FsyncRequest) error {
	return s.fs.fail(&req.Header, "fsync", s.path(), s.fs.handles.sync(ctx, s))
}
