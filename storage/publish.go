package storage

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"path"
	"syscall"
	"time"

	"github.com/google/uuid"

	"registryfs/digest"
	"registryfs/driver"
)

// staged is a file that is durable and was hashed, and is to be published.
type staged struct {
	path string

	// What it was like before it was hashed, unless only we can have written
	// to it.
	isOurs  bool
	size    int64
	modTime time.Time
}

func (s staged) isSame(info driver.FileInfo) bool {
	return s.isOurs || s.size == info.Size && s.modTime.Equal(info.ModTime)
}

// publish moves a file, whose content is known to be d's, to where d's content
// belongs. Good content that is there already stays, and the file is left; bad
// content is put aside. Either way it is durable then. Errors:
// [ErrDigestMismatch] where the file has been written to since it was hashed.
func (b *blobs) publish(ctx context.Context, src staged, d digest.Digest) error {
	lock := &b.locks[maphash.String(b.seed, string(d))%lockStripes]
	lock.Lock()
	defer lock.Unlock()

	for try := 1; ; try++ {
		err := b.publishOnce(ctx, src, d)
		isRace := errors.Is(err, driver.ErrExist) || errors.Is(err, ErrInUse)
		if !isRace || try == openTries {
			return err
		}
	}
}

// publishOnce is publish. Where another process is about the same it may be
// driver.ErrExist or [ErrInUse].
func (b *blobs) publishOnce(ctx context.Context, src staged, d digest.Digest) error {
	there, err := b.driver.Stat(ctx, blobPath(d))
	switch {
	case errors.Is(err, driver.ErrNotExist):
		return b.move(ctx, driver.MoveNew, src, d)
	case err != nil && !errors.Is(err, driver.ErrInvalidPath):
		return err
	}
	old, err := b.open(ctx, d)
	switch {
	case err == nil:
		err = errors.Join(b.settle(ctx, d), old.Close())
		if err == nil || ctx.Err() != nil {
			return err
		}
		b.log.Warn("replacing content that cannot be made durable", "digest", d, "reason", err)
		return b.move(ctx, replace, src, d)
	case errors.Is(err, ErrBlobUnknown):
		return b.move(ctx, driver.MoveNew, src, d)
	case errors.Is(err, errChanged):
		// It may be good: it is not for the quarantine.
		return b.move(ctx, replace, src, d)
	case errors.Is(err, ErrCorrupt), errors.Is(err, syscall.EIO):
		return b.setAside(ctx, d, there, err, func() error { return b.move(ctx, driver.MoveNew, src, d) })
	}
	return err
}

func replace(ctx context.Context, d driver.Driver, src, dst string) error {
	return d.Move(ctx, src, dst)
}

// setAside puts what was found at the place of d's content in the quarantine,
// and calls then. It is driver.ErrExist where something else is there by now.
// The lock keeps other processes, which heal it as well, from putting aside
// what this one puts there.
func (b *blobs) setAside(ctx context.Context, d digest.Digest, found driver.FileInfo, why error, then func() error) error {
	held, err := lockDir(ctx, b.driver, path.Dir(blobPath(d)), false)
	switch {
	case errors.Is(err, driver.ErrInvalidPath):
		held = unlocked{} // no directory is there, which is what is wrong
	case err != nil:
		return err
	}
	defer held.Close()
	now, err := b.driver.Stat(ctx, blobPath(d))
	if err == nil && now.Version != found.Version {
		return driver.ErrExist
	}
	if err := b.quarantine(ctx, d, why); err != nil {
		return err
	}
	return then()
}

// move moves a file to where d's content belongs, and records that it is good
// and durable.
func (b *blobs) move(ctx context.Context, move func(context.Context, driver.Driver, string, string) error, src staged, d digest.Digest) error {
	if err := move(ctx, b.driver, src.path, blobPath(d)); err != nil {
		return err
	}
	// Moving a file changes its version, not its content.
	info, err := b.driver.Stat(ctx, blobPath(d))
	if err != nil {
		return err
	}
	if !src.isSame(info) {
		return b.recheck(ctx, d, info)
	}
	b.verify.setGood(d, info.Version)
	b.settled.add(info)
	return nil
}

// recheck looks again at content that was written to between being hashed and
// being moved.
func (b *blobs) recheck(ctx context.Context, d digest.Digest, found driver.FileInfo) error {
	blob, err := b.open(ctx, d)
	switch {
	case err == nil:
		return errors.Join(b.settle(ctx, d), blob.Close())
	case errors.Is(err, ErrCorrupt):
		err = fmt.Errorf("%w: others have written to it meanwhile", ErrDigestMismatch)
		return b.setAside(ctx, d, found, err, func() error { return err })
	}
	return err
}

// settle makes content durable that is there already: who published it may have
// died before it was.
func (b *blobs) settle(ctx context.Context, d digest.Digest) error {
	return contentError(b.settled.sync(ctx, b.driver, blobPath(d)))
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
