package fsmount

import (
	"context"
	"hash/maphash"
	"sync/atomic"

	"registryfs/digest"
	"registryfs/storage"
)

// changes counts what this mount changes of the tags and manifests of
// repositories, so that what was learned of them is known to be old. A few
// counters serve all repositories: that another one has changed costs a second
// look.
type changes struct {
	seed   maphash.Seed
	counts [256]atomic.Uint64
}

func newChanges() *changes { return &changes{seed: maphash.MakeSeed()} }

func (c *changes) counter(repo string) *atomic.Uint64 {
	return &c.counts[maphash.String(c.seed, repo)%uint64(len(c.counts))]
}

// watch counts the changes that are made through the repository it returns.
func (c *changes) watch(repo storage.Repository) storage.Repository {
	return watched{repo, c.counter(repo.Name())}
}

// watched is a repository of which changes are counted, when they are done and
// whether or not they succeed.
type watched struct {
	storage.Repository
	count *atomic.Uint64
}

// Unwrap lets the repository be a source of Mount.
func (w watched) Unwrap() storage.Repository { return w.Repository }

func (w watched) Manifests() storage.ManifestStore {
	return watchedManifests{w.Repository.Manifests(), w.count}
}

func (w watched) Tags() storage.TagStore { return watchedTags{w.Repository.Tags(), w.count} }

type watchedManifests struct {
	storage.ManifestStore
	count *atomic.Uint64
}

func (m watchedManifests) Put(ctx context.Context, mediaType string, payload []byte, options ...storage.PutOption) (storage.Descriptor, error) {
	defer m.count.Add(1)
	return m.ManifestStore.Put(ctx, mediaType, payload, options...)
}

func (m watchedManifests) Mount(ctx context.Context, from storage.Repository, d digest.Digest) (storage.Descriptor, error) {
	defer m.count.Add(1)
	return m.ManifestStore.Mount(ctx, from, d)
}

func (m watchedManifests) Delete(ctx context.Context, d digest.Digest) error {
	defer m.count.Add(1)
	return m.ManifestStore.Delete(ctx, d)
}

func (m watchedManifests) Retract(ctx context.Context, d digest.Digest) error {
	defer m.count.Add(1)
	return m.ManifestStore.Retract(ctx, d)
}

type watchedTags struct {
	storage.TagStore
	count *atomic.Uint64
}

func (t watchedTags) Tag(ctx context.Context, tag string, d digest.Digest) error {
	defer t.count.Add(1)
	return t.TagStore.Tag(ctx, tag, d)
}

func (t watchedTags) Untag(ctx context.Context, tag string) error {
	defer t.count.Add(1)
	return t.TagStore.Untag(ctx, tag)
}

func (t watchedTags) Rename(ctx context.Context, from, to string) error {
	defer t.count.Add(1)
	return t.TagStore.Rename(ctx, from, to)
}
