package drivertest

import (
	"context"
	"io"

	"registryfs/driver"
)

// Hooks lets a test put trouble between a driver and who uses it. Calls are
// written "put /path", "move /src /dst", and named get, put, reader, read,
// writer, write, stat, list, move, movenew, movedir, makedir, removedir, delete,
// sync, openat, readat, fstat, and, of a writer, fsync, truncate, close, cancel
// and commit. Hooks may be called concurrently.
type Hooks struct {
	// Before is called before each call. An error takes its place, once half
	// of what was to be read or written has been.
	Before func(ctx context.Context, call string) error
	// Read is called with what get, read and readat have read, which it may
	// change, and returns what they do; nil changes nothing.
	Read func(call string, p []byte, err error) ([]byte, error)
}

// Wrap returns d with the hooks. Whatever else d can do cannot be seen.
func (h Hooks) Wrap(d driver.Driver) driver.Driver {
	if h.Read == nil {
		h.Read = func(_ string, p []byte, err error) ([]byte, error) { return p, err }
	}
	return &hooked{d, h}
}

type hooked struct {
	driver.Driver
	Hooks
}

var (
	_ driver.AtOpener   = (*hooked)(nil)
	_ driver.FilePutter = (*hooked)(nil)
	_ driver.NewMover   = (*hooked)(nil)
	_ driver.DirMover   = (*hooked)(nil)
	_ driver.DirMaker   = (*hooked)(nil)
	_ driver.DirRemover = (*hooked)(nil)
	_ driver.Syncer     = (*hooked)(nil)
	_ driver.Spacer     = (*hooked)(nil)
)

func (h *hooked) GetContent(ctx context.Context, path string) ([]byte, error) {
	call := "get " + path
	if err := h.Before(ctx, call); err != nil {
		return nil, err
	}
	content, err := h.Driver.GetContent(ctx, path)
	return h.Read(call, content, err)
}

func (h *hooked) PutContent(ctx context.Context, path string, content []byte) error {
	if err := h.Before(ctx, "put "+path); err != nil {
		return err
	}
	return h.Driver.PutContent(ctx, path, content)
}

func (h *hooked) PutFile(ctx context.Context, path string, content []byte) (driver.Written, error) {
	if err := h.Before(ctx, "put "+path); err != nil {
		return driver.Written{}, err
	}
	return driver.PutFile(ctx, h.Driver, path, content)
}

func (h *hooked) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if err := h.Before(ctx, "reader "+path); err != nil {
		return nil, err
	}
	r, err := h.Driver.Reader(ctx, path, offset)
	if err != nil {
		return nil, err
	}
	return &hookedReader{r, h, ctx, "read " + path}, nil
}

func (h *hooked) Writer(ctx context.Context, path string, append bool) (driver.Writer, error) {
	if err := h.Before(ctx, "writer "+path); err != nil {
		return nil, err
	}
	w, err := h.Driver.Writer(ctx, path, append)
	if err != nil {
		return nil, err
	}
	if random, ok := w.(driver.RandomWriter); ok {
		return &hookedRandomWriter{&hookedWriter{w, h, ctx, path}, random}, nil
	}
	return &hookedWriter{w, h, ctx, path}, nil
}

func (h *hooked) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if err := h.Before(ctx, "stat "+path); err != nil {
		return driver.FileInfo{}, err
	}
	return h.Driver.Stat(ctx, path)
}

func (h *hooked) List(ctx context.Context, path string) ([]string, error) {
	if err := h.Before(ctx, "list "+path); err != nil {
		return nil, err
	}
	return h.Driver.List(ctx, path)
}

func (h *hooked) Move(ctx context.Context, src, dst string) error {
	if err := h.Before(ctx, "move "+src+" "+dst); err != nil {
		return err
	}
	return h.Driver.Move(ctx, src, dst)
}

func (h *hooked) MoveNew(ctx context.Context, src, dst string) error {
	if err := h.Before(ctx, "movenew "+src+" "+dst); err != nil {
		return err
	}
	return driver.MoveNew(ctx, h.Driver, src, dst)
}

func (h *hooked) MoveDir(ctx context.Context, src, dst string) error {
	if err := h.Before(ctx, "movedir "+src+" "+dst); err != nil {
		return err
	}
	return driver.MoveDir(ctx, h.Driver, src, dst)
}

func (h *hooked) MakeDir(ctx context.Context, path string) error {
	if err := h.Before(ctx, "makedir "+path); err != nil {
		return err
	}
	return driver.MakeDir(ctx, h.Driver, path)
}

func (h *hooked) RemoveDir(ctx context.Context, path string) error {
	if err := h.Before(ctx, "removedir "+path); err != nil {
		return err
	}
	return driver.RemoveDir(ctx, h.Driver, path)
}

func (h *hooked) Delete(ctx context.Context, path string) error {
	if err := h.Before(ctx, "delete "+path); err != nil {
		return err
	}
	return h.Driver.Delete(ctx, path)
}

func (h *hooked) Sync(ctx context.Context, path string) error {
	if err := h.Before(ctx, "sync "+path); err != nil {
		return err
	}
	return driver.Sync(ctx, h.Driver, path)
}

func (h *hooked) Space(ctx context.Context) (driver.Space, error) {
	return driver.SpaceOf(ctx, h.Driver)
}

func (h *hooked) OpenAt(ctx context.Context, path string) (driver.File, error) {
	if err := h.Before(ctx, "openat "+path); err != nil {
		return nil, err
	}
	f, err := driver.OpenAt(ctx, h.Driver, path)
	if err != nil {
		return nil, err
	}
	return &hookedFile{f, h, ctx, path}, nil
}

// The context of these is that under which they were opened.

type hookedReader struct {
	io.ReadCloser
	h    *hooked
	ctx  context.Context
	call string
}

func (r *hookedReader) Read(p []byte) (int, error) {
	if err := r.h.Before(r.ctx, r.call); err != nil {
		n, _ := r.ReadCloser.Read(p[:len(p)/2])
		return n, err
	}
	n, err := r.ReadCloser.Read(p)
	got, err := r.h.Read(r.call, p[:n], err)
	return len(got), err
}

type hookedFile struct {
	driver.File
	h    *hooked
	ctx  context.Context
	path string
}

func (f *hookedFile) ReadAt(p []byte, offset int64) (int, error) {
	call := "readat " + f.path
	if err := f.h.Before(f.ctx, call); err != nil {
		n, _ := f.File.ReadAt(p[:len(p)/2], offset)
		return n, err
	}
	n, err := f.File.ReadAt(p, offset)
	got, err := f.h.Read(call, p[:n], err)
	return len(got), err
}

func (f *hookedFile) Stat() (driver.FileInfo, error) {
	if err := f.h.Before(f.ctx, "fstat "+f.path); err != nil {
		return driver.FileInfo{}, err
	}
	return f.File.Stat()
}

type hookedWriter struct {
	driver.Writer
	h    *hooked
	ctx  context.Context
	path string
}

func (w *hookedWriter) before(op string) error { return w.h.Before(w.ctx, op+" "+w.path) }

func (w *hookedWriter) Write(p []byte) (int, error) {
	if err := w.before("write"); err != nil {
		n, _ := w.Writer.Write(p[:len(p)/2])
		return n, err
	}
	return w.Writer.Write(p)
}

func (w *hookedWriter) Close() error {
	if err := w.before("close"); err != nil {
		_ = w.Writer.Close() // it is to go on holding nothing
		return err
	}
	return w.Writer.Close()
}

func (w *hookedWriter) Cancel(ctx context.Context) error {
	if err := w.h.Before(ctx, "cancel "+w.path); err != nil {
		_ = w.Writer.Close()
		return err
	}
	return w.Writer.Cancel(ctx)
}

func (w *hookedWriter) Commit(ctx context.Context) error {
	if err := w.h.Before(ctx, "commit "+w.path); err != nil {
		return err
	}
	return w.Writer.Commit(ctx)
}

func (w *hookedWriter) CommitHeld(ctx context.Context) (release func() error, err error) {
	if err := w.h.Before(ctx, "commit "+w.path); err != nil {
		return nil, err
	}
	return driver.CommitHeld(ctx, w.Writer)
}

type hookedRandomWriter struct {
	*hookedWriter
	random driver.RandomWriter
}

var _ driver.RandomWriter = (*hookedRandomWriter)(nil)

func (w *hookedRandomWriter) WriteAt(p []byte, offset int64) (int, error) {
	if err := w.before("write"); err != nil {
		n, _ := w.random.WriteAt(p[:len(p)/2], offset)
		return n, err
	}
	return w.random.WriteAt(p, offset)
}

func (w *hookedRandomWriter) ReadAt(p []byte, offset int64) (int, error) {
	return w.random.ReadAt(p, offset)
}

func (w *hookedRandomWriter) Truncate(size int64) error {
	if err := w.before("truncate"); err != nil {
		return err
	}
	return w.random.Truncate(size)
}

func (w *hookedRandomWriter) Sync() error {
	if err := w.before("fsync"); err != nil {
		return err
	}
	return w.random.Sync()
}
