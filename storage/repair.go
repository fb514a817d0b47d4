package storage

import (
	"context"
	"errors"
	"hash/maphash"
	"path"
	"strings"

	"registryfs/digest"
	"registryfs/driver"
)

// What a repair takes away goes below these, to /<time>-<id>/ and the path it
// had below layoutRoot.
const (
	layoutAside     = layoutQuarantine + "/check"
	layoutLeftovers = layoutQuarantine + "/leftovers"
)

var (
	// errByHand says that what is no file and no directory, or cannot be named,
	// cannot be moved.
	errByHand = errors.New("it must be moved or removed by hand")
	// errUnread says that what seems not to be there may only not be seen.
	errUnread = errors.New("something in the repository cannot be read")
	// errReadsOtherwise says that what was found may have been a bad read.
	errReadsOtherwise = errors.New("it reads otherwise now: check again")
	// errNoContent says that there is not a single blob.
	errNoContent = errors.New("the store has no content at all: is all of it mounted?")
)

// putAside moves a file or a directory to the quarantine.
func (c *checker) putAside(p string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return c.move(ctx, p, layoutAside) }
}

// putLinkAside is putAside for the directory of a link that leads nowhere, also
// when it is read again. Where all content is, nothing is lost but a mount.
func (c *checker) putLinkAside(set links, d, was digest.Digest) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if c.summary.Blobs == 0 {
			return "", errNoContent
		}
		target, err := set.get(ctx, d)
		if err == nil {
			err = c.linkContent(ctx, d, target)
		}
		switch {
		case err == nil, target != was:
			return "", errReadsOtherwise
		case !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrBlobUnknown):
			return "", err
		}
		return c.move(ctx, path.Dir(linkPath(set.dir, d)), layoutAside)
	}
}

// putLeftoverAside is putAside for what was not damaged.
func (c *checker) putLeftoverAside(p string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return c.move(ctx, p, layoutLeftovers) }
}

// move moves a file or a directory to where this check puts what it takes away.
func (c *checker) move(ctx context.Context, p, to string) (string, error) {
	d := c.registry.driver
	info, err := d.Stat(ctx, p)
	if errors.Is(err, driver.ErrInvalidPath) {
		return "", errByHand
	}
	if err != nil {
		return "", err
	}
	dst := path.Join(to, c.run, strings.TrimPrefix(p, layoutRoot))
	if info.IsDir {
		err = driver.MoveDir(ctx, d, p, dst)
	} else {
		err = d.Move(ctx, p, dst)
	}
	return "moved to " + dst, err
}

// byHand is for what cannot be moved, and may lead to something that is needed.
func byHand(context.Context) (string, error) { return "", errByHand }

// makeDir makes a directory that should be there.
func (c *checker) makeDir(dir string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		return "made the directory", driver.MakeDir(ctx, c.registry.driver, dir)
	}
}

// quarantineBlob takes corrupt content away, unless it is good by now.
func (c *checker) quarantineBlob(d digest.Digest) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return c.registry.blobs.quarantineCorrupt(ctx, d) }
}

func (b *blobs) quarantineCorrupt(ctx context.Context, d digest.Digest) (string, error) {
	lock := &b.locks[maphash.String(b.seed, string(d))%lockStripes]
	lock.Lock()
	defer lock.Unlock()
	blob, err := b.open(ctx, d)
	switch {
	case err == nil:
		return "it has been replaced meanwhile", blob.Close()
	case errors.Is(err, ErrBlobUnknown):
		return "it has been removed meanwhile", nil
	case !errors.Is(err, ErrCorrupt):
		return "", err
	}
	return "moved to " + path.Join(layoutQuarantine, d.Algorithm().String()) + ": push the content again", b.quarantine(ctx, d, err)
}

// rewriteLink makes a link hold the digest that it is named by.
func (c *checker) rewriteLink(set links, d digest.Digest, e entry) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		// What is too long for a link may be of value to somebody.
		if e.info.IsDir || e.info.Size > MaxLink {
			if _, err := c.move(ctx, e.path, layoutAside); err != nil {
				return "", err
			}
		}
		return "rewrote the link", set.put(ctx, d, d)
	}
}

// trashTag takes a tag away whose value is lost.
func (r *repoCheck) trashTag(tag entry, was digest.Digest) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if err := r.readsAs(ctx, tag, was); err != nil {
			return "", err
		}
		dst, err := r.registry.moveToTrash(ctx, tag.path, path.Join(r.repo.name, tag.name))
		return "moved the tag to " + dst, err
	}
}

// restoreTag gives a tag the only value that it has ever had.
func (r *repoCheck) restoreTag(tag entry, d digest.Digest) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if err := r.readsAs(ctx, tag, ""); err != nil {
			return "", err
		}
		return "set it to " + d.String() + ", its only value ever",
			r.registry.driver.PutContent(ctx, currentPath(tag.path), []byte(d))
	}
}

// readsAs makes sure that a tag has the value that it was found to have, or
// still none.
func (r *repoCheck) readsAs(ctx context.Context, tag entry, was digest.Digest) error {
	if r.unread[r.repo.name] {
		return errUnread
	}
	d, _, err := readLink(ctx, r.registry.driver, currentPath(tag.path))
	switch {
	case err != nil && !errors.Is(err, errNoLink) && !errors.Is(err, ErrCorrupt):
		return err
	case d != was:
		return errReadsOtherwise
	}
	return nil
}
