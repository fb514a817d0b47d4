package fsmount

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// layouts is what the mount knows of its repositories as OCI image layouts.
type layouts struct {
	facts   *manifestFacts
	indexes *layoutIndexes
	bases   *indexBases
	links   *layoutLinks
	locks   *repoLocks
}

func newLayouts() *layouts {
	return &layouts{
		facts:   newManifestFacts(),
		indexes: newLayoutIndexes(),
		bases:   newIndexBases(),
		links:   newLayoutLinks(),
		locks:   newRepoLocks(),
	}
}

// layout is a repository as a layout: every tag with its manifest, in order,
// then the manifests that neither a tag nor an index names. What is damaged is
// left out.
func (f *fileSystem) layout(ctx context.Context, name string) (*manifest.Layout, error) {
	repo, err := f.registry.Repository(name)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(ctx, repo)
	if err != nil {
		return nil, err
	}
	revisions, err := f.revisions(ctx, repo)
	if err != nil {
		return nil, err
	}
	platforms, children := platformsOf(revisions)
	describe := func(tag string, r revision) manifest.LayoutEntry {
		return manifest.LayoutEntry{Tag: tag, Descriptor: manifest.Descriptor{
			MediaType: r.mediaType, Digest: r.digest, Size: r.size, Platform: platforms[r.digest],
		}}
	}
	layout := &manifest.Layout{}
	isTagged := map[digest.Digest]bool{}
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		d := tags[tag]
		i, ok := slices.BinarySearchFunc(revisions, d, revision.compare)
		if ok {
			layout.Entries = append(layout.Entries, describe(tag, revisions[i]))
			isTagged[d] = true
		}
	}
	for _, r := range revisions {
		if !isTagged[r.digest] && !children[r.digest] {
			layout.Entries = append(layout.Entries, describe("", r))
		}
	}
	return layout, nil
}

// tagsOf is the tags of a repository.
func tagsOf(ctx context.Context, repo storage.Repository) (map[string]digest.Digest, error) {
	names, err := repo.Tags().All(ctx)
	if err != nil {
		return nil, err
	}
	tags := make(map[string]digest.Digest, len(names))
	for _, name := range names {
		tag, err := repo.Tags().Get(ctx, name)
		if isDamaged(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		tags[name] = tag.Digest
	}
	return tags, nil
}

// revision is a manifest of a repository.
type revision struct {
	digest digest.Digest
	*facts
}

func (r revision) compare(d digest.Digest) int { return strings.Compare(string(r.digest), string(d)) }

// revisions is the manifests of a repository in the order of their digests.
func (f *fileSystem) revisions(ctx context.Context, repo storage.Repository) ([]revision, error) {
	var revisions []revision
	err := repo.Manifests().Enumerate(ctx, func(d digest.Digest) error {
		known, err := f.facts(ctx, repo, d)
		if isDamaged(err) {
			return nil
		}
		revisions = append(revisions, revision{d, known})
		return err
	})
	slices.SortFunc(revisions, func(a, b revision) int { return a.compare(b.digest) })
	return revisions, err
}

// isDamaged reports an error that says that something is not there, or not
// what it should be.
func isDamaged(err error) bool {
	return errors.Is(err, storage.ErrTagUnknown) || errors.Is(err, storage.ErrManifestUnknown) ||
		errors.Is(err, storage.ErrBlobUnknown) || errors.Is(err, storage.ErrCorrupt) || errors.Is(err, manifest.ErrTooLarge)
}

// platformsOf is the children of all indexes, and the platforms that these give
// them: the first where they differ.
func platformsOf(revisions []revision) (platforms map[digest.Digest]*manifest.Platform, children map[digest.Digest]bool) {
	platforms, children = map[digest.Digest]*manifest.Platform{}, map[digest.Digest]bool{}
	for _, r := range revisions {
		for _, child := range r.children {
			children[child.Digest] = true
			if platforms[child.Digest] == nil && child.Platform != nil {
				platforms[child.Digest] = child.Platform
			}
		}
	}
	return platforms, children
}

// reached calls fn for everything that the index of a layout leads to: the
// manifests, and those of their blobs that the repository has.
func (f *fileSystem) reached(ctx context.Context, repo storage.Repository, fn func(digest.Digest) error) error {
	revisions, err := f.revisions(ctx, repo)
	if err != nil {
		return err
	}
	wanted := map[digest.Digest]bool{}
	for _, r := range revisions {
		for _, d := range r.blobs {
			wanted[d] = true
		}
	}
	for _, r := range revisions {
		delete(wanted, r.digest)
		if err := fn(r.digest); err != nil {
			return err
		}
	}
	return repo.Blobs().Enumerate(ctx, func(d digest.Digest) error {
		if !wanted[d] {
			return nil
		}
		return fn(d)
	})
}
