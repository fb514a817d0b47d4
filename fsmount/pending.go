package fsmount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"registryfs/digest"
	"registryfs/storage"
)

// maxPending is how many tags may wait for their manifests.
const maxPending = 10_000

// pending is the tags that rsync made before the manifests that they name: one
// of its processes makes the links of a tree while another still writes the
// files. Such a link is accepted, shows as a link that leads nowhere, and is
// set before the write that brings its manifest returns.
type pending struct {
	max int

	mu    sync.Mutex
	tags  map[awaited][]pendingTag
	count int
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

func newPending() *pending { return &pending{max: maxPending, tags: map[awaited][]pendingTag{}} }

// add lets a tag wait, unless too many do. Those that do not wait any more are
// dropped before that is said.
func (p *pending) add(a awaited, t pendingTag, isWaiting func(pendingTag) bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count >= p.max {
		p.prune(isWaiting)
	}
	if p.count >= p.max {
		return refuse(syscall.ENOSPC, "too many tags wait for their manifests")
	}
	p.tags[a] = append(p.tags[a], t)
	p.count++
	return nil
}

func (p *pending) prune(isWaiting func(pendingTag) bool) {
	p.count = 0
	for a, tags := range p.tags {
		p.tags[a] = slices.DeleteFunc(tags, func(t pendingTag) bool { return !isWaiting(t) })
		p.count += len(p.tags[a])
		if len(p.tags[a]) == 0 {
			delete(p.tags, a)
		}
	}
}

// take returns the tags that wait for a manifest, which no longer do.
func (p *pending) take(a awaited) []pendingTag {
	p.mu.Lock()
	defer p.mu.Unlock()
	tags := p.tags[a]
	delete(p.tags, a)
	p.count -= len(tags)
	return tags
}

// all is every tag that waits.
func (p *pending) all() map[awaited][]pendingTag {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.tags
	p.tags, p.count = map[awaited][]pendingTag{}, 0
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
func (f *fileSystem) postpone(a awaited, t pendingTag) error {
	if err := f.names.mayAdd(); err != nil {
		return err
	}
	l := local{link: t.text}
	f.names.put(t.place, t.name, l)
	err := f.pending.add(a, t, f.isWaiting)
	if err != nil {
		f.names.remove(t.place, t.name, l)
	}
	return err
}

// isWaiting reports whether the link of a tag has been neither removed nor
// replaced meanwhile.
func (f *fileSystem) isWaiting(t pendingTag) bool {
	l, ok := f.names.get(t.place, t.name)
	return ok && l.link == t.text
}

// arrived sets the tags that waited for a manifest.
func (f *fileSystem) arrived(ctx context.Context, repo string, d digest.Digest) {
	for _, t := range f.pending.take(awaited{repo, d}) {
		if !f.isWaiting(t) {
			continue
		}
		_, from, err := f.setLink(ctx, t.place, t.name, t.text)
		if a, more := awaitedBy(repo, from, err); more && f.pending.add(a, t, f.isWaiting) == nil {
			continue
		}
		f.names.remove(t.place, t.name, local{link: t.text})
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
