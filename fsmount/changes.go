package fsmount

import (
	"context"
	"path"
	"sync"

	"registryfs/digest"
	"registryfs/storage"
)

// maxChanges bounds the names whose last change is remembered.
const maxChanges = 4096

// changes counts what this mount changes below each name, so that what was
// read there before can be told from what is there. What others change it
// cannot know: there only time helps.
type changes struct {
	mu     sync.Mutex
	last   uint64
	oldest uint64 // stands for names that are not remembered
	names  map[string]uint64
}

func newChanges() *changes { return &changes{names: map[string]uint64{}} }

// note takes note of a change to a repository, which is one to all namespaces
// that it is in.
func (c *changes) note(repo string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	if len(c.names) >= maxChanges {
		clear(c.names)
		c.oldest = c.last
	}
	for ; repo != "." && repo != ""; repo = path.Dir(repo) {
		c.names[repo] = c.last
	}
	c.names[""] = c.last
}

// version is that of a repository or a namespace; "" is the root.
func (c *changes) version(name string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if version, ok := c.names[name]; ok {
		return version
	}
	return c.oldest
}

// watch returns a registry whose changes c counts, once they are made and
// before whoever makes them knows.
func (c *changes) watch(reg storage.Registry) storage.Registry {
	return storage.Wrap(reg, func(r storage.Repository) storage.Repository { return &watched{r, c} })
}

// watched is a repository whose changes are counted.
type watched struct {
	storage.Repository
	changes *changes
}

func (w *watched) Unwrap() storage.Repository { return w.Repository }

func (w *watched) Blobs() storage.BlobStore { return watchedBlobs{w.Repository.Blobs(), w} }

func (w *watched) Manifests() storage.ManifestStore {
	return watchedManifests{w.Repository.Manifests(), w}
}

func (w *watched) Tags() storage.TagStore { return watchedTags{w.Repository.Tags(), w} }

func (w *watched) note() { w.changes.note(w.Name()) }

type watchedBlobs struct {
	storage.BlobStore
	repo *watched
}

func (b watchedBlobs) Put(ctx context.Context, mediaType string, content []byte) (storage.Descriptor, error) {
	defer b.repo.note()
	return b.BlobStore.Put(ctx, mediaType, content)
}

// Create begins the repository, too.
func (b watchedBlobs) Create(ctx context.Context) (storage.Upload, error) {
	defer b.repo.note()
	return b.upload(b.BlobStore.Create(ctx))
}

func (b watchedBlobs) Resume(ctx context.Context, id string) (storage.Upload, error) {
	return b.upload(b.BlobStore.Resume(ctx, id))
}

func (b watchedBlobs) upload(u storage.Upload, err error) (storage.Upload, error) {
	if err != nil {
		return nil, err
	}
	return watchedUpload{u, b.repo}, nil
}

func (b watchedBlobs) Mount(ctx context.Context, from storage.Repository, d digest.Digest) (storage.Descriptor, error) {
	defer b.repo.note()
	return b.BlobStore.Mount(ctx, from, d)
}

func (b watchedBlobs) Delete(ctx context.Context, d digest.Digest) error {
	defer b.repo.note()
	return b.BlobStore.Delete(ctx, d)
}

func (b watchedBlobs) Retract(ctx context.Context, made storage.Link) error {
	defer b.repo.note()
	return b.BlobStore.Retract(ctx, made)
}

type watchedUpload struct {
	storage.Upload
	repo *watched
}

func (u watchedUpload) Commit(ctx context.Context, want storage.Descriptor) (storage.Descriptor, error) {
	defer u.repo.note()
	return u.Upload.Commit(ctx, want)
}

type watchedManifests struct {
	storage.ManifestStore
	repo *watched
}

func (m watchedManifests) Put(ctx context.Context, mediaType string, payload []byte, options ...storage.PutOption) (storage.Descriptor, error) {
	defer m.repo.note()
	return m.ManifestStore.Put(ctx, mediaType, payload, options...)
}

func (m watchedManifests) Mount(ctx context.Context, from storage.Repository, d digest.Digest) (storage.Descriptor, error) {
	defer m.repo.note()
	return m.ManifestStore.Mount(ctx, from, d)
}

func (m watchedManifests) Delete(ctx context.Context, d digest.Digest, options ...storage.DeleteOption) error {
	defer m.repo.note()
	return m.ManifestStore.Delete(ctx, d, options...)
}

func (m watchedManifests) Retract(ctx context.Context, made storage.Link) error {
	defer m.repo.note()
	return m.ManifestStore.Retract(ctx, made)
}

type watchedTags struct {
	storage.TagStore
	repo *watched
}

func (t watchedTags) Tag(ctx context.Context, tag string, d digest.Digest) error {
	defer t.repo.note()
	return t.TagStore.Tag(ctx, tag, d)
}

func (t watchedTags) Untag(ctx context.Context, tag string) error {
	defer t.repo.note()
	return t.TagStore.Untag(ctx, tag)
}

func (t watchedTags) Replace(ctx context.Context, tag string, old, d digest.Digest) error {
	defer t.repo.note()
	return t.TagStore.Replace(ctx, tag, old, d)
}

func (t watchedTags) Rename(ctx context.Context, from, to string) error {
	defer t.repo.note()
	return t.TagStore.Rename(ctx, from, to)
}
