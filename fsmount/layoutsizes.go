package fsmount

import (
	"sync"
	"time"
)

// maxLayoutSizes bounds the sizes that are remembered.
const maxLayoutSizes = 1024

// layoutSizes remembers how long each index.json is, for as long as other
// writers' changes may go unseen and this mount has made none: every look at a
// file asks for its size, and there can be thousands of tags.
type layoutSizes struct {
	mu sync.Mutex
	of map[string]*layoutSize
}

// layoutSize is the size of the index of a repository, or that somebody is
// about to find it out.
type layoutSize struct {
	bytes int
	until time.Time // zero as long as it is not known
}

func newLayoutSizes() *layoutSizes { return &layoutSizes{of: map[string]*layoutSize{}} }

func (s *layoutSizes) get(repo string) (bytes int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.of[repo]
	if known == nil || time.Now().After(known.until) {
		return 0, false
	}
	return known.bytes, true
}

// learn begins to find out the size of an index. What it returns takes the
// size, which counts unless the repository changed meanwhile.
func (s *layoutSizes) learn(repo string) func(bytes int, valid time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.of) >= maxLayoutSizes {
		clear(s.of)
	}
	begun := &layoutSize{}
	s.of[repo] = begun
	return func(bytes int, valid time.Duration) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.of[repo] == begun {
			begun.bytes, begun.until = bytes, time.Now().Add(valid)
		}
	}
}

// changed says that a repository may have other tags or manifests than before.
func (s *layoutSizes) changed(repo string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, repo)
}
