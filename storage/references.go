package storage

import (
	"context"
	"errors"
	"fmt"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
)

// checkBlobs reports what an image references and the repository does not
// have, as one [*MissingError], and blobs whose size is not the stated one, as
// manifest.ErrInvalid.
func (m *manifests) checkBlobs(ctx context.Context, refs manifest.References) error {
	var missing MissingError
	for _, want := range refs.RequiredBlobs() {
		if err := m.name(ctx, want.Digest); err != nil {
			return err
		}
		got, err := m.repo.Blobs().Stat(ctx, want.Digest)
		switch {
		case errors.Is(err, ErrBlobUnknown):
			missing.Blobs = append(missing.Blobs, want.Digest)
		case err != nil:
			return err
		case got.Size != want.Size && want.Size != manifest.UnknownSize:
			return fmt.Errorf("%w: blob %s has %d bytes, the manifest says %d",
				manifest.ErrInvalid, want.Digest, got.Size, want.Size)
		}
	}
	return missing.orNil()
}

// checkChildren reports the children of an index, in any depth, that the
// repository does not have.
func (m *manifests) checkChildren(ctx context.Context, d digest.Digest) error {
	var missing MissingError
	err := m.walk(ctx, d, func(child digest.Digest, err error) error {
		if errors.Is(err, ErrManifestUnknown) {
			missing.Manifests = append(missing.Manifests, child)
			return nil
		}
		return err
	})
	return errors.Join(err, missing.orNil())
}

// maxIndexDepth bounds the nesting of indexes that is followed.
const maxIndexDepth = 32

// walk calls fn for each manifest below d, once, in no order, with the error
// of looking for it. What cannot be parsed has no children.
func (m *manifests) walk(ctx context.Context, d digest.Digest, fn func(digest.Digest, error) error) error {
	seen := map[digest.Digest]bool{d: true}
	level := []digest.Digest{d}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxIndexDepth {
			return fmt.Errorf("%w: indexes nested deeper than %d", manifest.ErrInvalid, maxIndexDepth)
		}
		var next []digest.Digest
		for _, parent := range level {
			children, err := m.children(ctx, parent)
			if err != nil {
				return err
			}
			for _, child := range children {
				if seen[child] {
					continue
				}
				seen[child] = true
				if err := m.name(ctx, child); err != nil {
					return err
				}
				_, err := m.Stat(ctx, child)
				if err := fn(child, err); err != nil {
					return err
				}
				if err == nil {
					next = append(next, child)
				}
			}
		}
		level = next
	}
	return nil
}

func (m *manifests) children(ctx context.Context, d digest.Digest) ([]digest.Digest, error) {
	parsed, err := m.Get(ctx, d)
	if isUnreadable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var children []digest.Digest
	for _, desc := range parsed.References().Manifests {
		children = append(children, desc.Digest)
	}
	return children, nil
}

// isUnreadable reports an error that says what is stored is no manifest that
// can be understood, though it is what its digest names.
func isUnreadable(err error) bool {
	return errors.Is(err, manifest.ErrInvalid) || errors.Is(err, manifest.ErrUnknownType) || errors.Is(err, ErrTooLarge)
}

// referrer returns a manifest of the repository that references d as a blob or
// a child, or "".
func (m *manifests) referrer(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	var found digest.Digest
	err := m.each(ctx, func(revision digest.Digest, parsed manifest.Manifest) error {
		refs := parsed.References()
		for _, desc := range append(refs.Blobs, refs.Manifests...) {
			if desc.Digest == d {
				found = revision
				return driver.SkipAll
			}
		}
		return nil
	})
	if errors.Is(err, driver.SkipAll) {
		err = nil
	}
	return found, err
}

// Mount links the children and the blobs first, so that the manifest is whole
// when it shows.
func (m *manifests) Mount(ctx context.Context, from Repository, d digest.Digest) (Descriptor, error) {
	lock := m.repo.registry.refsLock(m.repo.name)
	lock.RLock()
	defer lock.RUnlock()
	err := m.mount(ctx, from, d)
	if err != nil {
		return Descriptor{}, m.repo.fail("mount manifest", d.String(), err)
	}
	return m.Stat(ctx, d)
}

func (m *manifests) mount(ctx context.Context, from Repository, d digest.Digest) error {
	source, ok := unwrap(from)
	if !ok || source.registry != m.repo.registry {
		return fmt.Errorf("%w: mount from another registry", ErrUnsupported)
	}
	// Parents before children, so the reverse is the order of linking.
	order := []digest.Digest{d}
	if err := m.name(ctx, d); err != nil {
		return err
	}
	var missing MissingError
	err := source.manifests().walk(ctx, d, func(child digest.Digest, err error) error {
		if errors.Is(err, ErrManifestUnknown) {
			if !m.repo.registry.options.SparseIndexes {
				missing.Manifests = append(missing.Manifests, child)
			}
			return nil
		}
		order = append(order, child)
		return err
	})
	if err != nil {
		return err
	}
	// What cannot be brought whole is not brought in part.
	var blobs []digest.Digest
	for _, revision := range order {
		needed, err := m.mountable(ctx, source, revision, &missing)
		if err != nil {
			return err
		}
		blobs = append(blobs, needed...)
	}
	if err := missing.orNil(); err != nil {
		return err
	}
	for _, d := range blobs {
		if _, err := m.repo.linkedBlobs().mount(ctx, source, d); err != nil {
			return err
		}
	}
	if err := m.repo.prepare(ctx); err != nil {
		return err
	}
	for i := len(order) - 1; i >= 0; i-- {
		canonical, err := source.manifests().resolve(ctx, order[i])
		if err != nil {
			return err
		}
		if err := m.mountSignatures(ctx, source, order[i]); err != nil {
			return err
		}
		if err := m.repo.registry.putLink(ctx, m.links, order[i], canonical); err != nil {
			return err
		}
	}
	return nil
}

// mountable returns the blobs that a manifest of source needs, and adds to
// missing those that source does not have.
func (m *manifests) mountable(ctx context.Context, source *repository, revision digest.Digest, missing *MissingError) ([]digest.Digest, error) {
	parsed, err := source.manifests().Get(ctx, revision)
	if err != nil {
		return nil, err
	}
	if err := m.repo.registry.options.URLs.Check(parsed.References()); err != nil {
		return nil, err
	}
	var needed []digest.Digest
	for _, desc := range parsed.References().RequiredBlobs() {
		_, err := source.Blobs().Stat(ctx, desc.Digest)
		if errors.Is(err, ErrBlobUnknown) {
			missing.Blobs = append(missing.Blobs, desc.Digest)
		} else if err != nil {
			return nil, err
		}
		needed = append(needed, desc.Digest)
	}
	return needed, nil
}
