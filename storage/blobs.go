package storage

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
)

// blobs is the content of all repositories, by canonical digest. It knows
// nothing of which repository may see what: that is what links are for.
type blobs struct {
	driver  driver.Driver
	verify  *verifier
	settled *settled
	log     *slog.Logger

	resident atomic.Int64 // bytes of content that is open in memory

	seed  maphash.Seed
	locks [lockStripes]sync.Mutex // by digest: one publishes at a time
}

func newBlobs(d driver.Driver, log *slog.Logger) *blobs {
	return &blobs{driver: d, verify: newVerifier(log), settled: newSettled(), log: log, seed: maphash.MakeSeed()}
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
