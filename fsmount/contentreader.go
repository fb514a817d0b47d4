package fsmount

import (
	"context"
	"io"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/fsmount/loop"
)

// contentReader is stored content open for reading: a blob, which is verified,
// or an upload, which cannot be.
type contentReader struct {
	fs      *fileSystem
	path    string
	content openContent
	closed  func() // is called at the end; may be nil
}

type openContent interface {
	io.ReaderAt
	io.Closer
}

var (
	_ fusefs.HandleReader   = (*contentReader)(nil)
	_ fusefs.HandleReleaser = (*contentReader)(nil)
	_ loop.Quick            = (*contentReader)(nil)
)

// openReader opens content for reading.
func (f *fileSystem) openReader(path string, open func() (openContent, error)) (*contentReader, error) {
	if err := f.files.take(readerFiles); err != nil {
		return nil, err
	}
	content, err := open()
	if err != nil {
		f.files.give(readerFiles)
		return nil, err
	}
	return &contentReader{fs: f, path: path, content: content}, nil
}

// IsQuick is true: what is read has been verified, and is mostly in memory.
func (h *contentReader) IsQuick(req fuse.Request) bool { return true }

func (h *contentReader) Read(ctx context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	return h.fs.read(ctx, req, resp, h.path, h)
}

func (h *contentReader) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	return h.content.ReadAt(p, off)
}

func (h *contentReader) Release(ctx context.Context, req *fuse.ReleaseRequest) error {
	defer h.fs.files.give(readerFiles)
	if h.closed != nil {
		defer h.closed()
	}
	return h.content.Close()
}
