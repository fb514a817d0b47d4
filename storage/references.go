package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
)

// checkBlobs reports what an image references and the repository does not
// have, as one [*MissingError], and blobs whose size is not the stated one, as
// manifest.ErrInvalid. It returns the links of the others.
func (m *manifests) checkBlobs(ctx context.Context, refs manifest.References) ([]need, error) {
	var missing MissingError
	var needs []need
	layers := m.repo.linkedBlobs().links
	for _, want := range refs.RequiredBlobs() {
		if err := m.name(ctx, want.Digest); err != nil {
			return nil, err
		}
		got, err := m.repo.Blobs().Stat(ctx, want.Digest)
		switch {
		case errors.Is(err, ErrBlobUnknown):
			missing.Blobs = append(missing.Blobs, want.Digest)
		case err != nil:
			return nil, err
		case got.Size != want.Size && want.Size != manifest.UnknownSize:
			return nil, fmt.Errorf("%w: blob %s has %d bytes, the manifest says %d",
				manifest.ErrInvalid, want.Digest, got.Size, want.Size)
		default:
			needs = append(needs, need{layers, want.Digest, got.Digest})
		}
	}
	return needs, missing.orNil()
}

// maxIndexDepth bounds the nesting of indexes that is followed.
const maxIndexDepth = 32

// walk calls fn for d and each manifest below it, once, parents before children,
// with what it is or the error of getting it. What cannot be parsed has no
// children.
func (m *manifests) walk(ctx context.Context, d digest.Digest, fn func(digest.Digest, manifest.Manifest, error) error) error {
	seen := map[digest.Digest]bool{d: true}
	level := []digest.Digest{d}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxIndexDepth {
			return fmt.Errorf("%w: indexes nested deeper than %d", manifest.ErrInvalid, maxIndexDepth)
		}
		var next []digest.Digest
		for _, at := range level {
			if err := m.name(ctx, at); err != nil {
				return err
			}
			parsed, err := m.Get(ctx, at)
			if err != nil {
				parsed = nil
			}
			if err := fn(at, parsed, err); err != nil {
				return err
			}
			if parsed == nil {
				continue
			}
			for _, desc := range parsed.References().Manifests {
				if !seen[desc.Digest] {
					seen[desc.Digest] = true
					next = append(next, desc.Digest)
				}
			}
		}
		level = next
	}
	return nil
}

// isUnreadable reports an error that says what is stored is no manifest that
// can be understood, though it is what its digest names.
func isUnreadable(err error) bool {
	return errors.Is(err, manifest.ErrInvalid) || errors.Is(err, manifest.ErrUnknownType) || errors.Is(err, ErrTooLarge)
}

// referrer returns a manifest of the repository that references d as a blob or
// a child, or "". known is those that do not, which never change, and more are
// added.
func (m *manifests) referrer(ctx context.Context, d digest.Digest, known map[digest.Digest]bool) (digest.Digest, error) {
	var found digest.Digest
	err := m.each(ctx, known, func(revision digest.Digest, parsed manifest.Manifest) error {
		refs := parsed.References()
		for _, desc := range append(refs.Blobs, refs.Manifests...) {
			if desc.Digest == d {
				found = revision
				return driver.SkipAll
			}
		}
		known[revision] = true
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
	var order, blobs []digest.Digest
	var missing MissingError
	err := source.manifests().walk(ctx, d, func(at digest.Digest, parsed manifest.Manifest, err error) error {
		if errors.Is(err, ErrManifestUnknown) && at != d {
			if !m.repo.registry.options.SparseIndexes {
				missing.Manifests = append(missing.Manifests, at)
			}
			return nil
		}
		if err != nil {
			return err
		}
		order = append(order, at)
		needed, err := m.mountable(ctx, source, parsed, &missing)
		blobs = append(blobs, needed...)
		return err
	})
	if err != nil {
		return err
	}
	// What cannot be brought whole is not brought in part.
	if err := missing.orNil(); err != nil {
		return err
	}
	var needs []need
	layers := m.repo.linkedBlobs()
	for _, d := range blobs {
		desc, err := layers.mount(ctx, source, d)
		if err != nil {
			return err
		}
		needs = append(needs, need{layers.links, d, desc.Digest})
	}
	if err := m.repo.prepare(ctx); err != nil {
		return err
	}
	for _, d := range slices.Backward(order) {
		canonical, err := source.manifests().resolve(ctx, d)
		if err != nil {
			return err
		}
		if err := m.repo.registry.settleContent(ctx, canonical); err != nil {
			return asManifest(err)
		}
		if err := m.mountSignatures(ctx, source, d); err != nil {
			return err
		}
		if err := m.repo.registry.putLink(ctx, m.links, d, canonical); err != nil {
			return err
		}
		needs = append(needs, need{m.links, d, canonical})
	}
	return m.repo.registry.uphold(ctx, needs, m.isLinked(d))
}

// mountable returns the blobs that a manifest of source needs, and adds to
// missing those that source does not have.
func (m *manifests) mountable(ctx context.Context, source *repository, parsed manifest.Manifest, missing *MissingError) ([]digest.Digest, error) {
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
