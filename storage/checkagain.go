package storage

import (
	"context"
	"errors"
	"time"

	"registryfs/digest"
	"registryfs/driver"
)

// Others may write while a check runs, so that what it has listed is not all
// there is by the time it misses something. A registry writes content before
// its link, layers before the manifest that needs them, a manifest before its
// tag, and removes them the other way round. So what is missing, or bad, is
// looked at again, later than what names it was read, and then that is: nothing
// is reported for what has come, or for what is not named any more.

// errMoved says that a tag has another value than when it was looked at first.
var errMoved = errors.New("storage: the tag has moved")

// moveTries bounds how often a tag is looked at that others keep moving: what
// they move it to, they have looked at.
const moveTries = 4

// badContent is what is the matter with content.
type badContent struct {
	why     error
	version string // of the file that is bad
}

// badNow is what is the matter with content by now, of what was found bad.
// Pushing it again puts another file in its place.
func (c *checker) badNow(ctx context.Context, d digest.Digest) error {
	bad, ok := c.bad[d]
	if !ok {
		return nil
	}
	info, err := c.registry.driver.Stat(ctx, blobPath(d))
	switch {
	case errors.Is(err, driver.ErrNotExist):
		delete(c.bad, d)
		return nil
	case err != nil, info.IsDir, info.Version == "", info.Version == bad.version:
		return bad.why
	}
	blob, err := c.registry.blobs.open(ctx, d)
	switch {
	case err == nil:
		delete(c.bad, d)
		return blob.Close()
	case errors.Is(err, ErrBlobUnknown):
		delete(c.bad, d)
		return nil
	}
	c.bad[d] = badContent{err, info.Version}
	return err
}

// linkNow is what is the matter with a link by now, and whether there is one;
// known learns of it. The error says that it cannot be read.
func (c *checker) linkNow(ctx context.Context, set links, d digest.Digest, known linked) (why error, ok bool, err error) {
	target, why := set.get(ctx, d)
	if errors.Is(why, errNoLink) {
		aside, err := c.isAside(ctx, linkPath(set.dir, d))
		if err != nil {
			return nil, false, err
		}
		target, why = set.get(ctx, d) // it may just have been brought back
		if errors.Is(why, errNoLink) && aside {
			target, why = d, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	case errors.Is(why, errNoLink):
		delete(known, d)
		return nil, false, nil
	case why == nil:
		why = c.linkContent(ctx, d, target)
	case errors.Is(why, ErrCorrupt):
	case known[d] != nil: // it has been reported
		return known[d], true, nil
	default:
		return nil, false, why
	}
	known[d] = why
	return why, true, ctx.Err()
}

// linkContent is what is the matter with the content of a link.
func (c *checker) linkContent(ctx context.Context, d, target digest.Digest) error {
	err := c.content(ctx, target)
	if err == nil && d != target {
		err = c.checkAlias(ctx, d, target)
	}
	return err
}

// isGone reports whether there is no such link any more.
func (c *checker) isGone(ctx context.Context, link string) (bool, error) {
	switch _, _, err := readLink(ctx, c.registry.driver, link); {
	case errors.Is(err, errNoLink):
		return true, nil
	case errors.Is(err, ErrCorrupt):
		return false, nil
	default:
		return false, err
	}
}

// value is what a tag names. One that is just being made, or removed, has no
// value for a moment; one that is removed is [ErrTagUnknown].
func (r *repoCheck) value(ctx context.Context, tag entry) (digest.Digest, error) {
	for deadline := time.Now().Add(linkWait); ; {
		d, _, err := readLink(ctx, r.registry.driver, currentPath(tag.path))
		if errors.Is(err, ErrCorrupt) { // one read may be wrong
			d, _, err = readLink(ctx, r.registry.driver, currentPath(tag.path))
		}
		if !errors.Is(err, errNoLink) {
			return d, err
		}
		info, statErr := r.registry.driver.Stat(ctx, tag.path)
		switch {
		case errors.Is(statErr, driver.ErrNotExist):
			return "", ErrTagUnknown
		case statErr != nil:
			return "", statErr
		case time.Since(info.ModTime) >= linkYoung, !time.Now().Before(deadline):
			return "", err
		}
		if err := pause(ctx, linkPause); err != nil {
			return "", err
		}
	}
}

// dangles reports a tag that names a manifest which is not there or is bad,
// unless it has another value by now, which is [errMoved].
func (r *repoCheck) dangles(ctx context.Context, tag entry, d digest.Digest, f Finding, fix func(context.Context) (string, error)) error {
	switch again, err := r.value(ctx, tag); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && again == d:
		f.Kind = FindingDangling
		r.report(ctx, f, fix)
	case err == nil, errors.Is(err, ErrCorrupt):
		return errMoved
	case !errors.Is(err, errNoLink) && !errors.Is(err, ErrTagUnknown):
		return r.unreadable(ctx, f.Path, r.repo.name, tag.name, err)
	}
	return ctx.Err()
}
