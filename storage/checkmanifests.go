package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"registryfs/digest"
)

// maxListed bounds how many references the reason of a finding lists.
const maxListed = 16

// checkRevisions checks the links of manifests, and what the manifests need.
func (r *repoCheck) checkRevisions(ctx context.Context) error {
	var err error
	set := linkSet{links: r.repo.manifests().links, repo: r.repo.name, signed: true}
	if r.revisions, err = r.checkLinks(ctx, set); err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(r.revisions)) {
		if r.revisions[d] != nil {
			continue
		}
		if err := r.checkManifest(ctx, d, linkPath(set.dir, d)); err != nil {
			return err
		}
	}
	return nil
}

// checkManifest checks that the repository has the blobs a manifest needs. What
// cannot be parsed needs none.
func (r *repoCheck) checkManifest(ctx context.Context, d digest.Digest, at string) error {
	r.summary.Manifests++
	parsed, err := r.repo.manifests().Get(ctx, d)
	if isUnreadable(err) || errors.Is(err, ErrManifestUnknown) {
		return nil
	}
	if err != nil {
		return r.unreadable(ctx, at, r.repo.name, d.String(), err)
	}
	var lacks []digest.Digest
	seen := map[digest.Digest]bool{}
	for _, desc := range parsed.References().RequiredBlobs() {
		if seen[desc.Digest] {
			continue
		}
		seen[desc.Digest] = true
		why, ok := r.layers[desc.Digest]
		if !ok || why != nil {
			set := r.repo.linkedBlobs().links
			if why, ok, err = r.linkNow(ctx, set, desc.Digest, r.layers); err != nil {
				return r.unreadable(ctx, linkPath(set.dir, desc.Digest), r.repo.name, desc.Digest.String(), err)
			}
		}
		if !ok || why != nil {
			lacks = append(lacks, desc.Digest)
		}
	}
	if len(lacks) == 0 {
		return ctx.Err()
	}
	switch gone, err := r.isGone(ctx, at); {
	case err != nil:
		return r.unreadable(ctx, at, r.repo.name, d.String(), err)
	case !gone:
		fix := r.relink(lacks)
		if !r.options.Repair && slices.ContainsFunc(lacks, func(d digest.Digest) bool { return r.isLost(ctx, d) }) {
			fix = nil
		}
		r.report(ctx, Finding{
			Kind: FindingMissing, Damage: true, Repository: r.repo.name, Name: d.String(), Path: at,
			Reason: "the manifest needs " + r.reasons(ctx, lacks),
			Remedy: "push the blobs again",
		}, fix)
	}
	return ctx.Err()
}

// reasons lists blobs, with what is the matter with each.
func (r *repoCheck) reasons(ctx context.Context, lacks []digest.Digest) string {
	var b strings.Builder
	for i, d := range lacks[:min(len(lacks), maxListed)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.String() + ", which " + r.lackReason(ctx, d))
	}
	if more := len(lacks) - maxListed; more > 0 {
		fmt.Fprintf(&b, ", and %d more", more)
	}
	return b.String()
}

func (r *repoCheck) lackReason(ctx context.Context, d digest.Digest) string {
	if why := r.layers[d]; why != nil && !errors.Is(why, ErrBlobUnknown) {
		return "is damaged"
	}
	if digest.IsCanonical(d) && r.content(ctx, d) == nil {
		return "is not linked"
	}
	return "is missing"
}

// relink links blobs whose content is good. All of them must be, since a
// manifest that still lacks one is not repaired.
func (r *repoCheck) relink(lacks []digest.Digest) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if r.unread[r.repo.name] {
			return "", errUnread
		}
		var lost []string
		for _, d := range lacks {
			if r.isLost(ctx, d) {
				lost = append(lost, d.String())
				continue
			}
			if err := r.repo.linkedBlobs().link(ctx, d, d); err != nil {
				return "", err
			}
			r.layers[d] = nil
		}
		if more := len(lost) - maxListed; more > 0 {
			lost = append(lost[:maxListed], fmt.Sprintf("and %d more", more))
		}
		if len(lost) > 0 {
			return "", errors.New("push " + strings.Join(lost, ", ") + " again")
		}
		return "linked the blobs", nil
	}
}

// isLost reports a blob that a manifest lacks and that cannot be linked: its
// content is not there or not good, or its link is something that nobody may
// touch.
func (r *repoCheck) isLost(ctx context.Context, d digest.Digest) bool {
	_, isLinked := r.layers[d]
	return isLinked || !digest.IsCanonical(d) || r.content(ctx, d) != nil
}

// isOldManifest reports a manifest of registry 2.1.0, which is linked among the
// layers.
func (r *repoCheck) isOldManifest(ctx context.Context, d digest.Digest) (bool, error) {
	why, ok := r.layers[d]
	if !ok {
		var err error
		if why, ok, err = r.linkNow(ctx, r.repo.linkedBlobs().links, d, r.layers); err != nil {
			return false, err
		}
	}
	switch {
	case !ok, isAbsent(why):
		return false, nil
	case why != nil:
		return false, why
	}
	_, err := r.repo.manifests().resolveLayer(ctx, d)
	if isAbsent(err) {
		return false, nil
	}
	return err == nil, err
}
