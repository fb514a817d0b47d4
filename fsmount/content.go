package fsmount

import (
	"context"
	"errors"
	"sync"

	"registryfs/digest"
	"registryfs/storage"
)

const (
	// maxSizes bounds the sizes that are remembered.
	maxSizes = 1 << 18
	// maxHidden bounds the blobs that are hidden.
	maxHidden = 1 << 16
)

// content knows what the mount has learned of blobs: sizes, which never
// change, which are manifests, and which of them rm has hidden until nothing
// references them.
type content struct {
	mu     sync.Mutex
	known  map[digest.Digest]knownContent
	hidden map[hiddenBlob]storage.Link // as it was hidden
}

type knownContent struct {
	size       int64
	isManifest bool // in some repository: there it is looked for first
}

type hiddenBlob struct {
	repo   string
	digest digest.Digest
}

func newContent() *content {
	return &content{known: map[digest.Digest]knownContent{}, hidden: map[hiddenBlob]storage.Link{}}
}

func (c *content) size(d digest.Digest) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.known[d]
	return known.size, ok
}

func (c *content) isManifest(d digest.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[d].isManifest
}

func (c *content) setSize(d digest.Digest, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(d, knownContent{size, c.known[d].isManifest})
}

// seen takes note of content that a view has.
func (c *content) seen(v view, d digest.Digest, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, known := c.known[d]
	is := knownContent{size, v == viewManifests || was.isManifest}
	if known {
		is.size = was.size
	}
	if !known || is != was {
		c.set(d, is)
	}
}

func (c *content) set(d digest.Digest, is knownContent) {
	if _, known := c.known[d]; !known && len(c.known) >= maxSizes {
		for other := range c.known { // any: the cost is one more Stat
			delete(c.known, other)
			break
		}
	}
	c.known[d] = is
}

// published takes note that a repository has content.
func (c *content) published(repo string, d digest.Digest, size int64) {
	c.setSize(d, size)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.hidden, hiddenBlob{repo, d})
}

// hide hides a blob, whose link is to go with the last reference unless somebody
// puts the blob again, and reports whether it did: not where there are too many.
func (c *content) hide(repo string, link storage.Link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := hiddenBlob{repo, link.Digest}
	if _, isHidden := c.hidden[h]; !isHidden && len(c.hidden) >= maxHidden {
		return false
	}
	c.hidden[h] = link
	return true
}

func (c *content) isHidden(repo string, d digest.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, isHidden := c.hidden[hiddenBlob{repo, d}]
	return isHidden
}

// hiddenIn is the links of what is hidden in a repository.
func (c *content) hiddenIn(repo string) []storage.Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	var links []storage.Link
	for h, link := range c.hidden {
		if h.repo == repo {
			links = append(links, link)
		}
	}
	return links
}

func (c *content) unhide(repo string, d digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.hidden, hiddenBlob{repo, d})
}

// stat reports whether a view of a repository has content of that digest, and
// learns its size. A layout has blobs and manifests alike.
func (f *fileSystem) stat(ctx context.Context, repo string, v view, d digest.Digest) error {
	if v == viewLayoutBlobs {
		_, err := f.viewOf(ctx, repo, d)
		return err
	}
	r, err := f.registry.Repository(repo)
	if err != nil {
		return err
	}
	var desc storage.Descriptor
	if v == viewManifests {
		desc, err = r.Manifests().Stat(ctx, d)
	} else if f.content.isHidden(repo, d) {
		err = storage.ErrBlobUnknown
	} else {
		desc, err = r.Blobs().Stat(ctx, d)
	}
	if err != nil {
		return err
	}
	f.content.seen(v, d, desc.Size)
	return nil
}

// isThere reports whether a name stands for content, by the error of looking
// for that. What is damaged is there: a push to its name heals it.
func isThere(err error) bool { return err == nil || errors.Is(err, storage.ErrCorrupt) }

// viewOf is the view in which a repository has content of that digest.
func (f *fileSystem) viewOf(ctx context.Context, repo string, d digest.Digest) (view, error) {
	err := f.stat(ctx, repo, viewBlobs, d)
	if err == nil {
		return viewBlobs, nil
	}
	if !errors.Is(err, storage.ErrBlobUnknown) {
		return 0, err
	}
	return viewManifests, f.stat(ctx, repo, viewManifests, d)
}

// openContent opens content of that digest, in whichever view a repository has
// it.
func (f *fileSystem) openContent(ctx context.Context, repo string, d digest.Digest, options ...storage.OpenOption) (storage.Blob, error) {
	r, err := f.registry.Repository(repo)
	if err != nil {
		return nil, err
	}
	if f.content.isManifest(d) {
		if blob, err := r.Manifests().Open(ctx, d, options...); !errors.Is(err, storage.ErrManifestUnknown) {
			return blob, err
		}
	}
	return openIn(ctx, r, d, options...)
}

// openIn is openContent for a repository.
func openIn(ctx context.Context, repo storage.Repository, d digest.Digest, options ...storage.OpenOption) (storage.Blob, error) {
	blob, err := repo.Blobs().Open(ctx, d, options...)
	if errors.Is(err, storage.ErrBlobUnknown) {
		return repo.Manifests().Open(ctx, d, options...)
	}
	return blob, err
}
