package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"registryfs/digest"
	"registryfs/manifest"
)

// marking finds out what a repository needs.
type marking struct {
	*collection
	repo *repository

	manifests map[digest.Digest]foundLink
	layers    map[digest.Digest]foundLink
	reached   map[digest.Digest]bool            // manifests that stay
	needed    map[digest.Digest]bool            // blobs, as the manifests name them
	children  map[digest.Digest][]digest.Digest // of manifests that were not reached from tags
}

func (m *marking) mark(ctx context.Context) error {
	if CheckName(m.repo.name) != nil {
		m.broken(repoPath(m.repo.name), "", ErrNameInvalid)
	}
	var err error
	if m.manifests, err = m.links(ctx, m.repo.manifests().links); err != nil {
		return err
	}
	if m.layers, err = m.links(ctx, m.repo.linkedBlobs().links); err != nil {
		return err
	}
	tagged, err := m.tagged(ctx)
	if err != nil {
		return err
	}
	if err := m.reach(ctx, tagged); err != nil {
		return err
	}
	if !m.options.Untagged {
		if err := m.reachAll(ctx); err != nil {
			return err
		}
	}
	// Without Untagged there is left what was set aside.
	if err := m.reachUntagged(ctx); err != nil {
		return err
	}
	if m.keepsAll() {
		return m.reachAll(ctx)
	}
	return nil
}

// tagged is what the tags name.
func (m *marking) tagged(ctx context.Context) ([]digest.Digest, error) {
	dirs, _, err := m.list(ctx, tagsPath(m.repo.name))
	if err != nil {
		return nil, err
	}
	var tagged []digest.Digest
	for _, dir := range dirs {
		if info, err := m.registry.driver.Stat(ctx, dir); err == nil && !info.IsDir {
			continue // foreign, and not a tag to anybody
		}
		d, _, err := readLink(ctx, m.registry.driver, currentPath(dir))
		switch {
		case err == nil:
			tagged = append(tagged, d)
		case errors.Is(err, errNoLink): // it has a history at most
		case ctx.Err() != nil:
			return nil, ctx.Err()
		default:
			m.broken(currentPath(dir), "", err)
		}
	}
	return tagged, nil
}

// reach marks manifests and all that they need.
func (m *marking) reach(ctx context.Context, queue []digest.Digest) error {
	for len(queue) > 0 {
		d := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if m.reached[d] {
			continue
		}
		m.reached[d] = true
		if target := m.target(d); target != "" {
			m.live[target] = true
		}
		if err := m.needSignatures(ctx, d); err != nil {
			return err
		}
		refs, err := m.references(ctx, d)
		if err != nil {
			return err
		}
		for _, blob := range refs.Blobs {
			m.needed[blob.Digest] = true
		}
		for _, child := range refs.Manifests {
			m.needed[child.Digest] = true // a blob's digest may stand here too
			if m.has(ctx, child.Digest) {
				queue = append(queue, child.Digest)
			}
		}
	}
	return nil
}

// has reports whether the repository has a manifest. Registry 2.1.0 linked
// manifests among the layers.
func (m *marking) has(ctx context.Context, d digest.Digest) bool {
	if link, found := m.manifests[d]; found && !link.isEmpty {
		return true
	}
	if link, found := m.layers[d]; !found || link.isEmpty {
		return false
	}
	_, err := m.parse(ctx, d)
	return !isUnreadable(err) && !errors.Is(err, ErrManifestUnknown) // damage may have been one
}

// target is the content of a manifest, "" where that is not known. A tag may
// name one that has no link.
func (m *marking) target(d digest.Digest) digest.Digest {
	for _, set := range []map[digest.Digest]foundLink{m.manifests, m.layers} {
		if link, found := set[d]; found && !link.isEmpty {
			return link.target
		}
	}
	if digest.IsCanonical(d) {
		return d
	}
	return ""
}

// needSignatures marks the signatures of a manifest of schema 1.
func (m *marking) needSignatures(ctx context.Context, d digest.Digest) error {
	signatures, err := m.links(ctx, m.repo.manifests().signatures(d))
	for d, link := range signatures {
		m.live[d] = true
		m.live[link.target] = true
	}
	return err
}

// references is what a manifest names: nothing, where it cannot be read.
func (m *marking) references(ctx context.Context, d digest.Digest) (manifest.References, error) {
	parsed, err := m.parse(ctx, d)
	switch {
	case err == nil:
		return parsed.References(), nil
	case ctx.Err() != nil:
		return manifest.References{}, ctx.Err()
	}
	at := linkPath(m.repo.manifests().links.dir, d)
	if target := m.target(d); target != "" && isContentPath(target) {
		at = blobPath(target)
	}
	m.broken(at, d, err)
	return manifest.References{}, nil
}

func (m *marking) parse(ctx context.Context, d digest.Digest) (manifest.Manifest, error) {
	target := m.target(d)
	if !isContentPath(target) {
		return nil, fmt.Errorf("%w: its link cannot be read", ErrManifestUnknown)
	}
	desc, err := m.registry.blobs.stat(ctx, target)
	if run := m.sweptContent[target]; run != nil && errors.Is(err, ErrBlobUnknown) {
		return m.parseSwept(ctx, run, d, target)
	}
	if err != nil {
		return nil, asManifest(err)
	}
	if desc.Size > manifest.MaxSize {
		return nil, fmt.Errorf("%w: %d bytes are no manifest", ErrTooLarge, desc.Size)
	}
	blob, err := openAs(ctx, m.registry.blobs, d, target)
	if err != nil {
		return nil, asManifest(err)
	}
	defer blob.Close()
	payload, err := readBlob(blob, manifest.MaxSize)
	if err != nil {
		return nil, err
	}
	return manifest.Parse("", payload)
}

// isContentPath reports whether content may be kept under a digest.
func isContentPath(d digest.Digest) bool { return d != "" && !digest.IsTarsum(d) }

// reachAll marks all manifests at their places, also those that registry 2.1.0 linked among the
// layers: whatever can be parsed as one.
func (m *marking) reachAll(ctx context.Context) error {
	for _, d := range slices.Sorted(maps.Keys(m.manifests)) {
		if link := m.manifests[d]; link.isEmpty || link.run != nil && !m.keepsAll() {
			continue
		}
		if err := m.reach(ctx, []digest.Digest{d}); err != nil {
			return err
		}
	}
	for _, d := range slices.Sorted(maps.Keys(m.layers)) {
		if m.needed[d] || m.reached[d] || m.layers[d].run != nil && !m.keepsAll() || !m.has(ctx, d) {
			continue
		}
		if err := m.reach(ctx, []digest.Digest{d}); err != nil {
			return err
		}
	}
	return ctx.Err()
}
