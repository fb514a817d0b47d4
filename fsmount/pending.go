package fsmount

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"registryfs/digest"
	"registryfs/storage"
)

// pending is the tags that rsync made before the manifests that they name: one
// of its processes makes the links of a tree while another still writes the
// files. Such a link is accepted, shows as a link that leads nowhere, and is
// set before the write that brings its manifest returns.
type pending struct {
	mu   sync.Mutex
	tags map[awaited][]pendingTag
}

// awaited is a manifest that is to come to a repository.
type awaited struct {
	repo   string
	digest digest.Digest
}

type pendingTag struct {
	place place
	name  string
	text  string
}

func newPending() *pending { return &pending{tags: map[awaited][]pendingTag{}} }

func (p *pending) add(a awaited, t pendingTag) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tags[a] = append(p.tags[a], t)
}

// take returns the tags that wait for a manifest, which no longer do.
func (p *pending) take(a awaited) []pendingTag {
	p.mu.Lock()
	defer p.mu.Unlock()
	tags := p.tags[a]
	delete(p.tags, a)
	return tags
}

// all is every tag that waits.
func (p *pending) all() map[awaited][]pendingTag {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.tags
	p.tags = map[awaited][]pendingTag{}
	return all
}

// awaitedBy is the manifest that a tag could not be set for want of.
func awaitedBy(repo string, from source, err error) (awaited, bool) {
	var missing *storage.MissingError
	switch {
	case errors.As(err, &missing) && len(missing.Manifests) > 0:
		return awaited{repo, missing.Manifests[0]}, true
	case errors.Is(err, storage.ErrManifestUnknown) && from.digest != "":
		return awaited{repo, from.digest}, true
	}
	return awaited{}, false
}

// postpone lets a link wait for its manifest.
func (f *fileSystem) postpone(a awaited, t pendingTag) {
	f.names.put(t.place, t.name, local{link: t.text})
	f.pending.add(a, t)
}

// arrived sets the tags that waited for a manifest.
func (f *fileSystem) arrived(ctx context.Context, repo string, d digest.Digest) {
	for _, t := range f.pending.take(awaited{repo, d}) {
		l, ok := f.names.get(t.place, t.name)
		if !ok || l.link != t.text {
			continue // removed or replaced meanwhile
		}
		_, from, err := f.setLink(ctx, t.place, t.name, t.text)
		if a, more := awaitedBy(repo, from, err); more {
			f.pending.add(a, t)
			continue
		}
		f.names.remove(t.place, t.name, l)
		if err != nil {
			f.note(0, "symlink", t.place.join(t.name), err)
		}
	}
}

// abandon says which tags never got their manifest.
func (f *fileSystem) abandon() {
	for a, tags := range f.pending.all() {
		for _, t := range tags {
			f.note(0, "symlink", t.place.join(t.name), fmt.Errorf("manifest %s never came", a.digest))
		}
	}
}
