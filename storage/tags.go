package storage

import (
	"context"
	"errors"
	"path"
	"slices"

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
