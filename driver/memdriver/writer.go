package memdriver

import (
	"context"
	"sync/atomic"

	"registryfs/driver"
)

// writer changes content in its place.
type writer struct {
	store   *store
	path    string
	content *content
	err     atomic.Pointer[error] // of the first write that failed
}

var (
	_ driver.RandomWriter  = (*writer)(nil)
	_ driver.HeldCommitter = (*writer)(nil)
)

// writer begins to write content. The caller holds the store's lock.
func (s *store) writer(path string, c *content) *writer {
	c.writing = true
	return &writer{store: s, path: path, content: c.retain()}
}

func (w *writer) Write(p []byte) (int, error) { return w.WriteAt(p, w.content.length()) }

func (w *writer) WriteAt(p []byte, offset int64) (int, error) {
	if err := w.failed(); err != nil {
		return 0, err
	}
	n, err := w.content.WriteAt(p, offset)
	if err != nil {
		w.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

func (w *writer) ReadAt(p []byte, offset int64) (int, error) { return w.content.ReadAt(p, offset) }

func (w *writer) Truncate(size int64) error {
	if err := w.failed(); err != nil {
		return err
	}
	w.content.truncate(size)
	return nil
}

func (w *writer) Size() int64 { return w.content.length() }

func (w *writer) Sync() error { return w.failed() }

func (w *writer) Close() error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.end()
	return w.failed()
}

func (w *writer) Commit(ctx context.Context) error {
	release, err := w.CommitHeld(ctx)
	if err != nil {
		return err
	}
	return release()
}

func (w *writer) CommitHeld(context.Context) (release func() error, err error) {
	if err := w.failed(); err != nil {
		return nil, err
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if !w.isNamed() {
		return nil, driver.ErrNotExist
	}
	return w.Close, nil
}

func (w *writer) Cancel(context.Context) error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	defer w.end()
	if !w.isNamed() {
		return nil // it is gone already
	}
	return w.store.remove(w.path)
}

// failed is the failure that ended all writing, or nil.
func (w *writer) failed() error {
	if err := w.err.Load(); err != nil {
		return *err
	}
	return nil
}

// isNamed reports whether the path still names what is written. The caller
// holds the store's lock.
func (w *writer) isNamed() bool {
	n, err := w.store.root.find(w.path)
	return err == nil && n.content == w.content
}

// end lets go of the content. The caller holds the store's lock.
func (w *writer) end() {
	w.content.writing = false
	w.content.release()
}
