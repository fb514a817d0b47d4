package fsmount

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
	"registryfs/fsmount/loop"
	"registryfs/storage"
)

// localNode is the node of a name of the mount alone, or nil.
func (f *fileSystem) localNode(p place, name string) fusefs.Node {
	l, ok := f.names.get(p, name)
	switch {
	case !ok:
		return nil
	case l.file != nil:
		return l.file
	case l.dir != nil:
		return l.dir
	default:
		return f.namedLink(p, name)
	}
}

// absent is the answer that there is no such name. Where it can be only a
// temporary's, which nothing but a request with that name makes, the kernel may
// keep that.
func (f *fileSystem) absent(name string, resp *fuse.LookupResponse) error {
	if !isScratch(name) {
		return syscall.ENOENT
	}
	resp.EntryValid = f.options.AttrTimeout
	return loop.ErrAbsent
}

// create begins a file. A temporary is found under its name at once; anything
// else only when it is published, or left empty.
func (f *fileSystem) create(p place, req *fuse.CreateRequest, resp *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	t, err := p.madeBy(req.Header.Pid, req.Name)
	if err == nil && !t.isCommitted() {
		err = f.names.mayAdd()
	}
	if err != nil {
		return nil, nil, f.fail(&req.Header, "create", p.join(req.Name), err)
	}
	if t.isLayoutFile() {
		t.by = processOf(req.Header.Pid)
	}
	file, err := f.newStagedFile(t)
	if err != nil {
		return nil, nil, f.fail(&req.Header, "create", t.path(), err)
	}
	h, err := file.openForWriting(req.Header.Pid, req.Flags, &resp.OpenResponse)
	if err != nil {
		return nil, nil, f.fail(&req.Header, "create", t.path(), err)
	}
	if !t.isCommitted() {
		f.names.put(p, req.Name, local{file: file})
		f.sweepLater()
	}
	resp.EntryValid = 0
	return file, h, nil
}

// symlink makes a tag, an alias, or a temporary that becomes one of them when
// it is renamed.
func (f *fileSystem) symlink(ctx context.Context, p place, req *fuse.SymlinkRequest) (fusefs.Node, error) {
	node, err := f.makeLink(ctx, req.Header.Pid, p, req.NewName, req.Target)
	if err != nil {
		return nil, f.fail(&req.Header, "symlink", p.join(req.NewName), err)
	}
	return node, nil
}

func (f *fileSystem) makeLink(ctx context.Context, tid uint32, p place, name, text string) (fusefs.Node, error) {
	if f.isClosing() {
		return nil, refuse(errClosing, "the mount is being closed")
	}
	t, err := p.madeBy(tid, name)
	if err != nil {
		return nil, err
	}
	if t.means != aScratch {
		return f.setLinkOrWait(ctx, tid, p, name, text)
	}
	if err := f.names.mayAdd(); err != nil {
		return nil, err
	}
	f.names.put(p, name, local{link: text})
	f.sweepLater()
	return f.namedLink(p, name), nil
}

// setLinkOrWait is setLink, but what rsync links to may come later: a tag
// waits for its manifest, and an alias is set before its content is there. rsync
// works in the directory that it copies to: where that is the tags', it brings
// no manifest.
func (f *fileSystem) setLinkOrWait(ctx context.Context, tid uint32, p place, name, text string) (fusefs.Node, error) {
	node, from, err := f.setLink(ctx, p, name, text)
	if err == nil || from.repo != p.repo || commandOf(tid) != "rsync" {
		return node, err
	}
	isOfTagsAlone := directoryOf(tid) == join(f.at, p.path())
	if d, ok := awaitedBy(from, err); ok && p.view == viewTags && !isOfTagsAlone {
		if err := f.postpone(ctx, tid, placeName{p, name}, text, d); err != nil {
			return nil, err
		}
		return f.namedLink(p, name), nil
	}
	t, targetErr := p.targetOf(name)
	isAlias := targetErr == nil && (t.means == aBlobAlias || t.means == aManifestAlias)
	if isAlias && from.view == p.view && errors.Is(err, fs.ErrNotExist) {
		f.names.putAlias(p, name, from.digest)
		return f.namedLink(p, name), nil
	}
	return nil, err
}

// setLink makes a name what the text of a symlink leads to.
func (f *fileSystem) setLink(ctx context.Context, p place, name, text string) (fusefs.Node, source, error) {
	from, err := f.resolve(ctx, p, text)
	if err != nil {
		return nil, from, err
	}
	node, err := f.setContent(ctx, p, name, from)
	return node, from, err
}

// setContent gives stored content a name: a tag, an alias, or its own digest
// in another repository.
func (f *fileSystem) setContent(ctx context.Context, p place, name string, from source) (fusefs.Node, error) {
	t, err := p.targetOf(name)
	if err != nil {
		return nil, err
	}
	if t.digest != "" && t.digest != from.digest {
		return nil, storage.ErrDigestMismatch
	}
	if err := f.bring(ctx, p, from); err != nil {
		return nil, err
	}
	switch t.means {
	case aTag:
		repo, err := f.registry.Repository(p.repo)
		if err != nil {
			return nil, err
		}
		if err := repo.Tags().Tag(ctx, name, from.digest); err != nil {
			return nil, err
		}
		return f.namedLink(p, name), nil
	case aBlobAlias, aManifestAlias:
		f.names.putAlias(p, name, from.digest)
		return f.namedLink(p, name), nil
	case aBlob, aManifest:
		return blobFile{f, p.repo, from.digest}, nil
	default:
		return nil, refuse(errPerm, "stored content cannot become a temporary")
	}
}

// bring makes content of another view or repository part of a place, and keeps
// what is part of it already. Nothing is copied from one repository to another:
// they share content.
func (f *fileSystem) bring(ctx context.Context, p place, from source) error {
	to, err := f.registry.Repository(p.repo)
	if err != nil {
		return err
	}
	origin, err := f.registry.Repository(from.repo)
	if err != nil {
		return err
	}
	wanted, copied := p.view, p.view // the view, and that under whose name it is copied
	switch p.view {
	case viewTags:
		wanted, copied = viewManifests, viewManifests
	case viewLayoutBlobs:
		if v, err := f.viewOf(ctx, p.repo, from.digest); err == nil {
			return keep(ctx, to, v, from.digest)
		}
		wanted = viewBlobs // a manifest, too, until the index lists it
	}
	switch {
	case from.view == wanted && from.repo == p.repo:
		if p.view != viewTags { // who sets a tag looks again
			err = keep(ctx, to, wanted, from.digest)
		}
	case from.view == viewManifests && wanted == viewManifests:
		if _, err = to.Manifests().Mount(ctx, origin, from.digest); err == nil {
			f.arrived(ctx, p.repo, from.digest)
		}
	case from.view == viewBlobs && wanted == viewBlobs:
		if _, err = to.Blobs().Mount(ctx, origin, from.digest); err == nil {
			f.content.unhide(p.repo, from.digest)
		}
	default:
		err = f.copyContent(ctx, to, copied, from)
	}
	return err
}

// keep makes content of a repository also that of who is told now that it is
// there: a file that has published it cannot take it back any more.
func keep(ctx context.Context, repo storage.Repository, v view, d digest.Digest) error {
	_, err := keepLink(ctx, repo, v, d)
	return err
}

func keepLink(ctx context.Context, repo storage.Repository, v view, d digest.Digest) (storage.Link, error) {
	if v == viewManifests {
		return repo.Manifests().Keep(ctx, d)
	}
	return repo.Blobs().Keep(ctx, d)
}

// retractLink takes back a link that was made in a view.
func retractLink(ctx context.Context, repo storage.Repository, v view, made storage.Link) error {
	if v == viewManifests {
		return repo.Manifests().Retract(ctx, made)
	}
	return repo.Blobs().Retract(ctx, made)
}

// copyContent stores content of one view in another.
func (f *fileSystem) copyContent(ctx context.Context, to storage.Repository, into view, from source) error {
	blob, err := f.openContent(ctx, from.repo, from.digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	s := &staging{repo: to}
	defer s.drop(ctx)
	for buf, off := make([]byte, copyBuffer), int64(0); off < blob.Descriptor().Size; {
		n, err := blob.ReadAt(buf, off)
		if n == 0 {
			return err
		}
		if _, err := s.writeAt(ctx, buf[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	p := f.placeOf(to.Name(), into, from.digest.Algorithm().String())
	t, err := p.targetOf(from.digest.Encoded())
	if err != nil {
		return err
	}
	_, err = f.publish(ctx, t, s)
	return err
}

// link gives content, or a file being written, a further name.
func (f *fileSystem) link(ctx context.Context, p place, req *fuse.LinkRequest, old fusefs.Node) (fusefs.Node, error) {
	node, err := f.linkTo(ctx, p, req.NewName, old)
	if err != nil {
		return nil, f.fail(&req.Header, "link", p.join(req.NewName), err)
	}
	return node, nil
}

// linkTo answers with a node of the kind of old: the kernel insists. What the
// name is from then on it learns when it looks again.
func (f *fileSystem) linkTo(ctx context.Context, p place, name string, old fusefs.Node) (fusefs.Node, error) {
	if f.isClosing() {
		return nil, refuse(errClosing, "the mount is being closed")
	}
	switch old := old.(type) {
	case blobFile:
		v, err := f.viewOf(ctx, old.repo, old.digest)
		if err != nil {
			return nil, err
		}
		if p.view != viewBlobs && v == viewBlobs && f.stat(ctx, old.repo, viewManifests, old.digest) == nil {
			v = viewManifests // it is both
		}
		if _, err := f.setContent(ctx, p, name, source{old.repo, v, old.digest}); err != nil {
			return nil, err
		}
		return blobFile{f, p.repo, old.digest}, nil
	case *namedLink:
		from, err := f.leadsTo(ctx, old.name())
		if err != nil {
			return nil, err
		}
		return f.setContent(ctx, p, name, from)
	case *stagedFile:
		if old.goal().place.repo != p.repo {
			return nil, refuse(errCrossDevice, "a file being written belongs to its repository")
		}
		t, err := p.targetOf(name)
		if err != nil {
			return nil, err
		}
		if _, err := f.publish(ctx, t, old.content()); err != nil {
			return nil, err
		}
		return old, nil
	}
	return nil, refuse(errPerm, "this cannot be linked")
}
