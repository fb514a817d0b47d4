package fsmount

import (
	"context"
	"sync"
	"time"
)

const (
	// maxIndexesKept and maxIndexBytes bound the indexes that are kept.
	maxIndexesKept = 64
	maxIndexBytes  = 64 << 20
)

// layoutIndex is an index.json. Do not modify.
type layoutIndex struct {
	payload []byte
	version *layoutVersion
	made    time.Time
	changes uint64 // that were counted before
}

// layoutIndexes keeps the indexes of repositories for a moment: some tools read
// the index again for each manifest in it.
type layoutIndexes struct {
	mu   sync.Mutex
	of   map[string]*layoutIndex
	size int // bytes
}

func newLayoutIndexes() *layoutIndexes { return &layoutIndexes{of: map[string]*layoutIndex{}} }

// get returns the index of a repository, unless it is older than that, or more
// changes have been counted.
func (l *layoutIndexes) get(repo string, changes uint64, maxAge time.Duration) *layoutIndex {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.of[repo]
	if i == nil || i.changes != changes || time.Since(i.made) >= maxAge {
		return nil
	}
	return i
}

func (l *layoutIndexes) put(repo string, i *layoutIndex) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(repo)
	l.of[repo] = i
	l.size += len(i.payload)
	for other := range l.of { // any: the cost is that it is made again
		if len(l.of) <= maxIndexesKept && l.size <= maxIndexBytes {
			break
		}
		l.remove(other)
	}
}

func (l *layoutIndexes) remove(repo string) {
	if i := l.of[repo]; i != nil {
		l.size -= len(i.payload)
		delete(l.of, repo)
	}
}

// indexAge is how old an index may be that is kept.
func (f *fileSystem) indexAge() time.Duration { return min(entryValid, f.options.AttrTimeout) }

// hasLayoutIndex reports whether the index of a repository need not be made.
func (f *fileSystem) hasLayoutIndex(repo string) bool {
	return f.layouts.indexes.get(repo, f.changes.version(repo), f.indexAge()) != nil
}

// layoutIndex is the index of a repository as it is now, or, of what others
// than this mount have changed, was a moment ago.
func (f *fileSystem) layoutIndex(ctx context.Context, repo string) (*layoutIndex, error) {
	changes, maxAge := f.changes.version(repo), f.indexAge()
	if i := f.layouts.indexes.get(repo, changes, maxAge); i != nil {
		return i, nil
	}
	layout, err := f.layout(ctx, repo)
	if err != nil {
		return nil, err
	}
	payload, generation, err := layout.Encode()
	if err != nil {
		return nil, err
	}
	i := &layoutIndex{payload, newVersion(generation, layout), time.Now(), changes}
	if maxAge > 0 {
		f.layouts.indexes.put(repo, i)
	}
	return i, nil
}
