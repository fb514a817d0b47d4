package fsmount

import (
	"context"
	"errors"
	"fmt"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
	"registryfs/storage"
)

// rename gives what a name stands for another name. Renaming a temporary is
// how rsync, sed -i, ln -sf and most programs publish.
func (f *fileSystem) rename(ctx context.Context, p place, req *fuse.RenameRequest, newDir fusefs.Node) error {
	from := p.join(req.OldName)
	to, ok := placeOf(newDir)
	if !ok {
		return f.fail(&req.Header, "rename", from, refuse(errPerm, "it cannot be moved there"))
	}
	if err := f.renameName(ctx, req.Header.Pid, p, req.OldName, to, req.NewName); err != nil {
		return f.fail(&req.Header, "rename", from, err)
	}
	f.links.rename(placeName{p, req.OldName}, placeName{to, req.NewName})
	return nil
}

// placeOf is the place that a directory is.
func placeOf(dir fusefs.Node) (place, bool) {
	switch dir := dir.(type) {
	case contentDir:
		return dir.place, true
	case algDir:
		return dir.place, true
	case tagsDir:
		return dir.place, true
	case uploadsDir:
		return dir.place, true
	case layoutDir:
		return dir.place, true
	case *scratchDir:
		return dir.place(), true
	}
	return place{}, false
}

func (f *fileSystem) renameName(ctx context.Context, tid uint32, p place, name string, to place, newName string) error {
	if f.isClosing() {
		return refuse(errClosing, "the mount is being closed")
	}
	if p.view == viewTags && storage.CheckTag(name) == nil {
		if err := f.renameTag(ctx, p, name, to, newName); !errors.Is(err, storage.ErrTagUnknown) {
			return err
		}
	}
	l, ok := f.names.get(p, name)
	switch {
	case !ok && p.view != viewTags && p.alg == "" && digest.IsAlgorithm(name):
		return refuse(errPerm, "this is part of the mount")
	case !ok:
		if d, isDigest := p.digestOf(name); isDigest && f.stat(ctx, p.repo, p.view, d) == nil {
			return refuse(errPerm, "stored content keeps its name")
		}
		if p.isPartOfLayout(name) {
			return refuse(errPerm, "this is part of the mount")
		}
		return fmt.Errorf("%w: %s", storage.ErrBlobUnknown, name)
	case l.file != nil:
		return f.renameFile(ctx, tid, p, name, l.file, to, newName)
	case l.dir != nil:
		return f.renameDir(p, name, l.dir, to, newName)
	case f.pending.shown(placeName{p, name}) != nil:
		return refuse(errBusy, "the tag waits for its manifest")
	}
	t, err := to.targetOf(newName)
	if err != nil {
		return err
	}
	switch {
	case l.alias != "" && t.means == aScratch:
		f.names.putAlias(to, newName, l.alias)
	case l.alias != "":
		_, err = f.setContent(ctx, to, newName, source{p.repo, p.view, l.alias})
	case t.means == aScratch:
		f.names.put(to, newName, l)
	default:
		_, err = f.setLinkOrWait(ctx, tid, to, newName, l.link)
	}
	if err == nil {
		f.names.remove(p, name, l)
	}
	return err
}

// renameTag moves a tag. Into another repository it takes the image along.
func (f *fileSystem) renameTag(ctx context.Context, p place, name string, to place, newName string) error {
	repo, err := f.registry.Repository(p.repo)
	if err != nil {
		return err
	}
	if to.view != viewTags || isScratch(newName) {
		if _, err := repo.Tags().Get(ctx, name); err != nil {
			return err
		}
		return refuse(errPerm, "a tag can be moved only to a tag: a temporary would not last")
	}
	if to.repo == p.repo {
		return repo.Tags().Rename(ctx, name, newName)
	}
	tag, err := repo.Tags().Get(ctx, name)
	if err != nil {
		return err
	}
	if _, err := f.setContent(ctx, to, newName, source{p.repo, viewManifests, tag.Digest}); err != nil {
		return err
	}
	// Where it has been moved meanwhile, that came after.
	return repo.Tags().Replace(ctx, name, tag.Digest, "")
}

// renameFile gives a file another name, and publishes it where that name means
// something and the file has content.
func (f *fileSystem) renameFile(ctx context.Context, tid uint32, p place, name string, file *stagedFile, to place, newName string) error {
	if to.repo != p.repo {
		return refuse(errCrossDevice, "a file being written belongs to its repository")
	}
	t, err := to.targetOf(newName)
	if err != nil {
		return err
	}
	if t.isLayoutFile() {
		t.by = processOf(tid)
	}
	l := local{file: file}
	isNothing := file.isEmpty() && (t.digest == "" || !digest.Matches(t.digest, nil)) && !t.isLayoutFile()
	if !t.isCommitted() || isNothing {
		f.names.remove(p, name, l)
		if old, ok := f.names.get(to, newName); ok && old.file != nil && old.file != file {
			defer f.dropBytes(old.file)
		}
		f.pending.end(f.pending.shown(placeName{to, newName}))
		f.names.put(to, newName, l)
		file.rename(t)
		return nil
	}
	if _, err := f.publish(ctx, t, file.content()); err != nil {
		return err
	}
	f.names.remove(p, name, l)
	file.rename(t)
	f.dropBytes(file)
	return nil
}

// renameUpload finishes an upload under the name of what it is.
func (f *fileSystem) renameUpload(ctx context.Context, p place, id string, to place, newName string) error {
	t, err := to.targetOf(newName)
	if err != nil {
		return err
	}
	if to.repo != p.repo {
		return refuse(errCrossDevice, "an upload belongs to its repository")
	}
	if !t.isCommitted() {
		return refuse(errPerm, "an upload is finished by renaming it to what it is")
	}
	repo, err := f.registry.Repository(p.repo)
	if err != nil {
		return err
	}
	u, err := uploadFile{f, p, id}.take(ctx, repo.Blobs())
	if err != nil {
		return err
	}
	s := &staging{repo: repo, upload: u, changed: true}
	s.size.Store(u.Size())
	if _, err := f.publish(ctx, t, s); err != nil {
		_, keepErr := s.keep()
		return errors.Join(err, keepErr)
	}
	return s.drop(ctx)
}
