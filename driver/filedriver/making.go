package filedriver

import (
	"path"
	"sync"
)

// making is the directories that are being made and are not durable yet, by
// path. Whoever finds one of them waits, and so finds only durable ones.
// Parents are durable before anything is made in them, so who makes a directory
// waits for nobody.
type making struct {
	mu    sync.Mutex
	ended map[string]chan struct{} // closed at the end, good or bad
}

func newMaking() *making { return &making{ended: map[string]chan struct{}{}} }

// begin announces that a directory is going to be made, unless another did.
func (m *making) begin(dir string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended[dir] != nil {
		return false
	}
	m.ended[dir] = make(chan struct{})
	return true
}

// end says that a directory is durable, or gone.
func (m *making) end(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.ended[dir])
	delete(m.ended, dir)
}

// await waits for the outermost directory on the way to dir, or dir itself,
// that is being made. It reports whether there was one.
func (m *making) await(dir string) bool {
	var ended chan struct{}
	m.mu.Lock()
	for ; len(m.ended) > 0 && dir != "/"; dir = path.Dir(dir) {
		if found := m.ended[dir]; found != nil {
			ended = found
		}
	}
	m.mu.Unlock()
	if ended != nil {
		<-ended
	}
	return ended != nil
}
