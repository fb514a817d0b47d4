package fsmount

import (
	"path"
	"strings"
	"sync"
)

// waiting is the repositories and namespaces that were made with mkdir and
// hold nothing yet. They live in the mount alone.
type waiting struct {
	mu    sync.Mutex
	names map[string]bool
	gens  map[string]uint64 // how often a name was removed
}

func newWaiting() *waiting {
	return &waiting{names: map[string]bool{}, gens: map[string]uint64{}}
}

func (w *waiting) has(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[name]
}

func (w *waiting) add(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[name] = true
}

// remove takes a name out, unless others wait below it, and reports whether it
// did. The kernel must never be shown again a directory that it has removed,
// so the name gets a new generation.
func (w *waiting) remove(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for other := range w.names {
		if strings.HasPrefix(other, name+"/") {
			return false
		}
	}
	delete(w.names, name)
	w.gens[name]++
	return true
}

// generation tells a directory from others that had its name before.
func (w *waiting) generation(name string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gens[name]
}

// below is the names one level below a namespace.
func (w *waiting) below(namespace string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for name := range w.names {
		if dir := path.Dir(name); dir == namespace || dir == "." && namespace == "" {
			names = append(names, name)
		}
	}
	return names
}
