package fsmount

import (
	"sync"
	"syscall"
	"time"

	"registryfs/digest"
)

const (
	// maxAliases is how many aliases are kept, the newest.
	maxAliases = 10_000
	// maxTemporaries is how many other names there may be, each of them less
	// than 1 KiB.
	maxTemporaries = 1 << 16
	// placeholderAge is how long a file that was made and closed empty stays.
	placeholderAge = 10 * time.Minute
)

// local is what a name of the mount alone stands for: exactly one of a file
// being written, an alias of a blob, the text of a symlink that waits for its
// rename, or a directory of temporaries.
type local struct {
	file  *stagedFile
	alias digest.Digest
	link  string
	dir   *scratchDir
	made  time.Time // of a link
}

func (l local) is(other local) bool {
	l.made, other.made = time.Time{}, time.Time{}
	return l == other
}

// names holds the names that exist in this mount and not in the registry.
type names struct {
	changed func(repo string) // is called for each change
	max     int               // temporaries

	mu          sync.Mutex
	places      map[place]map[string]local
	temporaries int         // all that are no aliases
	aliases     []placeName // oldest first; may hold names that are gone
}

type placeName struct {
	place place
	name  string
}

func newNames(changed func(repo string)) *names {
	return &names{places: map[place]map[string]local{}, changed: changed, max: maxTemporaries}
}

// get returns what a name stands for.
func (n *names) get(p place, name string) (local, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, ok := n.places[p][name]
	if ok && l.file != nil && l.file.isForgotten() {
		n.unset(p, name)
		return local{}, false
	}
	return l, ok
}

// mayAdd is asked before a temporary is made: those that are being made
// meanwhile go beyond the limit. Placeholders make room where nobody came back
// for them.
func (n *names) mayAdd() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.temporaries < n.max {
		return nil
	}
	for p, names := range n.places {
		for name, l := range names {
			if l.file != nil && l.file.isForgotten() {
				n.unset(p, name)
			}
		}
	}
	if n.temporaries < n.max {
		return nil
	}
	return refuse(syscall.ENOSPC, "there are too many temporaries; remove some")
}

func (n *names) put(p place, name string, l local) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.set(p, name, l)
}

// putNew is put, unless the name is taken.
func (n *names) putNew(p place, name string, l local) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, taken := n.places[p][name]
	if !taken {
		n.set(p, name, l)
	}
	return !taken
}

// putAlias makes a name an alias, and forgets the oldest where there are too
// many.
func (n *names) putAlias(p place, name string, d digest.Digest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.places[p][name].alias == "" {
		n.aliases = append(n.aliases, placeName{p, name})
	}
	n.set(p, name, local{alias: d})
	for len(n.aliases) > maxAliases {
		old := n.aliases[0]
		n.aliases = n.aliases[1:]
		if n.places[old.place][old.name].alias != "" {
			n.unset(old.place, old.name)
		}
	}
}

// remove forgets a name, if it stands for l.
func (n *names) remove(p place, name string, l local) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.places[p][name].is(l) {
		n.unset(p, name)
	}
}

// each calls fn for the names of a place, in no order.
func (n *names) each(p place, fn func(name string, l local)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, l := range n.places[p] {
		if l.file == nil || !l.file.isForgotten() {
			fn(name, l)
		}
	}
}

// eachAlias calls fn for the aliases of a place.
func (n *names) eachAlias(p place, fn func(name string)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, l := range n.places[p] {
		if l.alias != "" {
			fn(name)
		}
	}
}

// removeDir forgets a directory, if nothing is in it.
func (n *names) removeDir(p place, name string, dir *scratchDir) bool {
	in := dir.place()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.places[in] {
		if l.file == nil || !l.file.isForgotten() {
			return false
		}
	}
	for name := range n.places[in] {
		n.unset(in, name)
	}
	if n.places[p][name].dir == dir {
		n.unset(p, name)
	}
	return true
}

func (n *names) set(p place, name string, l local) {
	if n.places[p] == nil {
		n.places[p] = map[string]local{}
	}
	if l.link != "" && l.made.IsZero() {
		l.made = time.Now()
	}
	n.count(p, name, -1)
	n.places[p][name] = l
	n.count(p, name, 1)
	n.changed(p.repo)
}

// count counts a name by so much, if it is one and a temporary.
func (n *names) count(p place, name string, by int) {
	if l, ok := n.places[p][name]; ok && l.alias == "" {
		n.temporaries += by
	}
}

func (n *names) unset(p place, name string) {
	n.count(p, name, -1)
	delete(n.places[p], name)
	n.changed(p.repo)
	if len(n.places[p]) == 0 {
		delete(n.places, p)
	}
}

// all returns every name, in no order.
func (n *names) all() []placeName {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []placeName
	for p, names := range n.places {
		for name := range names {
			all = append(all, placeName{p, name})
		}
	}
	return all
}

// directories are those of repositories that hold any names.
func (n *names) directories() map[madeDir]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	dirs := map[madeDir]bool{}
	for p := range n.places {
		dirs[madeDir{p.repo, p.gen}] = true
	}
	return dirs
}

// files returns every file that has a name.
func (n *names) files() []*stagedFile {
	n.mu.Lock()
	defer n.mu.Unlock()
	var files []*stagedFile
	for _, names := range n.places {
		for _, l := range names {
			if l.file != nil {
				files = append(files, l.file)
			}
		}
	}
	return files
}
