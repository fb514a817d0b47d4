package storage

import (
	"context"
	"errors"
	"fmt"

	"registryfs/digest"
)

func (m *manifests) Delete(ctx context.Context, d digest.Digest) error {
	lock := m.repo.registry.refsLock(m.repo.name)
	lock.Lock()
	defer lock.Unlock()
	err := m.repo.registry.deletable()
	if err == nil {
		err = m.remove(ctx, d, m.untag)
	}
	return m.repo.fail("delete manifest", d.String(), err)
}

func (m *manifests) Retract(ctx context.Context, d digest.Digest) error {
	lock := m.repo.registry.refsLock(m.repo.name)
	lock.Lock()
	defer lock.Unlock()
	err := m.repo.registry.writable()
	if err == nil {
		err = m.remove(ctx, d, m.untagged)
	}
	return m.repo.fail("retract manifest", d.String(), err)
}

// untag removes the tags of a manifest that is to be removed.
func (m *manifests) untag(ctx context.Context, d digest.Digest, names []string) error {
	lock := m.repo.registry.tagLock(m.repo.name)
	lock.Lock()
	defer lock.Unlock()
	tags := &tags{m.repo}
	for _, name := range names {
		if err := tags.remove(ctx, name, d); err != nil && !errors.Is(err, ErrTagUnknown) {
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
// with its tags.
func (m *manifests) remove(ctx context.Context, d digest.Digest, tagged func(context.Context, digest.Digest, []string) error) error {
	if _, err := m.resolve(ctx, d); err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	parsed, err := m.peek(ctx, d)
	if err != nil {
		parsed = nil
	}
	needs, err := m.needs(ctx, d, parsed)
	if err != nil && !errors.Is(err, ErrManifestUnknown) {
		return err
	}
	known := map[digest.Digest]bool{}
	if err := m.unreferenced(ctx, d, known, tagged); err != nil {
		return err
	}
	again := func(ctx context.Context) error { return m.unreferenced(ctx, d, known, m.untagged) }
	_, unlinked := m.links.get(ctx, d)
	if unlinked != nil && !errors.Is(unlinked, errNoLink) && !errors.Is(unlinked, ErrCorrupt) {
		return unlinked
	}
	err = m.repo.registry.removeLink(ctx, m.links, d, again)
	if errors.Is(unlinked, errNoLink) && (err == nil || errors.Is(err, errNoLink)) {
		// Of a manifest of registry 2.1.0 that was no more than its signatures.
		err = m.repo.registry.removeLink(ctx, m.repo.linkedBlobs().links, d, again)
	}
	if errors.Is(err, ErrReferenced) {
		// While it was away, nothing named its blobs.
		err = errors.Join(err, m.repo.registry.uphold(context.WithoutCancel(ctx), needs, m.isLinked(d)))
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
