package storage

import (
	"context"

	"registryfs/digest"
)

// reachUntagged marks what is not tagged and stays: the young, since their tag
// may be about to come, and what refers to something that stays. Whatever else
// there is has been read when it returns.
func (m *marking) reachUntagged(ctx context.Context) error {
	for d, link := range m.manifests {
		if link.isYoung && !link.isEmpty {
			if err := m.reach(ctx, []digest.Digest{d}); err != nil {
				return err
			}
		}
	}
	referrers := map[digest.Digest][]digest.Digest{} // by subject
	for d, link := range m.manifests {
		if m.reached[d] || link.isEmpty {
			continue
		}
		refs, err := m.references(ctx, d)
		if err != nil {
			return err
		}
		for _, child := range refs.Manifests {
			m.children[d] = append(m.children[d], child.Digest)
		}
		if refs.Subject != nil {
			referrers[refs.Subject.Digest] = append(referrers[refs.Subject.Digest], d)
		}
	}
	for more := true; more; {
		more = false
		for subject, all := range referrers {
			if !m.reached[subject] {
				continue
			}
			more = true
			delete(referrers, subject)
			if err := m.reach(ctx, all); err != nil {
				return err
			}
		}
	}
	return nil
}
