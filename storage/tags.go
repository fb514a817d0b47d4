package storage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/google/uuid"

	"registryfs/digest"
	"registryfs/driver"
)

// tags is the TagStore of a repository.
type tags struct {
	repo *repository
}

var _ TagStore = (*tags)(nil)

func (t *tags) driver() driver.Driver { return t.repo.registry.driver }

func (t *tags) All(ctx context.Context) ([]string, error) {
	lock := t.repo.registry.tagLock(t.repo.name)
	lock.RLock()
	defer lock.RUnlock()
	names, err := t.all(ctx)
	return names, t.repo.fail("list tags", "", err)
}

func (t *tags) all(ctx context.Context) ([]string, error) {
	dirs, err := t.driver().List(ctx, tagsPath(t.repo.name))
	if errors.Is(err, driver.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(dirs))
	for _, dir := range dirs {
		name := path.Base(dir)
		if CheckTag(name) != nil {
			continue
		}
		// A stock registry that dies between the index and the current link
		// leaves a tag that never was.
		switch _, err := t.driver().Stat(ctx, currentPath(dir)); {
		case err == nil:
			names = append(names, name)
		case errors.Is(err, driver.ErrNotExist), errors.Is(err, driver.ErrInvalidPath):
		default:
			return nil, err
		}
	}
	slices.Sort(names)
	return names, nil
}

func (t *tags) List(ctx context.Context, after string, n int) ([]string, error) {
	names, err := t.All(ctx)
	if err != nil {
		return nil, err
	}
	first, found := slices.BinarySearch(names, after)
	if found {
		first++
	}
	names = names[first:]
	if n > 0 && n < len(names) {
		names = names[:n]
	}
	return names, nil
}

func (t *tags) Get(ctx context.Context, tag string) (Tag, error) {
	lock := t.repo.registry.tagLock(t.repo.name)
	lock.RLock()
	defer lock.RUnlock()
	value, err := t.get(ctx, tag)
	return value, t.repo.fail("get tag", tag, err)
}

func (t *tags) get(ctx context.Context, tag string) (Tag, error) {
	if err := CheckTag(tag); err != nil {
		return Tag{}, err
	}
	current := currentPath(tagPath(t.repo.name, tag))
	d, info, err := readLink(ctx, t.driver(), current)
	if errors.Is(err, errNoLink) {
		return Tag{}, ErrTagUnknown
	}
	if err != nil {
		return Tag{}, err
	}
	return Tag{Name: tag, Digest: d, ModTime: info.ModTime}, nil
}

func (t *tags) Tag(ctx context.Context, tag string, d digest.Digest) error {
	refs := t.repo.registry.refsLock(t.repo.name)
	refs.RLock()
	defer refs.RUnlock()
	if err := t.check(ctx, tag, d); err != nil {
		return t.repo.fail("tag", tag, err)
	}
	lock := t.repo.registry.tagLock(t.repo.name)
	lock.Lock()
	defer lock.Unlock()
	return t.repo.fail("tag", tag, t.set(ctx, tag, d))
}

// check makes sure that a tag will name something whole.
func (t *tags) check(ctx context.Context, tag string, d digest.Digest) error {
	if err := CheckTag(tag); err != nil {
		return err
	}
	if err := t.repo.registry.writable(); err != nil {
		return err
	}
	if err := t.repo.manifests().name(ctx, d); err != nil {
		return err
	}
	if _, err := t.repo.manifests().Stat(ctx, d); err != nil {
		return err
	}
	if t.repo.registry.options.SparseIndexes {
		return nil
	}
	return t.repo.manifests().checkChildren(ctx, d)
}

// set moves a tag: the index link first, then the current one, so that what a
// tag names is always among what it ever named.
func (t *tags) set(ctx context.Context, tag string, d digest.Digest) error {
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
	} else if err != nil {
		return err
	}
	// The tag is there, so that nobody makes it any more. Before it was, another
	// process could have, after this question.
	if err := t.movable(ctx, tag, d); err != nil {
		return err
	}
	return t.write(ctx, dir, d)
}

// make builds a tag beside, so that it appears in one step where none is. One
// that is there, or appears meanwhile, is driver.ErrExist.
func (t *tags) make(ctx context.Context, dir string, d digest.Digest) error {
	staging := path.Join(layoutStaging, uuid.NewString())
	if err := t.write(ctx, staging, d); err != nil {
		return err
	}
	err := driver.MoveDir(ctx, t.driver(), staging, dir)
	if !errors.Is(err, driver.ErrExist) {
		return err
	}
	// It may be what a stock registry has begun, and not finished.
	if _, err = t.driver().Stat(ctx, currentPath(dir)); errors.Is(err, driver.ErrNotExist) {
		if err := (links{t.driver(), indexPath(dir)}).put(ctx, d, d); err != nil {
			return err
		}
		err = driver.MoveNew(ctx, t.driver(), currentPath(staging), currentPath(dir))
	} else if err == nil {
		err = driver.ErrExist
	}
	if left := t.driver().Delete(ctx, staging); left != nil {
		return left
	}
	return err
}

func (t *tags) write(ctx context.Context, dir string, d digest.Digest) error {
	if err := (links{t.driver(), indexPath(dir)}).put(ctx, d, d); err != nil {
		return err
	}
	return putLink(ctx, t.driver(), currentPath(dir), d)
}

func (t *tags) Untag(ctx context.Context, tag string) error {
	if err := t.repo.registry.writable(); err != nil {
		return t.repo.fail("untag", tag, err)
	}
	lock := t.repo.registry.tagLock(t.repo.name)
	lock.Lock()
	defer lock.Unlock()
	return t.repo.fail("untag", tag, t.remove(ctx, tag))
}

func (t *tags) remove(ctx context.Context, tag string) error {
	if err := t.movable(ctx, tag, ""); err != nil {
		return err
	}
	if _, err := t.get(ctx, tag); err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	return t.repo.registry.discard(ctx, tagPath(t.repo.name, tag), path.Join(t.repo.name, tag))
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
	if err := t.repo.manifests().name(ctx, value.Digest); err != nil {
		return err
	}
	if _, err := t.repo.manifests().Stat(ctx, value.Digest); err != nil {
		return err // a new name is not for what leads nowhere
	}
	if err := t.set(ctx, to, value.Digest); err != nil {
		return err
	}
	return t.remove(ctx, from)
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
		err = fmt.Errorf("%w: it names %s", ErrTagImmutable, value.Digest)
	}
	return err
}

func (t *tags) Lookup(ctx context.Context, d digest.Digest) ([]string, error) {
	return t.lookup(ctx, d, t.names)
}

// lookup is Lookup, by how it is told whether a tag names d.
func (t *tags) lookup(ctx context.Context, d digest.Digest, isNamed func(context.Context, string, digest.Digest) (bool, error)) ([]string, error) {
	names, err := t.All(ctx)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range names {
		named, err := isNamed(ctx, name, d)
		if err != nil {
			return nil, err
		}
		if named {
			found = append(found, name)
		}
	}
	return found, nil
}

// names reports whether a tag names d. What cannot be read names nothing.
func (t *tags) names(ctx context.Context, tag string, d digest.Digest) (bool, error) {
	value, err := t.Get(ctx, tag)
	if errors.Is(err, ErrTagUnknown) || errors.Is(err, ErrCorrupt) {
		return false, nil
	}
	return value.Digest == d, err
}

// surelyNames is names for who removes d: a tag that named it once is read again
// if it seems to name another, and must be readable then.
func (t *tags) surelyNames(ctx context.Context, tag string, d digest.Digest) (bool, error) {
	if named, err := t.names(ctx, tag, d); named || err != nil {
		return named, err
	}
	if once, err := t.hasNamed(ctx, tag, d); !once || err != nil {
		return false, err
	}
	value, err := t.Get(ctx, tag)
	if errors.Is(err, ErrTagUnknown) {
		return false, nil
	}
	return value.Digest == d, err
}

// hasNamed reports whether a tag names, or ever named, d.
func (t *tags) hasNamed(ctx context.Context, tag string, d digest.Digest) (bool, error) {
	_, err := t.driver().Stat(ctx, linkPath(indexPath(tagPath(t.repo.name, tag)), d))
	if errors.Is(err, driver.ErrNotExist) || errors.Is(err, driver.ErrInvalidPath) {
		return false, nil
	}
	return err == nil, err
}

func (t *tags) History(ctx context.Context, tag string) ([]digest.Digest, error) {
	if _, err := t.Get(ctx, tag); err != nil && !errors.Is(err, ErrCorrupt) {
		return nil, err
	}
	var history []digest.Digest
	err := links{t.driver(), indexPath(tagPath(t.repo.name, tag))}.enumerate(ctx, func(d digest.Digest) error {
		history = append(history, d)
		return nil
	})
	return history, t.repo.fail("history", tag, err)
}
