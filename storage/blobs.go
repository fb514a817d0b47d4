package storage

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
)

// blobs is the content of all repositories, by canonical digest. It knows
// nothing of which repository may see what: that is what links are for.
type blobs struct {
	driver driver.Driver
	verify *verifier
	log    *slog.Logger

	resident atomic.Int64 // bytes of content that is open in memory

	seed  maphash.Seed
	locks [lockStripes]sync.Mutex // by digest: one publishes at a time
}

func newBlobs(d driver.Driver, log *slog.Logger) *blobs {
	return &blobs{driver: d, verify: newVerifier(log), log: log, seed: maphash.MakeSeed()}
}

// stat describes the content of a canonical digest without reading it.
func (b *blobs) stat(ctx context.Context, d digest.Digest) (Descriptor, error) {
	info, err := b.driver.Stat(ctx, blobPath(d))
	switch {
	case err != nil:
		return Descriptor{}, contentError(err)
	case info.IsDir:
		return Descriptor{}, fmt.Errorf("%w: %s is a directory", ErrCorrupt, info.Path)
	}
	return Descriptor{MediaType: manifest.MediaTypeOctetStream, Digest: d, Size: info.Size}, nil
}

// openTries bounds how often content that is replaced meanwhile is opened.
const openTries = 3

// open verifies the content of a canonical digest, and against other names of
// it that the caller goes by, and opens it.
func (b *blobs) open(ctx context.Context, d digest.Digest, also ...digest.Digest) (Blob, error) {
	return b.openObserved(ctx, nil, append([]digest.Digest{d}, also...))
}

// openObserved is open; the first of the names is the canonical one. o may be
// nil.
func (b *blobs) openObserved(ctx context.Context, o Observer, names []digest.Digest) (Blob, error) {
	if blob, err := b.openResident(ctx, o, names); !errors.Is(err, driver.ErrTooLarge) {
		return blob, err
	}
	for try := 1; ; try++ {
		blob, err := b.openOnce(ctx, o, names)
		if !errors.Is(err, errChanged) || try == openTries {
			return blob, err
		}
	}
}

func (b *blobs) openOnce(ctx context.Context, o Observer, names []digest.Digest) (_ Blob, err error) {
	d := names[0]
	openFile := func(ctx context.Context) (driver.File, error) { return b.openFile(ctx, d) }
	f, err := openFile(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := b.verify.check(ctx, name, info.Version, o, openFile); err != nil {
			return nil, err
		}
		o = nil // it has seen the content of the canonical digest
	}
	r := &reader{
		descriptor: Descriptor{MediaType: manifest.MediaTypeOctetStream, Digest: d, Size: info.Size},
		names:      names,
		file:       f,
		verify:     b.verify,
	}
	r.version.Store(&info.Version)
	return r, nil
}

func (b *blobs) openFile(ctx context.Context, d digest.Digest) (driver.File, error) {
	f, err := driver.OpenAt(ctx, b.driver, blobPath(d))
	return f, contentError(err)
}

// contentError says what an error of the driver means for content.
func contentError(err error) error {
	switch {
	case errors.Is(err, driver.ErrNotExist):
		return ErrBlobUnknown
	case errors.Is(err, driver.ErrInvalidPath):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// publish moves the file at src, whose content is known to be d's, to where
// d's content belongs. Good content that is there already stays, and src is
// left; bad content is put aside. Either way it is durable then.
func (b *blobs) publish(ctx context.Context, src string, d digest.Digest) error {
	lock := &b.locks[maphash.String(b.seed, string(d))%lockStripes]
	lock.Lock()
	defer lock.Unlock()

	for try := 1; ; try++ {
		old, err := b.open(ctx, d)
		switch {
		case err == nil:
			return errors.Join(b.settle(ctx, d), old.Close())
		case errors.Is(err, ErrBlobUnknown):
		case errors.Is(err, ErrCorrupt):
			if err := b.quarantine(ctx, d, err); err != nil {
				return err
			}
		default:
			return err
		}
		err = driver.MoveNew(ctx, b.driver, src, blobPath(d))
		if errors.Is(err, driver.ErrExist) && try < openTries {
			continue // another process was faster
		}
		if err != nil {
			return err
		}
		return b.published(ctx, d)
	}
}

// settle makes content durable that is there already. Who published it may have
// died before it had, and most registries never do.
func (b *blobs) settle(ctx context.Context, d digest.Digest) error {
	info, err := b.driver.Stat(ctx, blobPath(d))
	if err != nil || b.verify.isDurable(d, info.Version) {
		return err
	}
	if err := driver.Sync(ctx, b.driver, blobPath(d)); err != nil {
		return err
	}
	b.verify.setDurable(d, info.Version)
	return nil
}

// published records that the content of d is good and durable.
func (b *blobs) published(ctx context.Context, d digest.Digest) error {
	// Moving a file changes its version, not its content.
	info, err := b.driver.Stat(ctx, blobPath(d))
	if err != nil {
		return err
	}
	b.verify.setGood(d, info.Version)
	b.verify.setDurable(d, info.Version)
	return nil
}

// quarantine takes away what stands where the content of d belongs.
func (b *blobs) quarantine(ctx context.Context, d digest.Digest, why error) error {
	dst := path.Join(layoutQuarantine, d.Algorithm().String(), d.Encoded()+"-"+uuid.NewString())
	b.log.Warn("replacing corrupt content", "digest", d, "quarantine", dst, "reason", why)
	err := b.driver.Move(ctx, blobPath(d), dst)
	if errors.Is(err, driver.ErrInvalidPath) {
		err = driver.MoveDir(ctx, b.driver, path.Dir(blobPath(d)), dst)
	}
	return err
}
