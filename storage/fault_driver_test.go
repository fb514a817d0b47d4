package storage_test

import (
	"context"
	"io"

	"registryfs/driver"
)

// flaky is a driver that fails where trouble is, reading too.
type flaky struct {
	driver.Driver
	trouble *trouble
}

var (
	_ driver.AtOpener = (*flaky)(nil)
	_ driver.DirMover = (*flaky)(nil)
	_ driver.DirMaker = (*flaky)(nil)
)

func (f *flaky) GetContent(ctx context.Context, path string) ([]byte, error) {
	if err := f.trouble.meet("get " + path); err != nil {
		return nil, err
	}
	return f.Driver.GetContent(ctx, path)
}

func (f *flaky) PutContent(ctx context.Context, path string, content []byte) error {
	if err := f.trouble.meet("put " + path); err != nil {
		return err
	}
	return f.Driver.PutContent(ctx, path, content)
}

func (f *flaky) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if err := f.trouble.meet("reader " + path); err != nil {
		return nil, err
	}
	r, err := f.Driver.Reader(ctx, path, offset)
	if err != nil {
		return nil, err
	}
	return &flakyReader{r, f.trouble, path}, nil
}

func (f *flaky) Writer(ctx context.Context, path string, append bool) (driver.Writer, error) {
	if err := f.trouble.meet("writer " + path); err != nil {
		return nil, err
	}
	return f.Driver.Writer(ctx, path, append)
}

func (f *flaky) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if err := f.trouble.meet("stat " + path); err != nil {
		return driver.FileInfo{}, err
	}
	return f.Driver.Stat(ctx, path)
}

func (f *flaky) List(ctx context.Context, path string) ([]string, error) {
	if err := f.trouble.meet("list " + path); err != nil {
		return nil, err
	}
	return f.Driver.List(ctx, path)
}

func (f *flaky) Move(ctx context.Context, src, dst string) error {
	if err := f.trouble.meet("move " + src + " " + dst); err != nil {
		return err
	}
	return f.Driver.Move(ctx, src, dst)
}

func (f *flaky) Delete(ctx context.Context, path string) error {
	if err := f.trouble.meet("delete " + path); err != nil {
		return err
	}
	return f.Driver.Delete(ctx, path)
}

func (f *flaky) MoveDir(ctx context.Context, src, dst string) error {
	if err := f.trouble.meet("movedir " + src + " " + dst); err != nil {
		return err
	}
	return driver.MoveDir(ctx, f.Driver, src, dst)
}

func (f *flaky) MakeDir(ctx context.Context, path string) error {
	if err := f.trouble.meet("makedir " + path); err != nil {
		return err
	}
	return driver.MakeDir(ctx, f.Driver, path)
}

func (f *flaky) OpenAt(ctx context.Context, path string) (driver.File, error) {
	if err := f.trouble.meet("openat " + path); err != nil {
		return nil, err
	}
	file, err := driver.OpenAt(ctx, f.Driver, path)
	if err != nil {
		return nil, err
	}
	return &flakyFile{file, f.trouble, path}, nil
}

// flakyReader reads half before it fails.
type flakyReader struct {
	io.ReadCloser
	trouble *trouble
	path    string
}

func (r *flakyReader) Read(p []byte) (int, error) {
	if err := r.trouble.meet("read " + r.path); err != nil {
		n, _ := r.ReadCloser.Read(p[:len(p)/2])
		return n, err
	}
	return r.ReadCloser.Read(p)
}

// flakyFile reads half before it fails.
type flakyFile struct {
	driver.File
	trouble *trouble
	path    string
}

func (f *flakyFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.trouble.meet("readat " + f.path); err != nil {
		n, _ := f.File.ReadAt(p[:len(p)/2], offset)
		return n, err
	}
	return f.File.ReadAt(p, offset)
}

func (f *flakyFile) Stat() (driver.FileInfo, error) {
	if err := f.trouble.meet("fstat " + f.path); err != nil {
		return driver.FileInfo{}, err
	}
	return f.File.Stat()
}
