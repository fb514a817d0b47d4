package storage

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/google/uuid"

	"registryfs/digest"
	"registryfs/driver"
)

func (t *tags) Tag(ctx context.Context, tag string, d digest.Digest) error {
	refs := t.repo.registry.refsLock(t.repo.name)
	refs.RLock()
	defer refs.RUnlock()
	needs, err := t.check(ctx, tag, d)
	if err != nil {
		return t.repo.fail("tag", tag, err)
	}
	lock := t.repo.registry.tagLock(t.repo.name)
	lock.Lock()
	defer lock.Unlock()
	return t.repo.fail("tag", tag, t.set(ctx, tag, d, needs))
}

// check makes sure that a tag will name something whole, and returns what that
// needs.
func (t *tags) check(ctx context.Context, tag string, d digest.Digest) ([]need, error) {
	if err := CheckTag(tag); err != nil {
		return nil, err
	}
	if err := t.repo.registry.writable(); err != nil {
		return nil, err
	}
	return t.repo.manifests().whole(ctx, d, t.repo.registry.options.SparseIndexes)
}

// set moves a tag, and then looks for what it names once more.
func (t *tags) set(ctx context.Context, tag string, d digest.Digest, needs []need) error {
	if err := t.move(ctx, tag, d); err != nil {
		return err
	}
	return t.repo.registry.uphold(ctx, needs, func(ctx context.Context) (bool, error) {
		value, err := t.get(ctx, tag)
		if errors.Is(err, ErrTagUnknown) {
			return false, nil
		}
		return value.Digest == d, err
	})
}

// move moves a tag: the index link first, then the current one, so that what a
// tag names is always among what it ever named.
func (t *tags) move(ctx context.Context, tag string, d digest.Digest) error {
	if err := t.repo.prepare(ctx); err != nil {
		return err
	}
	dir := tagPath(t.repo.name, tag)
	_, err := t.driver().Stat(ctx, currentPath(dir))
	if errors.Is(err, driver.ErrNotExist) {
		err = t.make(ctx, dir, d)
		if !errors.Is(err, driver.ErrExist) {
			return err
		}
	} else if err != nil && !errors.Is(err, driver.ErrInvalidPath) { // that is damage, and replaced
		return err
	}
	// The tag is there, so that nobody makes it any more. Before it was, another
	// process could have, after this question.
	if err := t.movable(ctx, tag, d); err != nil {
		return err
	}
	if err := t.write(ctx, dir, d); err != nil {
		return err
	}
	return t.recall(ctx, dir, d)
}

// make builds a tag beside, so that it appears in one step where none is. One
// that is there, or appears meanwhile, is driver.ErrExist.
func (t *tags) make(ctx context.Context, dir string, d digest.Digest) error {
	staging := path.Join(layoutStaging, uuid.NewString())
	if err := t.write(ctx, staging, d); err != nil {
		// What there was no room for takes none.
		_ = driver.Unsynced(t.driver()).Delete(context.WithoutCancel(ctx), staging)
		return err
	}
	err := t.appear(ctx, staging, dir, d)
	if err == nil || errors.Is(err, driver.ErrExist) {
		if err := ignore(t.driver().Delete(ctx, staging)); err != nil {
			return err
		}
	}
	return err
}

// appear moves a tag that names d from beside to where none is. One that is there
// is driver.ErrExist.
func (t *tags) appear(ctx context.Context, beside, dir string, d digest.Digest) error {
	err := driver.MoveDir(ctx, t.driver(), beside, dir)
	if !errors.Is(err, driver.ErrExist) {
		return err
	}
	// It may be what somebody has begun, and not finished.
	switch _, statErr := t.driver().Stat(ctx, currentPath(dir)); {
	case statErr == nil, errors.Is(statErr, driver.ErrInvalidPath):
		return err
	case !errors.Is(statErr, driver.ErrNotExist):
		return statErr
	}
	if err := (links{t.driver(), indexPath(dir)}).put(ctx, d, d); err != nil {
		return err
	}
	if err := driver.MoveNew(ctx, t.driver(), currentPath(beside), currentPath(dir)); err != nil {
		return err
	}
	return t.recall(ctx, dir, d)
}

func (t *tags) write(ctx context.Context, dir string, d digest.Digest) error {
	if err := (links{t.driver(), indexPath(dir)}).put(ctx, d, d); err != nil {
		return err
	}
	return putLink(ctx, t.driver(), currentPath(dir), d)
}

// recall writes the index link of a tag that names d again, where another process
// has taken the tag away between the index link and the current one, which then
// made the tag anew.
func (t *tags) recall(ctx context.Context, dir string, d digest.Digest) error {
	index := links{t.driver(), indexPath(dir)}
	if _, err := t.driver().Stat(ctx, linkPath(index.dir, d)); !errors.Is(err, driver.ErrNotExist) {
		return err
	}
	names, _, err := readLink(ctx, t.driver(), currentPath(dir))
	if errors.Is(err, errNoLink) || err == nil && names != d {
		return nil // it has been taken away, or moved, since
	}
	if err != nil {
		return err
	}
	return index.put(ctx, d, d)
}

func (t *tags) Replace(ctx context.Context, tag string, old, d digest.Digest) error {
	return t.repo.fail("replace tag", tag, t.replace(ctx, tag, old, d))
}

func (t *tags) replace(ctx context.Context, tag string, old, d digest.Digest) (err error) {
	refs := t.repo.registry.refsLock(t.repo.name)
	refs.RLock()
	defer refs.RUnlock()
	var needs []need
	if d == "" {
		err = t.repo.registry.writable()
	} else {
		needs, err = t.check(ctx, tag, d)
	}
	if err != nil {
		return err
	}
	lock := t.repo.registry.tagLock(t.repo.name)
	lock.Lock()
	defer lock.Unlock()
	value, err := t.get(ctx, tag)
	if err = ignoreUnknownTag(err); err != nil || value.Digest != old || old == d {
		return err
	}
	if d != "" {
		return t.set(ctx, tag, d, needs)
	}
	return ignoreUnknownTag(t.remove(ctx, tag, old))
}

func ignoreUnknownTag(err error) error {
	if errors.Is(err, ErrTagUnknown) {
		return nil
	}
	return err
}

func (t *tags) Untag(ctx context.Context, tag string) error {
	if err := t.repo.registry.writable(); err != nil {
		return t.repo.fail("untag", tag, err)
	}
	lock := t.repo.registry.tagLock(t.repo.name)
	lock.Lock()
	defer lock.Unlock()
	return t.repo.fail("untag", tag, t.remove(ctx, tag, ""))
}

// remove takes a tag away as long as it names want, or whatever it names where
// want is empty. Another process may move it until its directory has gone. So
// what went is looked at where it went, and put back where it is not what was
// meant, unless the tag has been made anew: that is later.
func (t *tags) remove(ctx context.Context, tag string, want digest.Digest) error {
	value, err := t.get(ctx, tag)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	if err == nil && t.repo.registry.options.ImmutableTags {
		return immutable(value.Digest)
	}
	dir := tagPath(t.repo.name, tag)
	gone, err := t.repo.registry.moveToTrash(ctx, dir, path.Join(t.repo.name, tag))
	if errors.Is(err, driver.ErrNotExist) {
		err = ErrTagUnknown
	}
	if err != nil {
		return err
	}
	if want != "" {
		went, _, err := readLink(ctx, t.driver(), currentPath(gone))
		if err == nil && went != want { // one read may be wrong
			went, _, err = readLink(ctx, t.driver(), currentPath(gone))
		}
		if !errors.Is(err, errNoLink) && (err != nil || went != want) {
			return errors.Join(err, t.putBack(context.WithoutCancel(ctx), gone, dir, went))
		}
	}
	t.repo.registry.tidyTrash(ctx)
	return nil
}

// putBack moves a tag back from the trash, unless there is one of its name.
func (t *tags) putBack(ctx context.Context, gone, dir string, names digest.Digest) error {
	var err error
	if names == "" { // it cannot be read
		err = driver.MoveDir(ctx, t.driver(), gone, dir)
	} else {
		err = t.appear(ctx, gone, dir, names)
	}
	if errors.Is(err, driver.ErrExist) {
		err = nil
	}
	return err
}

func (t *tags) Rename(ctx context.Context, from, to string) error {
	return t.repo.fail("rename tag", from, t.rename(ctx, from, to))
}

func (t *tags) rename(ctx context.Context, from, to string) error {
	if err := CheckTag(to); err != nil {
		return err
	}
	if err := t.repo.registry.writable(); err != nil {
		return err
	}
	refs := t.repo.registry.refsLock(t.repo.name)
	refs.RLock()
	defer refs.RUnlock()
	lock := t.repo.registry.tagLock(t.repo.name)
	lock.Lock()
	defer lock.Unlock()
	value, err := t.get(ctx, from)
	if err != nil || from == to {
		return err
	}
	if err := t.movable(ctx, from, ""); err != nil {
		return err
	}
	needs, err := t.repo.manifests().whole(ctx, value.Digest, true)
	if err != nil {
		return err // a new name is not for what leads nowhere
	}
	if err := t.set(ctx, to, value.Digest, needs); err != nil {
		return err
	}
	// Another process may have taken it away since.
	return ignoreUnknownTag(t.remove(ctx, from, value.Digest))
}

// movable refuses to change a tag that must stay as it is.
func (t *tags) movable(ctx context.Context, tag string, to digest.Digest) error {
	if !t.repo.registry.options.ImmutableTags {
		return nil
	}
	value, err := t.get(ctx, tag)
	switch {
	case errors.Is(err, ErrTagUnknown), errors.Is(err, ErrCorrupt):
		return nil
	case err == nil && value.Digest != to:
		return immutable(value.Digest)
	}
	return err
}

func immutable(names digest.Digest) error {
	return fmt.Errorf("%w: it names %s", ErrTagImmutable, names)
}
