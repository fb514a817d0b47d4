package storage

import (
	"context"
	"errors"
	"fmt"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
)

// Between processes no lock is held while one names something and another removes
// it. Instead both write first, and then look:
//
//	who names    looks for all that it needs, writes the name, looks again
//	who removes  looks for names, takes the link away, looks again
//
// Whichever of the two writes is later, its own process looks after both, and so
// sees the other. Who misses something that it has named puts the link back, for
// the content stays until it is collected; who finds a name for what it has taken
// away puts that back, and is [ErrReferenced]. If both see it, both do the same.
// What a name leads to goes back before what needs it, and then all of it is
// looked for again, since others may have removed it for want of a name.
//
// A process that dies between its write and its second look leaves it to the
// other, which has seen nothing if its own write was the earlier one.

// need is a link that was seen, and must be there as long as something has the
// name that leads to it.
type need struct {
	set       links
	digest    digest.Digest
	canonical digest.Digest
}

// upholdTries bounds how often what is needed is put back for one name.
const upholdTries = 8

// uphold looks again for what a name needs that has just been written, and puts
// back what has been removed meanwhile, as long as isNamed says that the name is
// there.
func (r *registry) uphold(ctx context.Context, needs []need, isNamed func(context.Context) (bool, error)) error {
	for range upholdTries {
		var gone []need
		for _, n := range needs {
			_, err := r.driver.Stat(ctx, linkPath(n.set.dir, n.digest))
			if errors.Is(err, driver.ErrNotExist) {
				gone = append(gone, n)
			} else if err != nil && !errors.Is(err, driver.ErrInvalidPath) {
				return err
			}
		}
		if len(gone) == 0 {
			return nil
		}
		if named, err := isNamed(ctx); err != nil || !named {
			return err
		}
		for _, n := range gone {
			if err := r.putLink(ctx, n.set, n.digest, n.canonical); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%w: others remove again and again what it needs", ErrInUse)
}

// isLinked reports whether a manifest has a link of its own.
func (m *manifests) isLinked(d digest.Digest) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		_, err := m.links.get(ctx, d)
		if errors.Is(err, errNoLink) {
			return false, nil
		}
		return err == nil, err
	}
}

// needs is the links of the blobs and the signatures of a manifest, as far as
// they are there, and its own after them: as long as that is there nobody removes
// the others. parsed is nil where it cannot be understood. Errors:
// [ErrManifestUnknown].
func (m *manifests) needs(ctx context.Context, d digest.Digest, parsed manifest.Manifest) ([]need, error) {
	var found []need
	layers := m.repo.linkedBlobs().links
	if parsed != nil {
		for _, desc := range parsed.References().RequiredBlobs() {
			if err := addNeed(ctx, &found, layers, desc.Digest); err != nil {
				return nil, err
			}
		}
		if manifest.IsSchema1(parsed.MediaType()) {
			signatures := m.signatures(d)
			err := signatures.enumerate(ctx, func(d digest.Digest) error { return addNeed(ctx, &found, signatures, d) })
			if err != nil {
				return nil, err
			}
		}
	}
	before := len(found)
	err := addNeed(ctx, &found, m.links, d)
	if err == nil && len(found) == before { // a manifest of registry 2.1.0
		err = addNeed(ctx, &found, layers, d)
	}
	if err == nil && len(found) == before {
		err = ErrManifestUnknown
	}
	return found, err
}

// addNeed adds the link of d, if there is one.
func addNeed(ctx context.Context, found *[]need, set links, d digest.Digest) error {
	if !isDigest(d) {
		return nil
	}
	canonical, err := set.get(ctx, d)
	if errors.Is(err, errNoLink) || errors.Is(err, ErrCorrupt) {
		return nil
	}
	*found = append(*found, need{set, d, canonical})
	return err
}

// whole is the needs of a manifest and of all those below it. Children that the
// repository does not have are a [*MissingError]. With lenient, what is missing
// or damaged below it, or is damaged itself, is passed over. All that is there is
// durable then.
func (m *manifests) whole(ctx context.Context, d digest.Digest, lenient bool) ([]need, error) {
	var missing MissingError
	var all []need
	err := m.walk(ctx, d, func(at digest.Digest, parsed manifest.Manifest, err error) error {
		var needs []need
		if err == nil || isUnreadable(err) || lenient && errors.Is(err, ErrCorrupt) {
			needs, err = m.needs(ctx, at, parsed)
		}
		all = append(needs, all...) // children come after their parents
		switch {
		case at == d:
			return err
		case lenient && err != nil && isAbsent(err):
			return nil
		case errors.Is(err, ErrManifestUnknown):
			missing.Manifests = append(missing.Manifests, at)
			return nil
		}
		return err
	})
	if lenient && isUnreadable(err) {
		err = nil // nested deeper than is followed
	}
	if err == nil {
		err = missing.orNil()
	}
	if err == nil {
		err = m.repo.registry.settleNeeds(ctx, all)
	}
	return all, err
}
