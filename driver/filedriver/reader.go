package filedriver

import (
	"context"
	"io"
	"os"

	"registryfs/driver"
)

func (s *store) Reader(_ context.Context, path string, offset int64) (io.ReadCloser, error) {
	f, err := s.openRead(path)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, s.fault(err)
	}
	return f, nil
}

func (s *store) OpenAt(_ context.Context, path string) (driver.File, error) {
	f, err := s.openRead(path)
	if err != nil {
		return nil, err
	}
	return &file{File: f, store: s, path: path}, nil
}

// file is a regular file open for reading.
type file struct {
	*os.File
	store *store
	path  string
}

var _ driver.File = (*file)(nil)

func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, offset)
	if err == io.EOF {
		return n, err
	}
	return n, f.store.fault(err)
}

func (f *file) Stat() (driver.FileInfo, error) {
	st, err := fstat(f.File)
	if err != nil {
		return driver.FileInfo{}, f.store.fault(err)
	}
	return fileInfo(f.path, st), nil
}
