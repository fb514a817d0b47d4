package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"registryfs/digest"
	"registryfs/driver"
)

const (
	// pieceSize is the size in bytes of the pieces in which content is read to
	// be verified.
	pieceSize = 512 << 10
	// piecesAhead is how many pieces reading may be ahead of hashing.
	piecesAhead = 8
)

// pieces are buffers of pieceSize bytes.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// hashFile compares the content of f with d. The chunks are those of good
// content of a canonical digest.
func hashFile(ctx context.Context, d digest.Digest, f io.ReaderAt, info driver.FileInfo, o Observer) (*digest.Chunks, error) {
	var got digest.Digest
	var chunks *digest.Chunks
	var err error
	if digest.IsCanonical(d) {
		c := digest.NewChunker(info.Size)
		err = readPieces(ctx, f, info.Size, c, o)
		got, chunks = c.Finish()
	} else {
		got, err = hashContent(ctx, d.Algorithm(), f, info.Size)
	}
	switch {
	case isNoArchive(err):
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, info.Path, err)
	case err != nil:
		return nil, err
	case got != d:
		return nil, fmt.Errorf("%w: %s holds %s", ErrCorrupt, info.Path, got)
	}
	return chunks, nil
}

// isNoArchive reports whether a tarsum could not be computed because content is
// nothing that has one.
func isNoArchive(err error) bool {
	return errors.Is(err, digest.ErrArchive) || errors.Is(err, digest.ErrArchiveTooLarge)
}

// piece is a part of content that is being read.
type piece struct {
	buffer *[pieceSize]byte
	n      int
}

func (p piece) bytes() []byte { return p.buffer[:p.n] }

// readPieces writes the first size bytes of r to w. Meanwhile it reads on and
// shows o, which may be nil, what it has read: that takes as long as hashing.
func readPieces(ctx context.Context, r io.ReaderAt, size int64, w io.Writer, o Observer) error {
	read := make(chan piece, piecesAhead)
	var written sync.WaitGroup
	defer written.Wait()
	defer close(read)
	written.Go(func() {
		for p := range read {
			_, _ = w.Write(p.bytes())
			pieces.Put(p.buffer)
		}
	})
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := piece{buffer: pieces.Get().(*[pieceSize]byte)}
		n, err := r.ReadAt(p.buffer[:min(pieceSize, size-off)], off)
		if n == 0 {
			pieces.Put(p.buffer)
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("read %d of %d bytes: %w", off, size, io.ErrUnexpectedEOF)
			}
			return err
		}
		p.n = n
		if o != nil {
			o.Verifying(p.bytes(), off)
		}
		off += int64(n)
		read <- p
	}
	return nil
}

// hashContent is the digest of the first size bytes of r. Reading fewer is an
// error.
func hashContent(ctx context.Context, alg digest.Algorithm, r io.ReaderAt, size int64) (digest.Digest, error) {
	section := io.NewSectionReader(r, 0, size)
	d, err := digest.Of(alg, bufio.NewReaderSize(&contextReader{ctx, section}, int(min(pieceSize, size+1))))
	if err != nil {
		return "", err
	}
	if n, _ := section.Seek(0, io.SeekCurrent); n != size {
		return "", fmt.Errorf("read %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	return d, nil
}

// contextReader ends reading when a context does; it lives for one call. It
// hides the WriterTo of what it reads, which would ignore the buffer.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
