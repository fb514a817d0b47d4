package storage

import (
	"context"
	"errors"
	"fmt"

	"registryfs/digest"
	"registryfs/driver"
)

// commit is Commit for who holds mu.
func (u *upload) commit(ctx context.Context, want Descriptor) (Descriptor, error) {
	if err := u.usable(); err != nil {
		return Descriptor{}, err
	}
	if _, err := digest.Parse(want.Digest.String()); err != nil {
		return Descriptor{}, err
	}
	data, err := u.data(ctx)
	if err != nil {
		return Descriptor{}, err
	}
	canonical, err := u.check(ctx, want)
	isPublished := err != nil && u.isPublished(ctx, want)
	switch {
	case isPublished:
		canonical = want.Digest
	case err != nil:
		return Descriptor{}, err
	}
	// From here on the upload is ended; what is not published is left for
	// Resume.
	u.ended = true
	r := u.repo.registry
	r.commits.Store(u.id, true)
	defer r.commits.Delete(u.id)
	release, err := driver.CommitHeld(ctx, u.writer)
	switch {
	case errors.Is(err, driver.ErrNotExist), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		u.writer.Close() // it is to go on holding nothing
		return Descriptor{}, err
	case err != nil:
		return Descriptor{}, u.abandon(ctx, err)
	}
	// Whoever resumed it before it is moved could write to what is published.
	defer release()
	if isPublished {
		err = r.settleContent(ctx, canonical)
	} else {
		err = r.publish(ctx, data, canonical)
	}
	if err != nil {
		return Descriptor{}, err
	}
	if want.Digest != canonical {
		if err := r.putLink(ctx, u.links, canonical, canonical); err != nil {
			return Descriptor{}, err
		}
	}
	if u.link, err = r.makeLink(ctx, u.links, want.Digest, canonical); err != nil {
		return Descriptor{}, err
	}
	desc, err := r.statContent(ctx, canonical)
	if err != nil {
		return Descriptor{}, err
	}
	// What a crash brings back is left over, and found as such.
	if err := u.repo.discardUpload(ctx, driver.Unsynced(r.driver), u.id); err != nil {
		r.log.Warn("a committed upload is left over", "repository", u.repo.name, "upload", u.id, "error", err)
	}
	if want.MediaType != "" {
		desc.MediaType = want.MediaType
	}
	return desc, nil
}

// data describes what is to be published, before it is hashed. Others who heed
// no locks may write to an upload that was resumed, but to no other: nobody
// knows its id.
func (u *upload) data(ctx context.Context) (staged, error) {
	s := staged{path: uploadDataPath(u.repo.name, u.id), isOurs: !u.resumed}
	if s.isOurs {
		return s, nil
	}
	info, err := u.repo.registry.driver.Stat(ctx, s.path)
	s.size, s.modTime = info.Size, info.ModTime
	return s, err
}

// isPublished reports whether there is nothing in a resumed upload because a
// Commit that was cut short has published its content already, as want says: it
// is where blobs are, but not linked.
func (u *upload) isPublished(ctx context.Context, want Descriptor) bool {
	if !u.resumed || u.size > 0 || !digest.IsCanonical(want.Digest) {
		return false
	}
	blob, err := u.repo.registry.openContent(ctx, want.Digest, want.Digest)
	if err != nil {
		return false
	}
	defer blob.Close()
	return want.Size == 0 || want.Size == blob.Descriptor().Size
}

// check verifies the content against a descriptor, whose digest is one, and
// returns its canonical digest.
func (u *upload) check(ctx context.Context, want Descriptor) (digest.Digest, error) {
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
		got, err = hashContent(ctx, want.Digest.Algorithm(), content, u.size)
		if isNoArchive(err) {
			return "", fmt.Errorf("%w: %w", ErrDigestMismatch, err)
		}
		if err != nil {
			return "", err
		}
	}
	if got != want.Digest {
		return "", fmt.Errorf("%w: it is %s", ErrDigestMismatch, got)
	}
	return canonical, nil
}

// abandon ends an upload of which a disk did not take all: the kernel says so
// once, and the next sync would succeed without the bytes. What had been synced
// before is left for Resume.
func (u *upload) abandon(ctx context.Context, why error) error {
	u.ended = true
	u.hash.stop()
	ctx = context.WithoutCancel(ctx)
	why = fmt.Errorf("%w: %w", ErrUploadLost, why)
	var err error
	if u.durable == 0 {
		err = u.writer.Cancel(ctx)
	} else {
		u.writer.Close()
		if err = u.cut(ctx); err == nil {
			return why
		}
	}
	return errors.Join(why, err, u.repo.discardUpload(ctx, u.repo.registry.driver, u.id))
}

// cut cuts off what is not durable.
func (u *upload) cut(ctx context.Context) error {
	w, err := u.repo.registry.driver.Writer(ctx, uploadDataPath(u.repo.name, u.id), true)
	if err != nil {
		return err
	}
	random, ok := w.(driver.RandomWriter)
	if !ok {
		return errors.Join(ErrUnsupported, w.Close())
	}
	return errors.Join(random.Truncate(u.durable), w.Close())
}
