package fsmount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"bazil.org/fuse"

	"registryfs/digest"
	"registryfs/storage"
)

// remove takes away a name of a place.
func (f *fileSystem) remove(ctx context.Context, p place, req *fuse.RemoveRequest) error {
	d, isDigest := p.digestOf(req.Name)
	isContent := isDigest && (isThere(f.stat(ctx, p.repo, p.view, d)) || f.isWritten(p, req.Name)) ||
		p.isPartOfLayout(req.Name) && !req.Dir
	if isContent && isReplacing(req.Header.Pid, p) {
		f.recent.note(p, req.Name)
		return nil
	}
	return f.fail(&req.Header, "remove", p.join(req.Name), f.removeName(ctx, p, req))
}

// isReplacing reports whether a thread runs a program that removes a file only
// to create it anew at once, as cp -a does where the file has several links.
// Content is not removed then: what is created must be the same anyway. Nor is
// a file of a layout, which mv replaces so, too, with one of another file
// system.
func isReplacing(tid uint32, in place) bool {
	switch commandOf(tid) {
	case "cp", "install", "tar":
		return true
	case "mv":
		return in.view == viewLayout
	}
	return false
}

func (f *fileSystem) removeName(ctx context.Context, p place, req *fuse.RemoveRequest) error {
	name, isDir := req.Name, req.Dir
	if l, ok := f.names.get(p, name); ok && l.dir != nil && isDir {
		return f.removeDir(p, name, l.dir)
	}
	if isDir || p.isPartOfLayout(name) {
		return refuse(errPerm, "this is part of the mount")
	}
	err := f.removeStored(ctx, p, req)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	isWritten := f.unlinkWriters(p, name, req.Header.Pid)
	if l, ok := f.names.get(p, name); ok && err != nil {
		f.names.remove(p, name, l)
		if l.file != nil {
			f.dropBytes(l.file)
		}
		return nil
	}
	if isWritten {
		return nil
	}
	return err
}

// removeStored removes a tag, or content. Errors: one that is fs.ErrNotExist
// where the name is that of neither.
func (f *fileSystem) removeStored(ctx context.Context, p place, req *fuse.RemoveRequest) error {
	repo, err := f.registry.Repository(p.repo)
	if err != nil {
		return err
	}
	if p.view == viewTags && storage.CheckTag(req.Name) == nil {
		return repo.Tags().Untag(ctx, req.Name)
	}
	d, ok := p.digestOf(req.Name)
	switch {
	case !ok:
		return fmt.Errorf("%w: %s", storage.ErrBlobUnknown, req.Name)
	case p.view == viewLayoutBlobs:
		return f.removeLayoutBlob(ctx, repo, processOf(req.Header.Pid), d)
	}
	if err := f.stat(ctx, p.repo, p.view, d); !isThere(err) {
		return err
	}
	return f.removeContent(ctx, repo, p.view, d)
}

// removeContent removes a manifest that nothing names, or a blob. A blob that
// manifests reference is hidden, and goes with the last of them.
func (f *fileSystem) removeContent(ctx context.Context, repo storage.Repository, v view, d digest.Digest) error {
	if !f.options.AllowDelete {
		return refuse(errPerm, "deletion is disabled; mount with --allow-delete")
	}
	if v == viewBlobs {
		return f.removeBlob(ctx, repo, d)
	}
	err := repo.Manifests().Delete(ctx, d, storage.UnlessTagged())
	if err == nil {
		f.removeHidden(ctx, repo)
	}
	return err
}

func (f *fileSystem) removeBlob(ctx context.Context, repo storage.Repository, d digest.Digest) error {
	err := repo.Blobs().Delete(ctx, d)
	if !errors.Is(err, storage.ErrReferenced) {
		return err
	}
	link, err := unwanted(ctx, repo, viewBlobs, d)
	if err != nil {
		return err
	}
	err = repo.Blobs().Delete(ctx, d)
	if errors.Is(err, storage.ErrReferenced) && f.content.hide(repo.Name(), link) {
		return nil
	}
	return err
}

// unwanted is the link of content that is to be removed later: who puts the
// content again meanwhile makes another, and keeps it.
func unwanted(ctx context.Context, repo storage.Repository, v view, d digest.Digest) (storage.Link, error) {
	link, err := keepLink(ctx, repo, v, d)
	link.Digest, link.IsNew = d, true
	return link, err
}

// removeHidden removes the blobs that were hidden and that nothing references
// any more.
func (f *fileSystem) removeHidden(ctx context.Context, repo storage.Repository) {
	for _, hidden := range f.content.hiddenIn(repo.Name()) {
		switch err := repo.Blobs().Retract(ctx, hidden); {
		case err == nil, errors.Is(err, storage.ErrBlobUnknown):
			f.content.unhide(repo.Name(), hidden.Digest)
		case !errors.Is(err, storage.ErrReferenced):
			f.log.Warn("cannot remove a hidden blob", "repository", repo.Name(), "digest", hidden.Digest, "error", err)
		}
	}
}
