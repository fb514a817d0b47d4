package storage_test

import (
	"context"
	"io"
	"sync/atomic"

	"registryfs/driver"
)

// tap is a driver that lets a test watch another, and hold it up. Every hook
// may be nil.
type tap struct {
	driver.Driver

	opening  func(path string)        // before Reader, OpenAt and GetFile
	reading  func(path string)        // before each ReadAt
	read     func(path string, n int) // after it, and after each Read
	closed   func(path string)        // after a File is closed
	changing func(op, path string)    // before each change
	changed  func(op, path string)    // after it
	stat     func(info *driver.FileInfo)
}

var (
	_ driver.AtOpener   = (*tap)(nil)
	_ driver.FileGetter = (*tap)(nil)
	_ driver.FilePutter = (*tap)(nil)
	_ driver.DirMover   = (*tap)(nil)
	_ driver.DirMaker   = (*tap)(nil)
)

func (t *tap) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	call(t.opening, path)
	r, err := t.Driver.Reader(ctx, path, offset)
	if err != nil {
		return nil, err
	}
	return &tappedReader{r, t, path}, nil
}

func (t *tap) OpenAt(ctx context.Context, path string) (driver.File, error) {
	call(t.opening, path)
	f, err := driver.OpenAt(ctx, t.Driver, path)
	if err != nil {
		return nil, err
	}
	return &tappedFile{f, t, path}, nil
}

func (t *tap) GetFile(ctx context.Context, path string, limit int64) ([]byte, driver.FileInfo, error) {
	call(t.opening, path)
	content, info, err := driver.GetFile(ctx, t.Driver, path, limit)
	if err != nil {
		return nil, info, err
	}
	if t.stat != nil {
		t.stat(&info)
	}
	call(t.reading, path)
	if t.read != nil {
		t.read(path, len(content))
	}
	return content, info, nil
}

func (t *tap) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	info, err := t.Driver.Stat(ctx, path)
	if t.stat != nil {
		t.stat(&info)
	}
	return info, err
}

func (t *tap) PutContent(ctx context.Context, path string, content []byte) error {
	return t.change("put", path, func() error { return t.Driver.PutContent(ctx, path, content) })
}

func (t *tap) PutFile(ctx context.Context, path string, content []byte) (w driver.Written, err error) {
	err = t.change("put", path, func() error {
		w, err = driver.PutFile(ctx, t.Driver, path, content)
		return err
	})
	return w, err
}

func (t *tap) Writer(ctx context.Context, path string, append bool) (w driver.Writer, err error) {
	err = t.change("write", path, func() error {
		w, err = t.Driver.Writer(ctx, path, append)
		return err
	})
	return w, err
}

func (t *tap) Move(ctx context.Context, src, dst string) error {
	return t.change("move", dst, func() error { return t.Driver.Move(ctx, src, dst) })
}

func (t *tap) MoveDir(ctx context.Context, src, dst string) error {
	return t.change("movedir", dst, func() error { return driver.MoveDir(ctx, t.Driver, src, dst) })
}

func (t *tap) MakeDir(ctx context.Context, path string) error {
	return t.change("makedir", path, func() error { return driver.MakeDir(ctx, t.Driver, path) })
}

func (t *tap) Delete(ctx context.Context, path string) error {
	return t.change("delete", path, func() error { return t.Driver.Delete(ctx, path) })
}

func (t *tap) change(op, path string, fn func() error) error {
	if t.changing != nil {
		t.changing(op, path)
	}
	err := fn()
	if t.changed != nil {
		t.changed(op, path)
	}
	return err
}

type tappedFile struct {
	driver.File
	tap  *tap
	path string
}

func (f *tappedFile) ReadAt(p []byte, off int64) (int, error) {
	call(f.tap.reading, f.path)
	n, err := f.File.ReadAt(p, off)
	if f.tap.read != nil {
		f.tap.read(f.path, n)
	}
	return n, err
}

func (f *tappedFile) Close() error {
	err := f.File.Close()
	call(f.tap.closed, f.path)
	return err
}

// tappedReader is a stream; only what comes of it is watched.
type tappedReader struct {
	io.ReadCloser
	tap  *tap
	path string
}

func (r *tappedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if r.tap.read != nil {
		r.tap.read(r.path, n)
	}
	return n, err
}

func call(hook func(string), path string) {
	if hook != nil {
		hook(path)
	}
}

// counter counts what goes through a tap for one path.
type counter struct {
	path  string
	bytes atomic.Int64
	opens atomic.Int64
}

// count watches a path through t.
func (t *tap) count(path string) *counter {
	c := &counter{path: path}
	t.opening = func(path string) {
		if path == c.path {
			c.opens.Add(1)
		}
	}
	t.read = func(path string, n int) {
		if path == c.path {
			c.bytes.Add(int64(n))
		}
	}
	return c
}
