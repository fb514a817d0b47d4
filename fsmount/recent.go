package fsmount

import (
	"sync"
	"time"
)

const (
	// recentAge is how long a name counts as just published.
	recentAge = 5 * time.Second
	// maxRecent bounds the names that are remembered.
	maxRecent = 4096
)

// recent remembers which names were published just now. cp looks whether a
// name exists and, if not, creates it with O_EXCL; where another cp of the
// same content was faster, the second would fail with EEXIST although what it
// wants to be there is there. So for a moment a creator does not see a name
// that is its content's.
type recent struct {
	mu    sync.Mutex
	names map[placeName]time.Time
}

func newRecent() *recent { return &recent{names: map[placeName]time.Time{}} }

func (r *recent) note(p place, name string) {
	if p.view == viewTags {
		return // a tag can be taken by something else: there EEXIST is right
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.names) >= maxRecent {
		for old, when := range r.names {
			if now.Sub(when) > recentAge {
				delete(r.names, old)
			}
		}
		if len(r.names) >= maxRecent {
			clear(r.names)
		}
	}
	r.names[placeName{p, name}] = now
}

// hides reports whether a thread that looks for the name should not find it.
func (r *recent) hides(p place, name string, tid uint32) bool {
	r.mu.Lock()
	when, ok := r.names[placeName{p, name}]
	r.mu.Unlock()
	return ok && time.Since(when) < recentAge && isCreatingAnew(tid)
}
