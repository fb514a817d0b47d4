package storage

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"registryfs/digest"
	"registryfs/driver"
)

// upload is an Upload over a driver.Writer. Bytes that come in order are
// hashed as they come; after others, or after Resume, the digest costs a pass
// over the file.
type upload struct {
	repo    *repository
	links   links // where Commit links the content
	id      string
	started time.Time
	writer  driver.Writer

	mu     sync.Mutex
	size   int64
	hash   hash.Hash // of the first hashed bytes
	hashed int64     // -1: the hash does not stand for what is in the file
	ended  bool
	err    error // of an I/O failure, which is final
}

var _ Upload = (*upload)(nil)

func (u *upload) ID() string { return u.id }

func (u *upload) StartedAt() time.Time { return u.started }

func (u *upload) Size() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.size
}

func (u *upload) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.usable(); err != nil {
		return 0, err
	}
	n, err := u.writer.Write(p)
	u.wrote(p[:n], u.size)
	return n, u.failed(err)
}

// ReadFrom appends all of r.
func (u *upload) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{u}, struct{ io.Reader }{r}, make([]byte, verifyBuffer))
}

func (u *upload) WriteAt(p []byte, off int64) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.usable(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fmt.Errorf("write at %d: %w", off, driver.ErrInvalidOffset)
	}
	random, err := u.random()
	if err != nil {
		return 0, err
	}
	n, err := random.WriteAt(p, off)
	u.wrote(p[:n], off)
	return n, u.failed(err)
}

func (u *upload) ReadAt(p []byte, off int64) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.usable(); err != nil {
		return 0, err
	}
	random, err := u.random()
	if err != nil {
		return 0, err
	}
	return random.ReadAt(p, off)
}

func (u *upload) Truncate(size int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.usable(); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("truncate to %d: %w", size, driver.ErrInvalidOffset)
	}
	if size == u.size {
		return nil
	}
	random, err := u.random()
	if err != nil {
		return err
	}
	if err := random.Truncate(size); err != nil {
		return u.failed(err)
	}
	u.size = size
	if size == 0 {
		u.hash, u.hashed = digest.SHA256.Hash(), 0
	} else if size < u.hashed {
		u.hashed = -1
	}
	return nil
}

func (u *upload) Sync(context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.usable(); err != nil {
		return err
	}
	if random, ok := u.writer.(driver.RandomWriter); ok {
		return u.failed(random.Sync())
	}
	return nil
}

func (u *upload) Digest(ctx context.Context) (digest.Digest, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.usable(); err != nil {
		return "", err
	}
	return u.digest(ctx)
}

// digest is Digest for who holds mu.
func (u *upload) digest(ctx context.Context) (digest.Digest, error) {
	if u.hashed != u.size {
		if err := u.rehash(ctx); err != nil {
			return "", err
		}
	}
	return digest.FromHash(digest.SHA256, u.hash), nil
}

// rehash hashes what is in the file from where the hash stands, or from the
// start.
func (u *upload) rehash(ctx context.Context) error {
	if u.hashed < 0 {
		u.hash, u.hashed = digest.SHA256.Hash(), 0
	}
	content, err := u.content(ctx)
	if err != nil {
		return err
	}
	defer content.Close()
	section := io.NewSectionReader(content, u.hashed, u.size-u.hashed)
	n, err := io.CopyBuffer(u.hash, &contextReader{ctx, section}, make([]byte, verifyBuffer))
	if err == nil && n != u.size-u.hashed {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		u.hashed = -1
		return err
	}
	u.hashed = u.size
	return nil
}

// content opens the bytes so far for reading.
func (u *upload) content(ctx context.Context) (driver.File, error) {
	return driver.OpenAt(ctx, u.repo.registry.driver, uploadDataPath(u.repo.name, u.id))
}

func (u *upload) Commit(ctx context.Context, want Descriptor) (Descriptor, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	desc, err := u.commit(ctx, want)
	return desc, u.repo.fail("commit", want.Digest.String(), err)
}

func (u *upload) commit(ctx context.Context, want Descriptor) (Descriptor, error) {
	if err := u.usable(); err != nil {
		return Descriptor{}, err
	}
	canonical, err := u.check(ctx, want)
	if err != nil {
		return Descriptor{}, err
	}
	// From here on the upload is ended; what is not published is left for
	// Resume.
	u.ended = true
	if err := u.writer.Commit(ctx); err != nil {
		u.writer.Close() // it is to go on holding nothing
		return Descriptor{}, err
	}
	content := u.repo.registry.blobs
	if err := content.publish(ctx, uploadDataPath(u.repo.name, u.id), canonical); err != nil {
		return Descriptor{}, err
	}
	if want.Digest != canonical {
		if err := u.links.put(ctx, canonical, canonical); err != nil {
			return Descriptor{}, err
		}
	}
	if err := u.links.put(ctx, want.Digest, canonical); err != nil {
		return Descriptor{}, err
	}
	if err := u.repo.discardUpload(ctx, u.id); err != nil {
		u.repo.registry.log.Warn("a committed upload is left over", "repository", u.repo.name, "upload", u.id, "error", err)
	}
	desc, err := content.stat(ctx, canonical)
	if want.MediaType != "" {
		desc.MediaType = want.MediaType
	}
	return desc, err
}

// check verifies the content against a descriptor and returns its canonical
// digest.
func (u *upload) check(ctx context.Context, want Descriptor) (digest.Digest, error) {
	if _, err := digest.Parse(want.Digest.String()); err != nil {
		return "", err
	}
	if want.Size != 0 && want.Size != u.size {
		return "", fmt.Errorf("%w: %d bytes, want %d", ErrSizeMismatch, u.size, want.Size)
	}
	canonical, err := u.digest(ctx)
	if err != nil {
		return "", err
	}
	got := canonical
	if !digest.IsCanonical(want.Digest) {
		content, err := u.content(ctx)
		if err != nil {
			return "", err
		}
		defer content.Close()
		if got, err = hashContent(ctx, want.Digest.Algorithm(), content, u.size); err != nil {
			return "", err
		}
	}
	if got != want.Digest {
		return "", fmt.Errorf("%w: it is %s", ErrDigestMismatch, got)
	}
	return canonical, nil
}

func (u *upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return nil
	}
	u.ended = true
	return u.writer.Close()
}

func (u *upload) Cancel(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return nil
	}
	u.ended = true
	ctx = context.WithoutCancel(ctx) // a caller whose context ended cancels next
	err := u.writer.Cancel(ctx)
	return u.repo.fail("cancel", u.id, errors.Join(err, u.repo.discardUpload(ctx, u.id)))
}

// wrote takes note of bytes that are in the file now.
func (u *upload) wrote(p []byte, off int64) {
	switch {
	case len(p) == 0:
		return
	case off == u.hashed:
		u.hash.Write(p)
		u.hashed += int64(len(p))
	case off < u.hashed:
		u.hashed = -1
	}
	u.size = max(u.size, off+int64(len(p)))
}

func (u *upload) usable() error {
	if u.ended {
		return driver.ErrClosed
	}
	return u.err
}

// failed makes an I/O failure final: what is in the file is not known any
// more.
func (u *upload) failed(err error) error {
	if err != nil && u.err == nil {
		u.err = err
	}
	return err
}

func (u *upload) random() (driver.RandomWriter, error) {
	random, ok := u.writer.(driver.RandomWriter)
	if !ok {
		return nil, fmt.Errorf("%w: writing out of order", ErrUnsupported)
	}
	return random, nil
}
