package storage

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"registryfs/digest"
	"registryfs/driver"
)

const (
	// followAfter is how many bytes of an upload are hashed by whoever writes
	// them, and how many must wait after that for a follower.
	followAfter = 1 << 20
	// followBuffer is the size in bytes of a follower's reads: what was
	// written a moment ago is still in the processor's cache.
	followBuffer = 128 << 10
)

// followBuffers are of followBuffer bytes.
var followBuffers = sync.Pool{New: func() any { return new([followBuffer]byte) }}

// runningDigest hashes the bytes of an upload as they come. The first are
// hashed by whoever writes; after that a follower reads them again from the
// file, so that hashing and writing go on at the same time without a copy in
// memory. What came in another order is hashed when the digest is asked for.
// Its methods must not be called concurrently.
type runningDigest struct {
	file     io.ReaderAt      // nil: what was written cannot be read before it is committed
	digester *digest.Digester // of the first bytes, the follower's while there is one; nil: it stands for nothing in the file

	written  atomic.Int64  // bytes from the start that the digester may stand for
	stopping atomic.Bool   // the follower is to end
	follower chan struct{} // nil: there is none; closed when it has ended
}

// init begins with a file, and a digester that stands for its first bytes, or
// nil.
func (r *runningDigest) init(w driver.Writer, digester *digest.Digester) {
	r.file, _ = w.(driver.RandomWriter)
	r.digester = digester
	r.written.Store(r.offset())
}

// wrote takes note of bytes that are in the file now.
func (r *runningDigest) wrote(p []byte, off int64) {
	written := r.written.Load()
	end := off + int64(len(p))
	switch {
	case len(p) == 0 || off > written:
		return
	case off < written:
		r.forget(off)
		r.written.Store(max(written, end))
		return
	}
	r.written.Store(end)
	if r.follower == nil && (r.file == nil || end <= followAfter) && r.offset() == off && r.digester != nil {
		r.digester.Write(p)
		return
	}
	r.follow()
}

// truncated takes note of the file's new size.
func (r *runningDigest) truncated(size int64) {
	r.forget(size)
	r.written.Store(min(size, r.written.Load()))
	if size == 0 {
		r.digester, _ = digest.NewDigester(digest.SHA256)
	}
}

// forget drops a digester that stands for bytes from off on.
func (r *runningDigest) forget(off int64) {
	if r.stop(); off < r.offset() {
		r.digester = nil
	}
}

// offset is the number of bytes from the start that the digester stands for.
// There must be no follower.
func (r *runningDigest) offset() int64 {
	if r.digester == nil {
		return 0
	}
	return r.digester.Offset()
}

// follow begins a follower, if there is enough for one to do. It ends when it
// has caught up.
func (r *runningDigest) follow() {
	if r.follower != nil {
		select {
		case <-r.follower:
			r.follower = nil
		default:
			return
		}
	}
	if r.file == nil || r.digester == nil || r.written.Load()-r.offset() < followAfter {
		return
	}
	ended := make(chan struct{})
	r.follower = ended
	go func() {
		defer close(ended)
		buffer := followBuffers.Get().(*[followBuffer]byte)
		defer followBuffers.Put(buffer)
		for !r.stopping.Load() {
			p := buffer[:min(followBuffer, r.written.Load()-r.digester.Offset())]
			if n, _ := r.file.ReadAt(p, r.digester.Offset()); n < len(p) || n == 0 {
				return // what cannot be read is an error when the digest is asked for
			}
			r.digester.Write(p)
		}
	}()
}

// stop ends the follower. It must be called before the file is closed.
func (r *runningDigest) stop() {
	if r.follower == nil {
		return
	}
	r.stopping.Store(true)
	<-r.follower
	r.stopping.Store(false)
	r.follower = nil
}

// settle lets the digester stand for all bytes before the first gap, if it
// stands for any: what cannot be read is hashed again by who needs it.
func (r *runningDigest) settle(ctx context.Context, open func(context.Context) (driver.File, error)) {
	if r.stop(); r.digester != nil {
		_ = r.finish(ctx, r.written.Load(), open)
	}
}

// finish hashes what the digester does not stand for yet, or everything, so
// that it stands for size bytes. Open opens the file, for all that a follower
// could not have read.
func (r *runningDigest) finish(ctx context.Context, size int64, open func(context.Context) (driver.File, error)) error {
	if r.stop(); r.digester == nil {
		r.digester, _ = digest.NewDigester(digest.SHA256)
		r.written.Store(0)
	}
	err := r.hash(ctx, r.file, r.written.Load())
	if err == nil && r.offset() < size {
		var content driver.File
		if content, err = open(ctx); err == nil {
			err = errors.Join(r.hash(ctx, content, size), content.Close())
		}
	}
	if err != nil {
		r.digester = nil
		return err
	}
	r.written.Store(size) // gaps are hashed as the zeros that they read as
	return nil
}

// hash goes on to hash a file up to an offset.
func (r *runningDigest) hash(ctx context.Context, file io.ReaderAt, to int64) error {
	section := io.NewSectionReader(file, r.offset(), to-r.offset())
	if section.Size() <= 0 {
		return nil
	}
	_, err := io.CopyBuffer(r.digester, &contextReader{ctx, section}, make([]byte, min(pieceSize, section.Size())))
	if err == nil && r.offset() != to {
		err = io.ErrUnexpectedEOF
	}
	return err
}
