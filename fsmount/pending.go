package fsmount

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"registryfs/digest"
	"registryfs/storage"
)

const (
	// maxPending is how many tags may wait for their manifests.
	maxPending = 10_000
	// pendingAge is how long one waits, as a temporary does.
	pendingAge = scratchAge
)

// pending is the tags that rsync made before the manifests that they name: one
// of its processes makes the links of a tree while another still writes the
// files. Such a link is accepted, shows as a link that leads nowhere, and is
// set before the write that brings its manifest returns; unless the tag has
// been changed meanwhile: the last writer wins.
type pending struct {
	max   int
	below storage.Registry // whose tags they are to be
	names *names           // where the links show
	turns *repoLocks

	mu         sync.Mutex
	tags       map[repoTag]*pendingTag
	byManifest map[awaited]map[*pendingTag]bool
	makers     map[process]func() // of the links, and what ends waiting for their end

	reports sync.Mutex // is held until what has ended is found in the errors
}

// repoTag is a tag of a repository.
type repoTag struct{ repo, tag string }

// awaited is a manifest that is to come to a repository.
type awaited struct {
	repo   string
	digest digest.Digest
}

// pendingTag is a tag that waits.
type pendingTag struct {
	at     placeName
	text   string        // of the link
	awaits digest.Digest // guarded by the table
	was    digest.Digest // what the tag named when the wait began, or ""
	since  time.Time
	tid    uint32  // that made the link
	maker  process // its process
}

func (t *pendingTag) tag() repoTag { return repoTag{t.at.place.repo, t.at.name} }

func (t *pendingTag) path() string { return t.at.place.join(t.at.name) }

func newPending(below storage.Registry, n *names) *pending {
	return &pending{
		max:        maxPending,
		below:      below,
		names:      n,
		turns:      newRepoLocks(),
		tags:       map[repoTag]*pendingTag{},
		byManifest: map[awaited]map[*pendingTag]bool{},
		makers:     map[process]func(){},
	}
}

// add lets a tag wait, in place of what waits to be the same, unless too many
// do.
func (p *pending) add(t *pendingTag) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.tags[t.tag()]
	if old == nil && len(p.tags) >= p.max {
		return refuse(syscall.ENOSPC, "too many tags wait for their manifests")
	}
	if old != nil {
		p.unset(old)
	}
	p.tags[t.tag()] = t
	p.index(t)
	p.names.put(t.at.place, t.at.name, local{link: t.text})
	return nil
}

// await lets a tag wait for another manifest, if it still waits.
func (p *pending) await(t *pendingTag, d digest.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tags[t.tag()] != t {
		return
	}
	p.unindex(t)
	t.awaits = d
	p.index(t)
}

// of is what waits to be a tag, or nil.
func (p *pending) of(tag repoTag) *pendingTag {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tags[tag]
}

// shown is what waits under a name, or nil.
func (p *pending) shown(at placeName) *pendingTag {
	if t := p.of(repoTag{at.place.repo, at.name}); t != nil && t.at == at {
		return t
	}
	return nil
}

// awaiting is the tags that wait for a manifest.
func (p *pending) awaiting(a awaited) []*pendingTag {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.byManifest[a]))
}

// end ends a wait, and reports whether it had not ended.
func (p *pending) end(t *pendingTag) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	isWaiting := t != nil && p.tags[t.tag()] == t
	if isWaiting {
		p.unset(t)
	}
	return isWaiting
}

// take ends the waits of which that is true, and returns them. It reports
// whether others are left.
func (p *pending) take(isOver func(*pendingTag) bool) (over []*pendingTag, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tags {
		if isOver(t) {
			over = append(over, t)
			p.unset(t)
		}
	}
	return over, len(p.tags) > 0
}

func (p *pending) unset(t *pendingTag) {
	delete(p.tags, t.tag())
	p.unindex(t)
	p.names.remove(t.at.place, t.at.name, local{link: t.text})
}

func (p *pending) index(t *pendingTag) {
	a := awaited{t.at.place.repo, t.awaits}
	if p.byManifest[a] == nil {
		p.byManifest[a] = map[*pendingTag]bool{}
	}
	p.byManifest[a][t] = true
}

func (p *pending) unindex(t *pendingTag) {
	a := awaited{t.at.place.repo, t.awaits}
	delete(p.byManifest[a], t)
	if len(p.byManifest[a]) == 0 {
		delete(p.byManifest, a)
	}
}

// awaitedBy is the manifest that a tag could not be set for want of.
func awaitedBy(from source, err error) (digest.Digest, bool) {
	var missing *storage.MissingError
	switch {
	case errors.As(err, &missing) && len(missing.Manifests) > 0:
		return missing.Manifests[0], true
	case errors.Is(err, storage.ErrManifestUnknown) && from.digest != "":
		return from.digest, true
	}
	return "", false
}
