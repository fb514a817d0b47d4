package memdriver

import (
	"io"

	"registryfs/driver"
)

// reader reads content from an offset on.
type reader struct {
	content *content
	offset  int64
	closed  bool
}

var _ io.ReadCloser = (*reader)(nil)

func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, driver.ErrClosed
	}
	n, err := r.content.ReadAt(p, r.offset)
	r.offset += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (r *reader) Close() error {
	if !r.closed {
		r.closed = true
		r.content.release()
	}
	return nil
}

// file is content open under the path that named it.
type file struct {
	content *content
	path    string
}

var _ driver.File = (*file)(nil)

func (f *file) ReadAt(p []byte, offset int64) (int, error) { return f.content.ReadAt(p, offset) }

func (f *file) Stat() (driver.FileInfo, error) { return f.content.info(f.path), nil }

func (f *file) Close() error {
	f.content.release()
	return nil
}
