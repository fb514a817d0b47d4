package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/google/uuid"

	"registryfs/digest"
	"registryfs/driver"
)

// Registry 2.8 rewrites a link in place, so that a reader may find it empty
// for a moment. A link that young is read again for so long.
const (
	linkYoung = time.Second
	linkWait  = 250 * time.Millisecond
	linkPause = 2 * time.Millisecond
)

// errNoLink says that a set has no link for a digest.
var errNoLink = fmt.Errorf("storage: no link: %w", fs.ErrNotExist)

// links is a set of digests: the link files below one directory. It knows
// nothing of the content they name.
type links struct {
	driver driver.Driver
	dir    string
}

// get returns the canonical digest that the link of d holds. Errors:
// errNoLink, [ErrCorrupt], and those of digest.Parse.
func (l links) get(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	if _, err := digest.Parse(string(d)); err != nil {
		return "", err
	}
	target, _, err := readLink(ctx, l.driver, linkPath(l.dir, d))
	if err != nil {
		return "", err
	}
	if target != d && digest.IsCanonical(d) {
		return "", fmt.Errorf("%w: %s names %s", ErrCorrupt, linkPath(l.dir, d), target)
	}
	return target, nil
}

// put links d to the canonical digest of the same content.
func (l links) put(ctx context.Context, d, canonical digest.Digest) error {
	return putLink(ctx, l.driver, linkPath(l.dir, d), canonical)
}

// putLink writes a link.
func putLink(ctx context.Context, d driver.Driver, p string, target digest.Digest) error {
	_, err := writeLink(ctx, d, p, target)
	return err
}

// writeLink writes a link and says what it replaced. A directory in its place
// goes to the quarantine.
func writeLink(ctx context.Context, d driver.Driver, p string, target digest.Digest) (driver.Written, error) {
	written, err := driver.PutFile(ctx, d, p, []byte(target))
	if !errors.Is(err, driver.ErrInvalidPath) {
		return written, err
	}
	dst := path.Join(layoutQuarantine, "links", uuid.NewString(), strings.TrimPrefix(p, layoutRoot))
	if driver.MoveDir(ctx, d, p, dst) != nil {
		return written, err
	}
	return driver.PutFile(ctx, d, p, []byte(target))
}

// readLink reads a link file, exactly a digest, and describes it. Registries
// read a trailing newline as part of the digest, so that is corrupt here too.
func readLink(ctx context.Context, d driver.Driver, p string) (digest.Digest, driver.FileInfo, error) {
	for deadline := time.Now().Add(linkWait); ; {
		content, info, err := driver.GetFile(ctx, d, p, MaxLink)
		switch {
		case errors.Is(err, driver.ErrNotExist):
			return "", info, errNoLink
		case errors.Is(err, driver.ErrTooLarge), errors.Is(err, driver.ErrInvalidPath):
			return "", info, fmt.Errorf("%w: link %s: %w", ErrCorrupt, p, err)
		case err != nil:
			return "", info, err
		}
		if len(content) == 0 && time.Now().Before(deadline) && time.Since(info.ModTime) < linkYoung {
			if err := pause(ctx, linkPause); err != nil {
				return "", info, err
			}
			continue
		}
		target, err := digest.Parse(string(content))
		if err != nil {
			return "", info, fmt.Errorf("%w: link %s: %w", ErrCorrupt, p, err)
		}
		return target, info, nil
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
