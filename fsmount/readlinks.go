package fsmount

import (
	"sync"
	"time"

	"registryfs/digest"
)

const (
	// readlinkAge is how long a thread that followed a link may take to open
	// what it led to.
	readlinkAge = 10 * time.Second
	// maxReadlinks bounds the threads that are remembered.
	maxReadlinks = 4096
)

// followed is a tag or an alias that a thread has read, and where it led.
type followed struct {
	place  place
	name   string
	digest digest.Digest
	when   time.Time
}

// readlinks remembers, for each thread, the link that it read last. The kernel
// follows a symlink before it opens a file, so `cp m.json _tags/v1` arrives as
// an open for writing of the manifest that v1 names; that the same thread has
// just read the link, to open what it leads to, is what tells it from a write
// to the manifest.
type readlinks struct {
	mu   sync.Mutex
	last map[uint32]followed
}

func newReadlinks() *readlinks { return &readlinks{last: map[uint32]followed{}} }

// follows takes note of the link that a thread reads, unless it does so only to
// know, as by readlink(2) or stat(2).
func (r *readlinks) follows(tid uint32, f followed) {
	if isOpening(tid) {
		r.note(tid, f)
	}
}

func (r *readlinks) note(tid uint32, f followed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.when = time.Now()
	if len(r.last) >= maxReadlinks {
		for old, was := range r.last {
			if f.when.Sub(was.when) > readlinkAge {
				delete(r.last, old)
			}
		}
		if len(r.last) >= maxReadlinks {
			clear(r.last)
		}
	}
	r.last[tid] = f
}

// take returns the link that the thread followed to content of that digest in
// that repository, and forgets it.
func (r *readlinks) take(tid uint32, repo string, d digest.Digest) (followed, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.last[tid]
	delete(r.last, tid)
	return f, ok && f.place.repo == repo && f.digest == d && time.Since(f.when) < readlinkAge
}
