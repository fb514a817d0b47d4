package driver

import (
	"context"
	"sync/atomic"
)

// checkedFile checks offsets and that the file is open.
type checkedFile struct {
	driver *checked
	path   string
	inner  File
	closed atomic.Bool
}

var _ File = (*checkedFile)(nil)

func (f *checkedFile) ReadAt(p []byte, offset int64) (int, error) {
	switch {
	case f.closed.Load():
		return 0, f.driver.wrap("readat", f.path, ErrClosed)
	case offset < 0:
		return 0, f.driver.wrap("readat", f.path, ErrInvalidOffset)
	}
	n, err := f.inner.ReadAt(p, offset)
	return n, f.driver.wrap("readat", f.path, err)
}

func (f *checkedFile) Stat() (FileInfo, error) {
	if f.closed.Load() {
		return FileInfo{}, f.driver.wrap("stat", f.path, ErrClosed)
	}
	info, err := f.inner.Stat()
	return info, f.driver.wrap("stat", f.path, err)
}

func (f *checkedFile) Close() error {
	if f.closed.Swap(true) {
		return f.driver.wrap("close", f.path, ErrClosed)
	}
	return f.driver.wrap("close", f.path, f.inner.Close())
}

// checkedWriter checks that the writer has not ended.
type checkedWriter struct {
	driver *checked
	path   string
	inner  Writer
	ended  atomic.Bool
}

var (
	_ Writer        = (*checkedWriter)(nil)
	_ HeldCommitter = (*checkedWriter)(nil)
)

// checkWriter wraps w and keeps it a RandomWriter if it is one.
func checkWriter(c *checked, path string, w Writer) Writer {
	if random, ok := w.(RandomWriter); ok {
		return &checkedRandomWriter{
			checkedWriter: checkedWriter{driver: c, path: path, inner: w},
			random:        random,
		}
	}
	return &checkedWriter{driver: c, path: path, inner: w}
}

func (w *checkedWriter) Write(p []byte) (int, error) {
	if w.ended.Load() {
		return 0, w.wrap("write", ErrClosed)
	}
	n, err := w.inner.Write(p)
	return n, w.wrap("write", err)
}

func (w *checkedWriter) Size() int64 { return w.inner.Size() }

func (w *checkedWriter) Close() error {
	if w.ended.Swap(true) {
		return w.wrap("close", ErrClosed)
	}
	return w.wrap("close", w.inner.Close())
}

// Cancel goes on under a context that has ended: cleaning up is what a
// cancelled caller does next.
func (w *checkedWriter) Cancel(ctx context.Context) error {
	if w.ended.Swap(true) {
		return w.wrap("cancel", ErrClosed)
	}
	return w.wrap("cancel", w.inner.Cancel(context.WithoutCancel(ctx)))
}

func (w *checkedWriter) Commit(ctx context.Context) error {
	return w.commit(ctx, func() error { return w.inner.Commit(ctx) })
}

func (w *checkedWriter) CommitHeld(ctx context.Context) (release func() error, err error) {
	err = w.commit(ctx, func() (err error) {
		release, err = CommitHeld(ctx, w.inner)
		return err
	})
	return release, err
}

func (w *checkedWriter) commit(ctx context.Context, do func() error) error {
	if w.ended.Load() {
		return w.wrap("commit", ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return w.wrap("commit", err)
	}
	if err := do(); err != nil {
		return w.wrap("commit", err)
	}
	w.ended.Store(true)
	return nil
}

func (w *checkedWriter) wrap(op string, err error) error {
	return w.driver.wrap(op, w.path, err)
}

// checkedRandomWriter is a checkedWriter that checks offsets too.
type checkedRandomWriter struct {
	checkedWriter
	random RandomWriter
}

var _ RandomWriter = (*checkedRandomWriter)(nil)

func (w *checkedRandomWriter) WriteAt(p []byte, offset int64) (int, error) {
	if err := w.check("writeat", offset); err != nil {
		return 0, err
	}
	n, err := w.random.WriteAt(p, offset)
	return n, w.wrap("writeat", err)
}

func (w *checkedRandomWriter) ReadAt(p []byte, offset int64) (int, error) {
	if err := w.check("readat", offset); err != nil {
		return 0, err
	}
	n, err := w.random.ReadAt(p, offset)
	return n, w.wrap("readat", err)
}

func (w *checkedRandomWriter) Truncate(size int64) error {
	if err := w.check("truncate", size); err != nil {
		return err
	}
	return w.wrap("truncate", w.random.Truncate(size))
}

func (w *checkedRandomWriter) Sync() error {
	if err := w.check("sync", 0); err != nil {
		return err
	}
	return w.wrap("sync", w.random.Sync())
}

func (w *checkedRandomWriter) check(op string, offset int64) error {
	switch {
	case w.ended.Load():
		return w.wrap(op, ErrClosed)
	case offset < 0:
		return w.wrap(op, ErrInvalidOffset)
	}
	return nil
}
