package fsmount

import (
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// maxWaiting is how many repositories may be made with mkdir before they get
// content.
const maxWaiting = 10_000

// waiting is the repositories and namespaces that were made with mkdir and
// hold nothing yet. They live in the mount alone.
type waiting struct {
	mu          sync.Mutex
	names       map[string]bool
	generations generations // also of those that have content by now
}

func newWaiting() *waiting {
	return &waiting{names: map[string]bool{}, generations: newGenerations()}
}

func (w *waiting) has(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[name]
}

// add takes a name in, unless there are too many.
func (w *waiting) add(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.names) >= maxWaiting && !w.names[name] {
		return refuse(syscall.ENOSPC, "too many repositories wait for content")
	}
	w.names[name] = true
	w.generations.begin(name)
	return nil
}

// prune takes out the names that wait no longer. What they name stays as it is.
func (w *waiting) prune(hasCome func(name string) bool) {
	w.mu.Lock()
	names := slices.Collect(maps.Keys(w.names))
	w.mu.Unlock()
	for _, name := range names {
		if hasCome(name) {
			w.mu.Lock()
			delete(w.names, name)
			w.mu.Unlock()
		}
	}
}

// remove takes a name out, unless others wait below it, and reports whether it
// did.
func (w *waiting) remove(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for other := range w.names {
		if strings.HasPrefix(other, name+"/") {
			return false
		}
	}
	delete(w.names, name)
	w.generations.end(name)
	return true
}

// generation tells a directory from others that had its name before.
func (w *waiting) generation(name string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.generations.number(name)
}

// isFull reports whether prune and forget are due.
func (w *waiting) isFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.names) >= maxWaiting || w.generations.areMany()
}

// forget forgets the generations of directories that wait no longer and are not
// in use.
func (w *waiting) forget(isUsed func(madeDir) bool) {
	w.mu.Lock()
	idle := w.generations.idle(func(name string) bool { return !w.names[name] })
	w.mu.Unlock()
	idle = slices.DeleteFunc(idle, isUsed)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.generations.forget(idle)
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
