package memdriver

import (
	"context"

	"registryfs/driver"
)

// writer changes content in its place.
type writer struct {
	store   *store
	path    string
	content *content
}

var _ driver.RandomWriter = (*writer)(nil)

func (w *writer) Write(p []byte) (int, error) { return w.content.WriteAt(p, w.content.length()) }

func (w *writer) WriteAt(p []byte, offset int64) (int, error) { return w.content.WriteAt(p, offset) }

func (w *writer) ReadAt(p []byte, offset int64) (int, error) { return w.content.ReadAt(p, offset) }

func (w *writer) Truncate(size int64) error {
	w.content.truncate(size)
	return nil
}

func (w *writer) Size() int64 { return w.content.length() }

func (w *writer) Sync() error { return nil }

func (w *writer) Close() error {
	w.store.release(w.content)
	return nil
}

func (w *writer) Commit(context.Context) error {
	if !w.store.names(w.path, w.content) {
		return driver.ErrNotExist
	}
	w.store.release(w.content)
	return nil
}

func (w *writer) Cancel(context.Context) error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.content.writing = false
	if n, err := w.store.root.find(w.path); err != nil || n.content != w.content {
		return nil // it is gone already
	}
	return w.store.root.remove(w.path)
}
