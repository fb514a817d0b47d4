package storage

import (
	"context"
	"errors"
	"slices"
	"strings"

	"registryfs/digest"
	"registryfs/manifest"
)

func (m *manifests) Referrers(ctx context.Context, d digest.Digest) ([]Descriptor, error) {
	var found []Descriptor
	err := m.each(ctx, nil, func(revision digest.Digest, parsed manifest.Manifest) error {
		if subject := parsed.References().Subject; subject != nil && subject.Digest == d {
			found = append(found, manifest.Describe(parsed, revision))
		}
		return nil
	})
	slices.SortFunc(found, func(a, b Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return found, m.repo.fail("referrers", d.String(), err)
}

// each calls fn for each manifest of the repository that can be parsed, but for
// those that are known.
func (m *manifests) each(ctx context.Context, known map[digest.Digest]bool, fn func(digest.Digest, manifest.Manifest) error) error {
	return m.enumerate(ctx, func(revision digest.Digest) error {
		if known[revision] {
			return nil
		}
		parsed, err := m.peek(ctx, revision)
		if isUnreadable(err) || errors.Is(err, ErrManifestUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		return fn(revision, parsed)
	})
}
