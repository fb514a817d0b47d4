package fsmount

import (
	"slices"
	"sync"
	"time"

	"registryfs/digest"
)

const (
	// baseAge is how long it is remembered what a process has read.
	baseAge = time.Hour
	// maxReaders is how many processes are remembered, the latest.
	maxReaders = 1024
	// maxReadVersions is how many indexes are remembered of one process.
	maxReadVersions = 16
	// maxVersionEntries is how many entries the indexes that are remembered
	// have together.
	maxVersionEntries = 1 << 18
	// maxRemoved is how many removals are remembered of one process, of some
	// 100 bytes each.
	maxRemoved = 1000
)

// indexBases remembers which index.json each process has read or written last,
// and what stood in it, for the merge of what it writes next.
type indexBases struct {
	mu      sync.Mutex
	readers map[indexReader]*reading
	kept    []keptVersion // the latest used last
	entries int           // of all that are kept
}

// indexReader is a process at a repository.
type indexReader struct {
	repo string
	by   process
}

// keptVersion is an index that is remembered. One that somebody wrote is his
// alone and has no repository.
type keptVersion struct {
	repo string
	*layoutVersion
}

// reading is what a process has read since it wrote last.
type reading struct {
	seen    []*layoutVersion
	written *layoutVersion // by itself, last; its generation is that it was made from
	// isForgotten says that it has seen others, which are not remembered.
	isForgotten bool
	removed     []leftContent // what it has removed, and is still there
	when        time.Time
}

func newIndexBases() *indexBases { return &indexBases{readers: map[indexReader]*reading{}} }

// read takes note that a process has read an index.
func (b *indexBases) read(repo string, by process, v *layoutVersion) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := b.find(repo, v.generation); i >= 0 {
		v = b.kept[i].layoutVersion
		b.kept = append(slices.Delete(b.kept, i, i+1), keptVersion{repo, v})
	} else {
		b.keep(repo, v)
	}
	r := b.reading(indexReader{repo, by})
	if slices.Contains(r.seen, v) {
		return
	}
	r.seen = append(r.seen, v)
	if len(r.seen) > maxReadVersions {
		r.seen, r.isForgotten = slices.Delete(r.seen, 0, 1), true
	}
}

// wrote takes note that a process has written an index.
func (b *indexBases) wrote(repo string, by process, v *layoutVersion) {
	if by == (process{}) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.reading(indexReader{repo, by})
	r.seen, r.written, r.isForgotten = nil, v, false
	b.keep("", v)
}

// mayRemove reports whether a process that removes a manifest can mean that
// one: it has found it in an index, or has read none.
func (b *indexBases) mayRemove(repo string, by process, d digest.Digest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.readers[indexReader{repo, by}]
	if r == nil || r.isForgotten {
		return r == nil
	}
	known := layoutBase{versions: r.seen}
	return known.knew(d) || len(r.seen) == 0 || r.written != nil && r.written.lists(d)
}

// removed takes note that a process has removed a blob that is still there,
// since something references it.
func (b *indexBases) removed(repo string, by process, left leftContent) {
	if by == (process{}) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.reading(indexReader{repo, by}); len(r.removed) < maxRemoved {
		r.removed = append(r.removed, left)
	}
}

// takeRemoved returns the blobs that a process has removed, and forgets them.
func (b *indexBases) takeRemoved(repo string, by process) []leftContent {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.readers[indexReader{repo, by}]
	if r == nil || time.Since(r.when) > baseAge {
		return nil
	}
	removed := r.removed
	r.removed = nil
	return removed
}

// of is what a process began with when it wrote an index that was made from
// that of a generation, if it is known which.
func (b *indexBases) of(repo string, by process, generation string) layoutBase {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.readers[indexReader{repo, by}]
	if r == nil || time.Since(r.when) > baseAge {
		r = &reading{}
	}
	goesOn := generation == "" && len(r.seen) == 0 || generation != "" && r.written != nil && r.written.generation == generation
	switch i := b.find(repo, generation); {
	case goesOn && r.written != nil:
		return layoutBase{versions: []*layoutVersion{r.written}}
	case generation == "":
		return layoutBase{slices.Clone(r.seen), r.isForgotten}
	case i >= 0:
		return layoutBase{versions: []*layoutVersion{b.kept[i].layoutVersion}}
	default:
		return layoutBase{isForgotten: true}
	}
}

// reading is that of a process, which has come now. Where there are too many
// the one that came longest ago is forgotten.
func (b *indexBases) reading(by indexReader) *reading {
	r := b.readers[by]
	now := time.Now()
	if r == nil || now.Sub(r.when) > baseAge {
		r = &reading{}
		b.readers[by] = r
	}
	r.when = now
	if len(b.readers) > maxReaders {
		oldest := by
		for other, r := range b.readers {
			if r.when.Before(b.readers[oldest].when) {
				oldest = other
			}
		}
		delete(b.readers, oldest)
	}
	return r
}

func (b *indexBases) find(repo, generation string) int {
	return slices.IndexFunc(b.kept, func(v keptVersion) bool { return v.repo == repo && v.generation == generation })
}

// keep remembers an index, and forgets those that were not used for longest
// where they are too much.
func (b *indexBases) keep(repo string, v *layoutVersion) {
	b.kept = append(b.kept, keptVersion{repo, v})
	b.entries += v.cost()
	for len(b.kept) > 1 && b.entries > maxVersionEntries {
		b.forget(b.kept[0].layoutVersion)
		b.kept = slices.Delete(b.kept, 0, 1)
	}
}

func (b *indexBases) forget(v *layoutVersion) {
	b.entries -= v.cost()
	for _, r := range b.readers {
		if i := slices.Index(r.seen, v); i >= 0 {
			r.seen, r.isForgotten = slices.Delete(r.seen, i, i+1), true
		}
		if r.written == v {
			r.written, r.isForgotten = nil, true
		}
	}
}

func (v *layoutVersion) cost() int { return 1 + len(v.tags) + len(v.nameless) }
