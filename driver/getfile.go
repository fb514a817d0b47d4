package driver

import (
	"context"
	"errors"
	"io"
)

// FileGetter is implemented by drivers that read a small file in fewer steps
// than by OpenAt.
type FileGetter interface {
	// GetFile returns the whole of a file of at most limit bytes, and
	// describes it. A larger file is ErrTooLarge.
	GetFile(ctx context.Context, path string, limit int64) ([]byte, FileInfo, error)
}

// GetFile returns the whole of a small file, in a slice of the caller's, and
// describes the very file that was read. It uses d's own [FileGetter] where
// there is one, otherwise [OpenAt]. A file of more than limit bytes is
// [ErrTooLarge].
func GetFile(ctx context.Context, d Driver, path string, limit int64) ([]byte, FileInfo, error) {
	if g, ok := d.(FileGetter); ok {
		return g.GetFile(ctx, path, limit)
	}
	f, err := OpenAt(ctx, d, path)
	if err != nil {
		return nil, FileInfo{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, FileInfo{}, err
	}
	if info.Size > limit {
		return nil, FileInfo{}, ErrTooLarge
	}
	content := make([]byte, info.Size)
	n, err := f.ReadAt(content, 0)
	if n == len(content) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // cut while it was read
	}
	return content[:n], info, err
}
