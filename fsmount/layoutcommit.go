package fsmount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// commitIndex does what the writer of an index.json means, as one step for
// other writers: everything that it newly names is checked, manifests among the
// blobs become manifests, and then the tags change. A document that is bad, or
// that leads to something bad or missing, changes nothing.
func (f *fileSystem) commitIndex(ctx context.Context, t target, s *staging) error {
	payload, err := s.payload(ctx, manifest.MaxLayoutSize)
	if err != nil {
		return err
	}
	written, err := manifest.ParseLayout(payload)
	if err != nil {
		return err
	}
	defer f.layouts.locks.lock(s.repo.Name())()
	current, err := tagsOf(ctx, s.repo)
	if err != nil {
		return err
	}
	base := f.layouts.bases.of(s.repo.Name(), t.by, written.Generation)
	changes := mergeLayout(written, base, current)
	if err := f.checkChanges(ctx, s.repo, base, changes, current); err != nil {
		return err
	}
	plan := &layoutPlan{fs: f, repo: s.repo, seen: map[digest.Digest]bool{}}
	if err := plan.check(ctx, base, changes); err != nil {
		return err
	}
	if err := plan.promote(ctx); err != nil {
		return err
	}
	if err := setTags(ctx, s.repo, changes, current); err != nil {
		return err
	}
	left := f.layouts.bases.takeRemoved(s.repo.Name(), t.by)
	f.layouts.bases.wrote(s.repo.Name(), t.by, newVersion(written.Generation, written))
	s.published()
	if err := f.removeLeft(ctx, s.repo, left); err != nil {
		f.log.Warn("cannot remove what nothing references", "repository", s.repo.Name(), "error", err)
	}
	return nil
}

// checkChanges refuses changes of tags that cannot be made, or that may not be
// meant: where it is not remembered which index the writer began with, a tag
// that it has as it once was may be one that others have moved since.
func (f *fileSystem) checkChanges(ctx context.Context, repo storage.Repository, base layoutBase, changes layoutChanges, current map[string]digest.Digest) error {
	for _, e := range changes.set {
		was, exists := current[e.Tag]
		if !exists {
			continue
		}
		if f.options.ImmutableTags {
			return fmt.Errorf("%w: %s names %s", storage.ErrTagImmutable, e.Tag, was)
		}
		if !base.isForgotten {
			continue
		}
		history, err := repo.Tags().History(ctx, e.Tag)
		if err != nil {
			return err
		}
		if slices.Contains(history, e.Digest) {
			return refuse(syscall.ESTALE, "index.json was read too long ago, and may undo a later move of tag "+e.Tag+"; begin anew")
		}
	}
	if f.options.ImmutableTags && len(changes.remove) > 0 {
		return fmt.Errorf("%w: %s", storage.ErrTagImmutable, changes.remove[0])
	}
	return nil
}

// setTags changes tags. Where one cannot be changed, those before it are as
// they were again, so far as that is possible and others have not moved them.
func setTags(ctx context.Context, repo storage.Repository, changes layoutChanges, current map[string]digest.Digest) error {
	var undo []func() error
	fail := func(err error) error {
		for _, u := range undo {
			err = errors.Join(err, u())
		}
		return err
	}
	for _, e := range changes.set {
		if err := repo.Tags().Tag(ctx, e.Tag, e.Digest); err != nil {
			return fail(err)
		}
		undo = append(undo, func() error { return repo.Tags().Replace(ctx, e.Tag, e.Digest, current[e.Tag]) })
	}
	for _, tag := range changes.remove {
		if err := repo.Tags().Untag(ctx, tag); errors.Is(err, storage.ErrTagUnknown) {
			continue // others have removed it, and that is not ours to undo
		} else if err != nil {
			return fail(err)
		}
		undo = append(undo, func() error { return repo.Tags().Replace(ctx, tag, "", current[tag]) })
	}
	return nil
}

// maxLayoutDepth bounds the nesting of indexes in a layout.
const maxLayoutDepth = 32

// layoutPlan is what has to become a manifest before tags can change.
type layoutPlan struct {
	fs      *fileSystem
	repo    storage.Repository
	seen    map[digest.Digest]bool
	order   []manifest.Descriptor // children first
	named   []digest.Digest       // that only the index names
	missing storage.MissingError
}

// check walks everything that an index newly names. Errors: a
// [*storage.MissingError] of all that is missing.
func (p *layoutPlan) check(ctx context.Context, base layoutBase, changes layoutChanges) error {
	for _, e := range changes.set {
		if err := p.add(ctx, e.Descriptor, 0); err != nil {
			return err
		}
	}
	for _, desc := range changes.nameless {
		if base.knew(desc.Digest) {
			continue // it is there, or others have removed it
		}
		if err := p.add(ctx, desc, 0); err != nil {
			return err
		}
		p.named = append(p.named, desc.Digest)
	}
	if len(p.missing.Blobs)+len(p.missing.Manifests) > 0 {
		return &p.missing
	}
	return nil
}

// add checks a manifest and what it references.
func (p *layoutPlan) add(ctx context.Context, desc manifest.Descriptor, depth int) error {
	if p.seen[desc.Digest] {
		return nil
	}
	p.seen[desc.Digest] = true
	if depth > maxLayoutDepth {
		return refuse(errInvalid, fmt.Sprintf("indexes nest deeper than %d", maxLayoutDepth))
	}
	payload, err := readManifest(ctx, p.repo, desc.Digest)
	switch {
	case errors.Is(err, storage.ErrManifestUnknown):
		if depth == 0 || !p.fs.options.SparseIndexes {
			p.missing.Manifests = append(p.missing.Manifests, desc.Digest)
		}
		return nil
	case err != nil:
		return err
	case int64(len(payload)) != desc.Size:
		return refuse(errInvalid, fmt.Sprintf("%s has %d bytes, its descriptor says %d", desc.Digest, len(payload), desc.Size))
	}
	known := factsOf(payload)
	for _, child := range known.children {
		if err := p.add(ctx, child, depth+1); err != nil {
			return err
		}
	}
	_, err = p.repo.Blobs().Stat(ctx, desc.Digest)
	switch {
	case errors.Is(err, storage.ErrBlobUnknown): // it is a manifest, and was put as one
		return p.addBlobs(ctx, known)
	case err != nil:
		return err
	case !digest.IsCanonical(desc.Digest):
		return refuse(errInvalid, "manifests are known by sha256, not "+desc.Digest.String())
	}
	_, err = p.repo.Manifests().Put(ctx, desc.MediaType, payload, storage.CheckOnly())
	var missing *storage.MissingError
	switch {
	case errors.As(err, &missing):
		p.missing.Blobs = append(p.missing.Blobs, missing.Blobs...)
		return nil
	case err != nil:
		return err
	}
	p.order = append(p.order, desc)
	return nil
}

// addBlobs checks that what a manifest references is still there.
func (p *layoutPlan) addBlobs(ctx context.Context, known *facts) error {
	for _, d := range known.blobs {
		_, err := p.repo.Blobs().Stat(ctx, d)
		if errors.Is(err, storage.ErrBlobUnknown) {
			p.missing.Blobs = append(p.missing.Blobs, d)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// promote makes manifests of what was written as blobs. They are blobs no
// longer then, unless somebody has pushed them as such, or something takes them
// for one. What nothing else names is kept: whoever has put it has not done so
// for the index.
func (p *layoutPlan) promote(ctx context.Context) error {
	for _, desc := range p.order {
		payload, err := readManifest(ctx, p.repo, desc.Digest)
		if err != nil {
			return err
		}
		if _, err := p.repo.Manifests().Put(ctx, desc.MediaType, payload); err != nil {
			return err
		}
		p.fs.arrived(ctx, p.repo.Name(), desc.Digest)
		p.demote(ctx, desc.Digest)
	}
	for _, d := range p.named {
		if err := keep(ctx, p.repo, viewManifests, d); err != nil {
			return err
		}
	}
	return nil
}

// demote takes a manifest out of the blobs where it was written for a layout.
func (p *layoutPlan) demote(ctx context.Context, d digest.Digest) {
	links := p.fs.layouts.links
	defer links.lock(p.repo.Name(), d)()
	made, ok := links.take(p.repo.Name(), d)
	if !ok {
		return
	}
	err := p.repo.Blobs().Retract(ctx, made)
	if err != nil && !errors.Is(err, storage.ErrReferenced) && !errors.Is(err, storage.ErrBlobUnknown) {
		p.fs.log.Warn("a manifest is still among the blobs", "repository", p.repo.Name(), "digest", d, "error", err)
	}
}
