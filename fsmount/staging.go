package fsmount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"registryfs/digest"
	"registryfs/storage"
)

// copyBuffer is the size in bytes of the pieces in which content is copied.
const copyBuffer = 1 << 20

// maxFileSize is the size in bytes of the largest file that can be written: one
// with a hole of more could be made at once, and would be hashed for hours.
const maxFileSize = 1 << 40

var errFileTooLarge = refuse(syscall.EFBIG, "a file has at most 1 TiB")

// staging is the bytes of a file being written. They are an upload of the
// repository, begun with the first byte. Publishing ends the upload; what is
// written after that goes into a new one, which begins as a copy, so that a
// published blob never changes. All methods may be called concurrently.
type staging struct {
	repo  storage.Repository
	files *openFiles

	mu      sync.Mutex
	upload  storage.Upload // nil before the first byte and after publication
	base    digest.Digest  // the blob that was published, while upload is nil
	initial []byte         // what there is before the first write, if that is no blob
	changed bool           // since it was published
	err     error          // of an I/O failure, or that this has ended: it is final

	size atomic.Int64 // changed under mu
}

func (s *staging) writeAt(ctx context.Context, p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	if off > maxFileSize-int64(len(p)) {
		return 0, errFileTooLarge
	}
	n, err := s.upload.WriteAt(p, off)
	if n > 0 {
		s.size.Store(max(s.size.Load(), off+int64(n)))
		s.changed = true
	}
	return n, s.failed(err)
}

func (s *staging) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return 0, s.err
	case s.upload != nil:
		return s.upload.ReadAt(p, off)
	case s.base != "":
		blob, err := openIn(context.WithoutCancel(ctx), s.repo, s.base)
		if err != nil {
			return 0, err
		}
		defer blob.Close()
		return blob.ReadAt(p, off)
	}
	return bytes.NewReader(s.initial).ReadAt(p, off)
}

func (s *staging) truncate(ctx context.Context, size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size == s.size.Load() {
		return s.err
	}
	if size > maxFileSize {
		return errFileTooLarge
	}
	if size == 0 && s.upload == nil {
		s.base, s.initial = "", nil // nothing to copy
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := s.upload.Truncate(size); err != nil {
		return s.failed(err)
	}
	s.size.Store(size)
	s.changed = true
	return nil
}

func (s *staging) sync(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.upload == nil {
		return s.err
	}
	return s.failed(s.upload.Sync(ctx))
}

// isBegun reports whether there is a file that takes what is written, and is
// free to.
func (s *staging) isBegun() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return s.upload != nil
}

// length is the number of bytes, and whether they changed since they were
// published.
func (s *staging) length() (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size.Load(), s.changed
}

// uploadID is the upload that the bytes are, or "" where there is none, or
// something is being done to it.
func (s *staging) uploadID() string {
	if !s.mu.TryLock() {
		return ""
	}
	defer s.mu.Unlock()
	if s.upload == nil {
		return ""
	}
	return s.upload.ID()
}

func (s *staging) digest(ctx context.Context) (digest.Digest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return "", s.err
	case s.upload != nil:
		return s.upload.Digest(ctx)
	case s.base != "":
		return s.base, nil
	}
	return digest.FromBytes(s.initial), nil
}

// payload is the whole content, of at most limit bytes.
func (s *staging) payload(ctx context.Context, limit int64) ([]byte, error) {
	size, _ := s.length()
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", storage.ErrTooLarge, size, limit)
	}
	p := make([]byte, size)
	n, err := s.readAt(ctx, p, 0)
	if int64(n) == size {
		err = nil
	}
	return p[:n], err
}

// commit publishes the content as the blob d.
func (s *staging) commit(ctx context.Context, d digest.Digest) (storage.Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.base == d && s.upload == nil {
		return storage.Link{}, keep(ctx, s.repo, viewBlobs, d)
	}
	if err := s.begin(ctx); err != nil {
		return storage.Link{}, err
	}
	desc, err := s.upload.Commit(ctx, storage.Descriptor{Digest: d})
	if err != nil {
		return storage.Link{}, err
	}
	made := s.upload.Link()
	// An upload that was a blob already, when what finished it was killed, has
	// no bytes of its own left.
	s.upload, s.base, s.changed = nil, desc.Digest, false
	s.size.Store(desc.Size)
	s.files.give(writerFiles)
	return made, nil
}

// published says that the content has been published in another way.
func (s *staging) published() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = false
}

// drop removes the bytes, and ends the writing.
func (s *staging) drop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.upload
	s.upload, s.base, s.initial, s.changed = nil, "", nil, false
	s.size.Store(0)
	s.err = refuse(errClosing, "the file has been closed")
	if u == nil {
		return nil
	}
	defer s.files.give(writerFiles)
	return u.Cancel(ctx)
}

// keep ends the writing and leaves the bytes as an upload, whose id it
// returns: "" where there is none.
func (s *staging) keep() (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.upload
	if u == nil {
		return "", nil
	}
	defer s.files.give(writerFiles)
	s.upload, s.err = nil, refuse(errClosing, "the file has been kept as upload "+u.ID())
	return u.ID(), u.Close()
}

// begin makes sure that there is an upload to write to.
func (s *staging) begin(ctx context.Context) error {
	if s.err != nil || s.upload != nil {
		return s.err
	}
	// Not for a signal to end: no program expects that of a write.
	ctx = context.WithoutCancel(ctx)
	if err := s.files.take(writerFiles); err != nil {
		return err
	}
	u, err := s.repo.Blobs().Create(ctx)
	if err == nil {
		if err = s.copyBase(ctx, u); err != nil {
			u.Cancel(ctx)
		}
	}
	if err != nil {
		s.files.give(writerFiles)
		return err
	}
	s.upload, s.base, s.initial = u, "", nil
	return nil
}

func (s *staging) copyBase(ctx context.Context, u storage.Upload) error {
	if len(s.initial) > 0 {
		_, err := u.Write(s.initial)
		return err
	}
	if s.base == "" || s.size.Load() == 0 {
		return nil
	}
	blob, err := openIn(ctx, s.repo, s.base)
	if err != nil {
		return err
	}
	defer blob.Close()
	_, err = u.ReadFrom(io.NewSectionReader(blob, 0, s.size.Load()))
	return err
}

// failed makes an I/O failure final. That whoever waited was interrupted, as by
// a signal that the runtime of a language sends itself, is none: fsync is called
// again then.
func (s *staging) failed(err error) error {
	if err != nil && s.err == nil && !errors.Is(err, context.Canceled) {
		s.err = err
	}
	return err
}
