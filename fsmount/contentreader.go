package fsmount

import (
	"context"
	"io"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// contentReader is stored content open for reading: a blob, which is verified,
// or an upload, which cannot be.
type contentReader struct {
	fs      *fileSystem
	path    string
	content interface {
		io.ReaderAt
		io.Closer
	}
}

var (
	_ fusefs.HandleReader   = (*contentReader)(nil)
	_ fusefs.HandleReleaser = (*contentReader)(nil)
)

func (h *contentReader) Read(ctx context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	return h.fs.read(ctx, req, resp, h.path, h)
}

func (h *contentReader) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	return h.content.ReadAt(p, off)
}

func (h *contentReader) Release(ctx context.Context, req *fuse.ReleaseRequest) error {
	return h.content.Close()
}
