package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"registryfs/digest"
	"registryfs/driver"
)

// reader is a verified blob open for reading. What it reads it checks against
// the chunks of the content. Where these are not known it trusts a read only
// when the file is, after the read, the version that was verified.
type reader struct {
	descriptor Descriptor
	names      []digest.Digest // all that the content must match
	file       driver.File
	version    atomic.Pointer[string]
	verify     *verifier
}

var _ Blob = (*reader)(nil)

func (r *reader) Descriptor() Descriptor { return r.descriptor }

func (r *reader) Close() error { return r.file.Close() }

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if chunks := r.verify.chunks(r.names[0]); chunks != nil && off >= 0 {
		n, err := r.readChunks(chunks, p, off)
		if err != nil && err != io.EOF {
			clear(p)
			n = 0
		}
		return n, err
	}
	return r.readVersion(p, off)
}

// readChunks reads whole chunks, and hands out what is asked for of those that
// check.
func (r *reader) readChunks(chunks *digest.Chunks, p []byte, off int64) (int, error) {
	for n := 0; ; {
		switch {
		case n == len(p):
			return n, nil
		case off >= chunks.Size():
			return n, io.EOF
		}
		begin := off - off%chunks.Chunk()
		size := min(chunks.Chunk(), chunks.Size()-begin)
		if begin == off && int64(len(p)-n) >= size {
			if err := r.readChunk(chunks, p[n:n+int(size)], begin); err != nil {
				return 0, err
			}
			n, off = n+int(size), off+size
			continue
		}
		buffer := pieces.Get().(*[pieceSize]byte)
		chunk := buffer[:min(size, pieceSize)]
		if size > pieceSize {
			chunk = make([]byte, size)
		}
		err := r.readChunk(chunks, chunk, begin)
		copied := copy(p[n:], chunk[off-begin:])
		pieces.Put(buffer)
		if err != nil {
			return 0, err
		}
		n, off = n+copied, off+int64(copied)
	}
}

// readChunk reads the chunk at off.
func (r *reader) readChunk(chunks *digest.Chunks, chunk []byte, off int64) error {
	n, err := r.file.ReadAt(chunk, off)
	switch {
	case n < len(chunk) && err != nil && !errors.Is(err, io.EOF):
		return err
	case n < len(chunk) || !chunks.Check(chunk, off):
		info, err := r.file.Stat()
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: %s has changed at %d", ErrCorrupt, info.Path, off)
	}
	return nil
}

// readVersion reads the file if it is the version that was verified.
func (r *reader) readVersion(p []byte, off int64) (int, error) {
	n, readErr := r.file.ReadAt(p, off)
	info, err := r.file.Stat()
	if err != nil {
		clear(p)
		return 0, err
	}
	if info.Version == "" || info.Version != *r.version.Load() {
		clear(p)
		return r.readChanged(p, off, info)
	}
	return n, readErr
}

// readChanged serves a read of a file that is not the version it was: renamed
// (which is harmless), or tampered with. It verifies the file again and reads
// once more.
func (r *reader) readChanged(p []byte, off int64, info driver.FileInfo) (int, error) {
	for _, d := range r.names {
		if _, err := hashFile(context.Background(), d, r.file, info, nil); err != nil {
			return 0, err
		}
	}
	n, readErr := r.file.ReadAt(p, off)
	after, err := r.file.Stat()
	if err == nil && after.Version != info.Version {
		err = fmt.Errorf("%w: %s changes while it is read", ErrCorrupt, info.Path)
	}
	if err != nil {
		clear(p)
		return 0, err
	}
	r.version.Store(&info.Version)
	return n, readErr
}
