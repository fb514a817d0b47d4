package fsmount

import (
	"sync"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// maxLayoutLinks bounds the links that are remembered.
const maxLayoutLinks = 1 << 14

// layoutLinks remembers the links of what was written below _oci/blobs and may
// be a manifest: an index.json tells, and then it is no blob any more, unless
// somebody else has pushed it as one. What is forgotten stays among the blobs.
type layoutLinks struct {
	locks *repoLocks // by layoutLink: one writes, or makes a manifest of, content at a time

	mu   sync.Mutex
	made map[layoutLink]storage.Link
}

type layoutLink struct {
	repo   string
	digest digest.Digest
}

func newLayoutLinks() *layoutLinks {
	return &layoutLinks{locks: newRepoLocks(), made: map[layoutLink]storage.Link{}}
}

// lock takes the lock of content of a repository.
func (l *layoutLinks) lock(repo string, d digest.Digest) (unlock func()) {
	return l.locks.lock(repo + "@" + d.String())
}

// add takes note of the link of content of that size. Several writers of a
// layout are one: a manifest is what they all want.
func (l *layoutLinks) add(repo string, made storage.Link, size int64) {
	if size > manifest.MaxSize {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := layoutLink{repo, made.Digest}
	made = made.Since(l.made[at])
	delete(l.made, at)
	if !made.IsNew {
		return
	}
	if len(l.made) >= maxLayoutLinks {
		for other := range l.made { // any
			delete(l.made, other)
			break
		}
	}
	l.made[at] = made
}

// take returns the link of what becomes a manifest, and forgets it.
func (l *layoutLinks) take(repo string, d digest.Digest) (storage.Link, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := layoutLink{repo, d}
	made, ok := l.made[at]
	delete(l.made, at)
	return made, ok
}
