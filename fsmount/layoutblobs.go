package fsmount

import (
	"context"
	"errors"
	"slices"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// publishLayoutBlob makes content a blob, unless it is a manifest of the
// repository: then that is pushed again, which heals it where it was damaged.
func (f *fileSystem) publishLayoutBlob(ctx context.Context, s *staging, d digest.Digest) (publication, error) {
	defer f.layouts.links.lock(s.repo.Name(), d)()
	if isManifest, err := isRevision(ctx, s.repo, d); err == nil && isManifest {
		return f.repeatManifest(ctx, s, d)
	}
	made, err := f.publishBlob(ctx, s, d)
	if err == nil {
		size, _ := s.length()
		f.layouts.links.add(s.repo.Name(), made.link, size)
	}
	return made, err
}

// repeatManifest stores again a manifest that was put before.
func (f *fileSystem) repeatManifest(ctx context.Context, s *staging, d digest.Digest) (publication, error) {
	payload, err := s.payload(ctx, manifest.MaxSize)
	if err != nil {
		return publication{}, err
	}
	if !digest.Matches(d, payload) {
		return publication{}, storage.ErrDigestMismatch
	}
	_, err = s.repo.Manifests().Put(ctx, "", payload, storage.SkipReferences(), storage.AcceptUnsigned())
	if err != nil {
		return publication{}, err
	}
	s.published()
	return publication{means: aManifest, digest: d}, nil
}

// removeLayoutBlob is the removal of a file below _oci/blobs. It always
// succeeds, and never takes away what something references: tools collect
// garbage there after each write, some do not know all kinds of manifest, and
// some remove the files of an image before they take it out of index.json.
// Where deletion is allowed, what nothing references goes at once, and what
// something does goes with the index.json that the same process writes next, if
// that was the last reference. A manifest that is not in any index.json that
// the process has read is somebody else's, who has just put it there.
func (f *fileSystem) removeLayoutBlob(ctx context.Context, repo storage.Repository, by process, d digest.Digest) error {
	if _, err := f.viewOf(ctx, repo.Name(), d); err != nil || !f.options.AllowDelete {
		return err
	}
	if !f.layouts.bases.mayRemove(repo.Name(), by, d) {
		if isManifest, err := isRevision(ctx, repo, d); err != nil || isManifest {
			return err
		}
	}
	if isGone, err := removeUnreferenced(ctx, repo, d); err != nil || isGone {
		return err
	}
	left := leftContent{view: viewBlobs}
	if isManifest, err := isRevision(ctx, repo, d); err != nil {
		return err
	} else if isManifest {
		left.view = viewManifests
	}
	var err error
	left.link, err = unwanted(ctx, repo, left.view, d)
	if isGone, err := isRemoved(err); err != nil || isGone && left.link.Version == "" {
		return err
	}
	f.layouts.bases.removed(repo.Name(), by, left)
	return nil
}

// leftContent is content that a process has removed and that something still
// references.
type leftContent struct {
	view view
	link storage.Link
}

// removeLeft removes what a process has removed from _oci/blobs and what
// nothing references any more, unless somebody has put it again: manifests
// first, since they reference others.
func (f *fileSystem) removeLeft(ctx context.Context, repo storage.Repository, left []leftContent) error {
	if len(left) == 0 {
		return nil
	}
	for isLess := true; isLess; {
		isLess = false
		for i := len(left) - 1; i >= 0; i-- {
			isGone, err := isRemoved(retractLink(ctx, repo, left[i].view, left[i].link))
			if err != nil {
				return err
			}
			if isGone {
				left, isLess = slices.Delete(left, i, i+1), true
			}
		}
	}
	f.removeHidden(ctx, repo)
	return nil
}

// removeUnreferenced removes a blob or a manifest from a repository, unless
// something references it, and reports whether it is gone.
func removeUnreferenced(ctx context.Context, repo storage.Repository, d digest.Digest) (isGone bool, err error) {
	isManifest, err := isRevision(ctx, repo, d)
	if err != nil {
		return false, err
	}
	if !isManifest {
		err = repo.Blobs().Delete(ctx, d)
	} else {
		err = repo.Manifests().Delete(ctx, d, storage.UnlessTagged())
	}
	return isRemoved(err)
}

// isRemoved tells from the error of removing content whether it is gone.
func isRemoved(err error) (isGone bool, _ error) {
	switch {
	case errors.Is(err, storage.ErrReferenced):
		return false, nil
	case errors.Is(err, storage.ErrBlobUnknown), errors.Is(err, storage.ErrManifestUnknown):
		return true, nil
	}
	return err == nil, err
}

// isRevision reports whether a repository has content as a manifest, and not
// only among its blobs.
func isRevision(ctx context.Context, repo storage.Repository, d digest.Digest) (bool, error) {
	_, err := repo.Blobs().Stat(ctx, d)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, storage.ErrBlobUnknown) {
		return false, err
	}
	return repo.Manifests().Exists(ctx, d)
}
