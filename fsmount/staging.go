package fsmount

import (
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
// repository, begun with the first byte. Where the file held something before,
// the upload is its beginning, as far as that was written or copied; what comes
// after that is read where it was, and copied when a write leaves a gap, or at
// the end. So who writes all of it anew copies nothing. Publishing ends the
// upload, and is what the file held before from then on: a published blob never
// changes. All methods may be called concurrently.
type staging struct {
	repo  storage.Repository
	files *openFiles

	mu          sync.Mutex
	upload      storage.Upload // nil before the first byte and after publication
	before      *before        // that shows beyond the end of the upload; nil where nothing does
	isCommitted bool           // at least once
	changed     bool           // since it was published
	err         error          // of an I/O failure, or that this has ended: it is final

	size atomic.Int64 // changed under mu
}

// startWith makes b what the file held before; it may be nil. It is called
// before the staging is shared.
func (s *staging) startWith(b *before) {
	if b != nil {
		s.before = b
		s.size.Store(b.size)
	}
}

func (s *staging) writeAt(ctx context.Context, p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(ctx, p, off)
}

// append is writeAt at the end.
func (s *staging) append(ctx context.Context, p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fill(ctx, maxFileSize); err != nil {
		return 0, err
	}
	return s.write(ctx, p, s.size.Load())
}

// write is writeAt for who holds mu.
func (s *staging) write(ctx context.Context, p []byte, off int64) (int, error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	if off > maxFileSize-int64(len(p)) {
		return 0, errFileTooLarge
	}
	if err := s.fill(ctx, off); err != nil {
		return 0, err
	}
	n, err := s.upload.WriteAt(p, off)
	if n > 0 {
		s.size.Store(max(s.size.Load(), off+int64(n)))
		s.changed = true
		s.cover()
	}
	return n, s.failed(err)
}

func (s *staging) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	n := 0
	if own := min(s.written()-off, int64(len(p))); own > 0 {
		var err error
		if n, err = s.upload.ReadAt(p[:own], off); int64(n) < own {
			return n, err
		}
	}
	if n == len(p) {
		return n, nil
	}
	if s.before == nil {
		return n, io.EOF
	}
	content, err := s.openBefore(ctx)
	if err != nil {
		return n, err
	}
	defer content.Close()
	rest := min(int64(len(p)), s.before.size-off)
	if rest <= int64(n) {
		return n, io.EOF
	}
	more, err := content.ReadAt(p[n:rest], off+int64(n))
	return n + more, err
}

func (s *staging) truncate(ctx context.Context, size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || size == s.size.Load() {
		return s.err
	}
	if size > maxFileSize {
		return errFileTooLarge
	}
	switch {
	case size == 0 && s.upload == nil:
		// What was opened and emptied is as good as new: nothing was written.
		s.before, s.changed = nil, s.changed || s.isCommitted
	case s.before != nil && s.written() < size && size < s.before.size:
		s.before.cut(size)
		s.changed = true
	default:
		if err := s.begin(ctx); err != nil {
			return err
		}
		if err := s.fill(ctx, size); err != nil {
			return err
		}
		s.before = nil // it has been copied, or is cut off
		if err := s.upload.Truncate(size); err != nil {
			return s.failed(err)
		}
		s.changed = true
	}
	s.size.Store(size)
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

// isReady reports whether a write at an offset waits for nothing: there is a
// file that takes it, and is free to, and nothing to copy.
func (s *staging) isReady(off int64) bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return s.upload != nil && (s.before == nil || off <= s.upload.Size())
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
	if s.err != nil {
		return "", s.err
	}
	if d, ok := s.unchanged(); ok {
		return d, nil
	}
	if err := s.complete(ctx); err != nil {
		return "", err
	}
	return s.upload.Digest(ctx)
}

// unchanged returns the digest of the content, if that is what it was before.
func (s *staging) unchanged() (digest.Digest, bool) {
	switch {
	case s.upload != nil:
		return "", false
	case s.before == nil:
		return digest.FromBytes(nil), true
	}
	return s.before.isWhole()
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
	if s.upload == nil && s.before != nil && s.before.digest == d && !s.before.isCut {
		if s.err != nil {
			return storage.Link{}, s.err
		}
		return storage.Link{}, keep(ctx, s.repo, viewBlobs, d)
	}
	if err := s.complete(ctx); err != nil {
		return storage.Link{}, err
	}
	desc, err := s.upload.Commit(ctx, storage.Descriptor{Digest: d})
	if errors.Is(err, storage.ErrUploadLost) {
		return storage.Link{}, s.failed(err)
	}
	if err != nil {
		return storage.Link{}, err
	}
	made := s.upload.Link()
	// An upload that was a blob already, when what finished it was killed, has
	// no bytes of its own left.
	s.upload, s.before, s.isCommitted, s.changed = nil, storedBefore(desc.Digest, desc.Size), true, false
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
	s.upload, s.before, s.changed = nil, nil, false
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
	if err != nil {
		s.files.give(writerFiles)
		return err
	}
	s.upload = u
	return nil
}

// written is the size of the upload.
func (s *staging) written() int64 {
	if s.upload == nil {
		return 0
	}
	return s.upload.Size()
}

// complete makes the upload all that there is.
func (s *staging) complete(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	return s.fill(ctx, maxFileSize)
}

// fill makes the upload reach to an offset, as far as there was something
// before. Not for a signal to end, as begin.
func (s *staging) fill(ctx context.Context, upTo int64) error {
	if s.before == nil || upTo <= s.written() {
		return s.err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	content, err := s.openBefore(ctx)
	if err != nil {
		return s.failed(err)
	}
	defer content.Close()
	from := s.upload.Size()
	missing := max(0, min(upTo, s.before.size)-from)
	n, err := s.upload.ReadFrom(io.NewSectionReader(content, from, missing))
	if err == nil && n < missing {
		err = io.ErrUnexpectedEOF
	}
	s.cover()
	return s.failed(err)
}

// openBefore opens what there was before.
func (s *staging) openBefore(ctx context.Context) (openContent, error) {
	content, err := s.before.open(ctx, s.repo)
	if err == nil {
		s.size.Store(max(s.written(), s.before.size))
	}
	return content, err
}

// cover forgets what there was before, where the upload reaches to its end.
func (s *staging) cover() {
	if s.before != nil && s.before.size <= s.upload.Size() {
		s.before = nil
	}
}

// failed makes an I/O failure final. That whoever waited was interrupted, as by
// a signal that the runtime of a language sends itself, is none: fsync is called
// again then.
func (s *staging) failed(err error) error {
	if errors.Is(err, storage.ErrUploadLost) && s.upload != nil {
		s.upload = nil
		s.files.give(writerFiles)
	}
	if err != nil && s.err == nil && !errors.Is(err, context.Canceled) {
		s.err = err
	}
	return err
}
