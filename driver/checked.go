package driver

import (
	"context"
	"errors"
	"io"
	"strings"
)

// Checked wraps a driver so that it is only called with valid paths and
// offsets, under a context that has not ended, and that its errors are
// [*PathError].
//
// The result offers every optional interface of this package: by d's own
// method, or by the fallback function. Space and Lock are
// [errors.ErrUnsupported] where d is no [Spacer] or no [Locker]. A Writer is a [RandomWriter] exactly where d's is one. Calls
// of a Writer or a File after its end do not reach d's.
func Checked(d Driver) Driver {
	if c, ok := d.(*checked); ok {
		return c
	}
	return &checked{inner: d}
}

type checked struct {
	inner Driver
}

var (
	_ Driver     = (*checked)(nil)
	_ AtOpener   = (*checked)(nil)
	_ FilePutter = (*checked)(nil)
	_ Walker     = (*checked)(nil)
	_ NewMover   = (*checked)(nil)
	_ DirMover   = (*checked)(nil)
	_ DirMaker   = (*checked)(nil)
	_ DirRemover = (*checked)(nil)
	_ Syncer     = (*checked)(nil)
	_ Unsyncer   = (*checked)(nil)
	_ Locker     = (*checked)(nil)
	_ Spacer     = (*checked)(nil)
)

func (c *checked) Name() string { return c.inner.Name() }

func (c *checked) GetContent(ctx context.Context, path string) ([]byte, error) {
	if err := c.check(ctx, "getcontent", path); err != nil {
		return nil, err
	}
	content, err := c.inner.GetContent(ctx, path)
	return content, c.wrap("getcontent", path, err)
}

func (c *checked) PutContent(ctx context.Context, path string, content []byte) error {
	if err := c.check(ctx, "putcontent", path); err != nil {
		return err
	}
	if len(content) > MaxContent {
		return c.wrap("putcontent", path, ErrTooLarge)
	}
	return c.wrap("putcontent", path, c.inner.PutContent(ctx, path, content))
}

func (c *checked) PutFile(ctx context.Context, path string, content []byte) (Written, error) {
	if err := c.check(ctx, "putfile", path); err != nil {
		return Written{}, err
	}
	if len(content) > MaxContent {
		return Written{}, c.wrap("putfile", path, ErrTooLarge)
	}
	written, err := PutFile(ctx, c.inner, path, content)
	return written, c.wrap("putfile", path, err)
}

func (c *checked) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if err := c.check(ctx, "reader", path); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, c.wrap("reader", path, ErrInvalidOffset)
	}
	r, err := c.inner.Reader(ctx, path, offset)
	if err != nil {
		return nil, c.wrap("reader", path, err)
	}
	return r, nil
}

func (c *checked) Writer(ctx context.Context, path string, append bool) (Writer, error) {
	if err := c.check(ctx, "writer", path); err != nil {
		return nil, err
	}
	w, err := c.inner.Writer(ctx, path, append)
	if err != nil {
		return nil, c.wrap("writer", path, err)
	}
	return checkWriter(c, path, w), nil
}

func (c *checked) Stat(ctx context.Context, path string) (FileInfo, error) {
	if err := c.checkDir(ctx, "stat", path); err != nil {
		return FileInfo{}, err
	}
	info, err := c.inner.Stat(ctx, path)
	return info, c.wrap("stat", path, err)
}

func (c *checked) List(ctx context.Context, path string) ([]string, error) {
	if err := c.checkDir(ctx, "list", path); err != nil {
		return nil, err
	}
	children, err := c.inner.List(ctx, path)
	return children, c.wrap("list", path, err)
}

func (c *checked) Move(ctx context.Context, src, dst string) error {
	if err := c.check(ctx, "move", src, dst); err != nil {
		return err
	}
	return c.wrap("move", src, c.inner.Move(ctx, src, dst))
}

func (c *checked) MoveNew(ctx context.Context, src, dst string) error {
	if err := c.check(ctx, "movenew", src, dst); err != nil {
		return err
	}
	return c.wrap("movenew", src, MoveNew(ctx, c.inner, src, dst))
}

func (c *checked) Delete(ctx context.Context, path string) error {
	if err := c.check(ctx, "delete", path); err != nil {
		return err
	}
	return c.wrap("delete", path, c.inner.Delete(ctx, path))
}

func (c *checked) OpenAt(ctx context.Context, path string) (File, error) {
	if err := c.check(ctx, "openat", path); err != nil {
		return nil, err
	}
	f, err := OpenAt(ctx, c.inner, path)
	if err != nil {
		return nil, c.wrap("openat", path, err)
	}
	return &checkedFile{driver: c, path: path, inner: f}, nil
}

func (c *checked) GetFile(ctx context.Context, path string, limit int64) ([]byte, FileInfo, error) {
	if err := c.check(ctx, "getfile", path); err != nil {
		return nil, FileInfo{}, err
	}
	content, info, err := GetFile(ctx, c.inner, path, limit)
	return content, info, c.wrap("getfile", path, err)
}

// Walk returns the errors of fn as they are.
func (c *checked) Walk(ctx context.Context, root string, fn WalkFunc) error {
	if err := c.checkDir(ctx, "walk", root); err != nil {
		return err
	}
	if w, ok := c.inner.(Walker); ok {
		return w.Walk(ctx, root, fn)
	}
	return walk(ctx, c, root, fn)
}

func (c *checked) MoveDir(ctx context.Context, src, dst string) error {
	if err := c.check(ctx, "movedir", src, dst); err != nil {
		return err
	}
	if strings.HasPrefix(dst, src+"/") {
		return c.wrap("movedir", dst, ErrInvalidPath)
	}
	return c.wrap("movedir", src, MoveDir(ctx, c.inner, src, dst))
}

func (c *checked) MakeDir(ctx context.Context, path string) error {
	if err := c.check(ctx, "makedir", path); err != nil {
		return err
	}
	return c.wrap("makedir", path, MakeDir(ctx, c.inner, path))
}

func (c *checked) RemoveDir(ctx context.Context, path string) error {
	if err := c.check(ctx, "removedir", path); err != nil {
		return err
	}
	return c.wrap("removedir", path, RemoveDir(ctx, c.inner, path))
}

func (c *checked) Sync(ctx context.Context, path string) error {
	if err := c.check(ctx, "sync", path); err != nil {
		return err
	}
	return c.wrap("sync", path, Sync(ctx, c.inner, path))
}

func (c *checked) Unsynced() Driver { return Checked(Unsynced(c.inner)) }

func (c *checked) Lock(ctx context.Context, path string, shared bool) (io.Closer, error) {
	if err := c.check(ctx, "lock", path); err != nil {
		return nil, err
	}
	held, err := Lock(ctx, c.inner, path, shared)
	if err != nil {
		return nil, c.wrap("lock", path, err)
	}
	return held, nil
}

func (c *checked) Space(ctx context.Context) (Space, error) {
	space, err := SpaceOf(ctx, c.inner)
	return space, c.wrap("space", "/", err)
}

func (c *checked) check(ctx context.Context, op string, paths ...string) error {
	for _, path := range paths {
		if !ValidPath(path) {
			return c.wrap(op, path, ErrInvalidPath)
		}
	}
	return c.wrap(op, paths[0], ctx.Err())
}

// checkDir is check for what also goes with the root.
func (c *checked) checkDir(ctx context.Context, op, path string) error {
	if path == "/" {
		return c.wrap(op, path, ctx.Err())
	}
	return c.check(ctx, op, path)
}

// wrap makes err a PathError unless it is one, or is the io.EOF that callers
// compare with ==.
func (c *checked) wrap(op, path string, err error) error {
	var known *PathError
	if err == nil || err == io.EOF || errors.As(err, &known) {
		return err
	}
	return &PathError{Driver: c.Name(), Op: op, Path: path, Err: err}
}
