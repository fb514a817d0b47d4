package driver

import (
	"context"
	"errors"
	"io"
)

// OpenAt opens a file for reading at offsets. It uses d's own [AtOpener] where
// there is one. Otherwise every ReadAt is a call of d's Reader, which ctx does
// not cancel, and the size is that of the moment of opening.
func OpenAt(ctx context.Context, d Driver, path string) (File, error) {
	if o, ok := d.(AtOpener); ok {
		return o.OpenAt(ctx, path)
	}
	info, err := d.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	if info.IsDir {
		return nil, ErrInvalidPath
	}
	return &streamFile{driver: d, info: info}, nil
}

// streamFile reads at offsets by opening a stream for each read.
type streamFile struct {
	driver Driver
	info   FileInfo
}

var _ File = (*streamFile)(nil)

func (f *streamFile) ReadAt(p []byte, offset int64) (int, error) {
	left := f.info.Size - offset
	if left <= 0 {
		return 0, io.EOF
	}
	short := int64(len(p)) > left
	if short {
		p = p[:left]
	}
	r, err := f.driver.Reader(context.Background(), f.info.Path, offset)
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r, p)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	switch {
	case errors.Is(err, io.EOF): // the file has become shorter than it was
		return n, io.ErrUnexpectedEOF
	case err == nil && short:
		return n, io.EOF
	}
	return n, err
}

func (f *streamFile) Stat() (FileInfo, error) { return f.info, nil }

func (f *streamFile) Close() error { return nil }
