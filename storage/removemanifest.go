package storage

import (
	"context"
	"errors"
	"fmt"

	"registryfs/digest"
	"registryfs/manifest"
)

func (m *manifests) Delete(ctx context.Context, d digest.Digest, options ...DeleteOption) error {
	lock := m.repo.registry.refsLock(m.repo.name)
	lock.Lock()
	defer lock.Unlock()
	tagged := m.untag
	if deleteOptionsOf(options).unlessTagged {
		tagged = m.untagged
	}
	err := m.repo.registry.deletable()
	if err == nil {
		err = m.remove(ctx, d, tagged, func(again check) error { return m.unlink(ctx, d, again) })
	}
	return m.repo.fail("delete manifest", d.String(), err)
}

func (m *manifests) Retract(ctx context.Context, made Link) error {
	lock := m.repo.registry.refsLock(m.repo.name)
	lock.Lock()
	defer lock.Unlock()
	err := m.repo.registry.writable()
	if err == nil {
		err = m.remove(ctx, made.Digest, m.untagged, func(again check) error {
			return m.repo.registry.retractLink(ctx, m.links, made, again)
		})
	}
	return m.repo.fail("retract manifest", made.Digest.String(), err)
}

func (m *manifests) Keep(ctx context.Context, d digest.Digest) (Link, error) {
	made, err := m.keep(ctx, d)
	return made, m.repo.fail("keep manifest", d.String(), err)
}

func (m *manifests) keep(ctx context.Context, d digest.Digest) (Link, error) {
	if err := m.repo.registry.writable(); err != nil {
		return Link{}, err
	}
	lock := m.repo.registry.refsLock(m.repo.name)
	lock.RLock()
	defer lock.RUnlock()
	canonical, err := m.resolve(ctx, d)
	if err != nil {
		return Link{}, err
	}
	if _, err := m.links.get(ctx, d); errors.Is(err, errNoLink) {
		return Link{}, nil // of registry 2.1.0: nobody has put it here
	}
	return m.repo.registry.makeLink(ctx, m.links, d, canonical)
}

// untag removes the tags of a manifest that is to be removed.
func (m *manifests) untag(ctx context.Context, d digest.Digest, names []string) error {
	lock := m.repo.registry.tagLock(m.repo.name)
	lock.Lock()
	defer lock.Unlock()
	tags := &tags{m.repo}
	for _, name := range names {
		if err := ignoreUnknownTag(tags.remove(ctx, name, d)); err != nil {
			return m.repo.fail("untag", name, err)
		}
	}
	return nil
}

// untagged refuses to remove a manifest that has tags.
func (m *manifests) untagged(_ context.Context, _ digest.Digest, names []string) error {
	if len(names) > 0 {
		return fmt.Errorf("%w: by tag %s", ErrReferenced, names[0])
	}
	return nil
}

// remove takes away a manifest that no index names, after tagged has dealt
// with its tags, by unlink, which looks for names again.
func (m *manifests) remove(ctx context.Context, d digest.Digest, tagged func(context.Context, digest.Digest, []string) error, unlink func(check) error) error {
	canonical, err := m.resolve(ctx, d)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	var parsed manifest.Manifest
	if err == nil {
		parsed, _ = m.parse(ctx, d, canonical) // it goes, whatever is the matter with it
	}
	needs, err := m.needs(ctx, d, parsed)
	if err != nil && !errors.Is(err, ErrManifestUnknown) {
		return err
	}
	known := map[digest.Digest]bool{}
	if err := m.unreferenced(ctx, d, known, tagged); err != nil {
		return err
	}
	err = unlink(func(ctx context.Context) error { return m.unreferenced(ctx, d, known, m.untagged) })
	if errors.Is(err, ErrReferenced) {
		// While it was away, nothing named its blobs.
		err = errors.Join(err, m.repo.registry.uphold(context.WithoutCancel(ctx), needs, m.isLinked(d)))
	}
	return err
}

// unlink takes a manifest out of the repository.
func (m *manifests) unlink(ctx context.Context, d digest.Digest, again check) error {
	_, unlinked := m.links.get(ctx, d)
	if unlinked != nil && !errors.Is(unlinked, errNoLink) && !errors.Is(unlinked, ErrCorrupt) {
		return unlinked
	}
	err := m.repo.registry.removeLink(ctx, m.links, d, again)
	if errors.Is(unlinked, errNoLink) && (err == nil || errors.Is(err, errNoLink)) {
		// Of a manifest of registry 2.1.0 that was no more than its signatures.
		err = m.repo.registry.removeLink(ctx, m.repo.linkedBlobs().links, d, again)
	}
	return err
}

// unreferenced refuses to remove a manifest that an index names; tagged deals
// with its tags.
func (m *manifests) unreferenced(ctx context.Context, d digest.Digest, known map[digest.Digest]bool, tagged func(context.Context, digest.Digest, []string) error) error {
	if by, err := m.referrer(ctx, d, known); err != nil {
		return err
	} else if by != "" {
		return fmt.Errorf("%w: by index %s", ErrReferenced, by)
	}
	tags := &tags{m.repo}
	names, err := tags.lookup(ctx, d, tags.surelyNames)
	if err != nil {
		return err
	}
	return tagged(ctx, d, names)
}
