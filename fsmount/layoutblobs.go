package fsmount

import (
	"context"
	"errors"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// publishLayoutBlob makes content a blob, unless it is a manifest of the
// repository: then that is pushed again, which heals it where it was damaged.
func (f *fileSystem) publishLayoutBlob(ctx context.Context, s *staging, d digest.Digest) (publication, error) {
	_, err := s.repo.Blobs().Stat(ctx, d)
	if errors.Is(err, storage.ErrBlobUnknown) {
		if isManifest, err := s.repo.Manifests().Exists(ctx, d); err == nil && isManifest {
			return f.repeatManifest(ctx, s, d)
		}
	}
	return f.publishBlob(ctx, s, d)
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

// removeLayoutBlob is the removal of a file below _oci/blobs. Tools collect
// garbage there after every write, by an index.json that may be old by then, so
// it always succeeds. It takes effect where removing the content in its own
// view would, but for what something references.
func (f *fileSystem) removeLayoutBlob(ctx context.Context, repo storage.Repository, d digest.Digest) error {
	v, err := f.viewOf(ctx, repo.Name(), d)
	if err != nil || !f.options.AllowDelete {
		return err
	}
	if v == viewBlobs {
		err = repo.Blobs().Delete(ctx, d)
	} else if tags, lookupErr := repo.Tags().Lookup(ctx, d); lookupErr != nil || len(tags) > 0 {
		return lookupErr
	} else {
		err = repo.Manifests().Delete(ctx, d)
	}
	if errors.Is(err, storage.ErrReferenced) {
		return nil
	}
	return err
}
