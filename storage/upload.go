package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"registryfs/digest"
	"registryfs/driver"
)

// upload is an Upload over a driver.Writer. Bytes that come in order are
// hashed as they come; after others, the digest costs a pass over the file.
type upload struct {
	repo    *repository
	links   links // where Commit links the content
	id      string
	started time.Time
	writer  driver.Writer
	resumed bool
	isNamed bool // durably
	link    Link // what Commit made

	mu      sync.Mutex
	size    int64
	durable int64 // bytes from the start that a disk has
	pos     int64 // where Write goes on, or atEnd
	hash    runningDigest
	ended   bool
	err     error // of an I/O failure, which is final
}

var _ Upload = (*upload)(nil)

// atEnd is the position of an upload in which nobody has sought.
const atEnd = -1

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
	pos := u.position()
	n, err := u.writeAt(p, pos)
	u.setPosition(pos + int64(n))
	return n, err
}

// Seek sets where Write goes on. Beyond the end it leaves a gap of zeros.
func (u *upload) Seek(offset int64, whence int) (int64, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += u.position()
	case io.SeekEnd:
		offset += u.size
	default:
		return u.position(), fmt.Errorf("seek from %d: %w", whence, driver.ErrInvalidOffset)
	}
	if offset < 0 {
		return u.position(), fmt.Errorf("seek to %d: %w", offset, driver.ErrInvalidOffset)
	}
	u.setPosition(offset)
	return offset, u.usable()
}

func (u *upload) position() int64 {
	if u.pos == atEnd {
		return u.size
	}
	return u.pos
}

// setPosition keeps a position at the end there, wherever the end goes.
func (u *upload) setPosition(pos int64) {
	if pos == u.size {
		pos = atEnd
	}
	u.pos = pos
}

// ReadFrom appends all of r.
func (u *upload) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{u}, struct{ io.Reader }{r}, make([]byte, pieceSize))
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
	return u.writeAt(p, off)
}

// writeAt is WriteAt for who holds mu. At the end any driver can write.
func (u *upload) writeAt(p []byte, off int64) (int, error) {
	write := u.writer.Write
	if off != u.size {
		random, err := u.random()
		if err != nil {
			return 0, err
		}
		write = func(p []byte) (int, error) { return random.WriteAt(p, off) }
	}
	u.durable = min(u.durable, off)
	n, err := write(p)
	if n > 0 {
		u.hash.wrote(p[:n], off)
		u.size = max(u.size, off+int64(n))
	}
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
	u.size, u.durable = size, min(u.durable, size)
	u.hash.truncated(size)
	return nil
}

func (u *upload) Sync(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.usable(); err != nil {
		return err
	}
	random, ok := u.writer.(driver.RandomWriter)
	if !ok {
		return nil
	}
	if err := u.failed(random.Sync()); err != nil {
		return u.repo.fail("sync", u.id, u.abandon(ctx, err))
	}
	u.durable = u.size
	return u.failed(u.syncNames(ctx))
}

// syncNames makes durable, once, where the upload is found.
func (u *upload) syncNames(ctx context.Context) error {
	if u.isNamed {
		return nil
	}
	err := u.repo.syncUpload(ctx, u.id)
	u.isNamed = err == nil
	return err
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
	if err := u.hash.finish(ctx, u.size, u.content); err != nil {
		return "", err
	}
	return u.hash.digester.Digest(), nil
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

// Link is what Commit made.
func (u *upload) Link() Link {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.link
}

func (u *upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return nil
	}
	u.ended = true
	ctx := context.Background()
	u.hash.settle(ctx, u.content)
	if random, ok := u.writer.(driver.RandomWriter); ok && u.err == nil {
		if err := random.Sync(); err != nil {
			return u.repo.fail("close", u.id, u.abandon(ctx, err))
		}
	}
	// While the writer is open nobody else can change what the state is of.
	err := errors.Join(u.err, u.saveState(ctx), u.syncNames(ctx))
	return errors.Join(err, u.writer.Close())
}

func (u *upload) Cancel(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return nil
	}
	u.ended = true
	u.hash.stop()
	ctx = context.WithoutCancel(ctx) // a caller whose context ended cancels next
	err := u.writer.Cancel(ctx)
	return u.repo.fail("cancel", u.id, errors.Join(err, u.repo.discardUpload(ctx, u.repo.registry.driver, u.id)))
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
