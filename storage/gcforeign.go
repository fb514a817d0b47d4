package storage

import (
	"context"
	"errors"
	"path"

	"registryfs/driver"
)

// errForeign says that something is not what a registry puts where it is.
var errForeign = errors.New("no registry puts it there")

// foreign keeps all content where a directory that no registry makes has
// anything in it: it may have been moved from where it led to content.
func (c *collection) foreign(ctx context.Context, repo, dir string) error {
	inside, _, err := c.list(ctx, repo, dir)
	if err == nil && len(inside) > 0 {
		c.stranger(repo, dir)
	}
	return err
}

// stranger tells of what no registry puts where it is. In a repository, and
// beside one, it may lead to any content.
func (c *collection) stranger(repo, p string) {
	c.summary.ContentKept = true
	c.damage(Collected{Repository: repo, Path: p, Err: errForeign})
}

// foreignParts is foreign of what is in a repository beside its parts, and
// beside theirs.
func (m *marking) foreignParts(ctx context.Context, parts []string) error {
	name := m.repo.name
	within, _, err := m.list(ctx, manifestsPath(name))
	if err != nil {
		return err
	}
	for _, part := range append(parts, within...) {
		switch part {
		case layersPath(name), manifestsPath(name), uploadsPath(name), revisionsPath(name), tagsPath(name):
			continue
		}
		if err := m.foreign(ctx, name, part); err != nil {
			return err
		}
	}
	return nil
}

// isOwn reports whether a registry puts a child in the directory of a link, or
// of content, which is in a file of that name.
func isOwn(child, name string) bool {
	base := path.Base(child)
	isTemp, _ := path.Match(name+".*.tmp", base)
	return driver.ValidPath(child) && (base == name || isTemp || name == "link" && base == "signatures")
}

// inside is what is in a directory that is to go. What no registry puts there is
// told, and then the directory stays.
func (c *collection) inside(ctx context.Context, it Collected, name string) (children []string, stays bool, err error) {
	children, _, err = c.list(ctx, it.Repository, it.Path)
	for _, child := range children {
		switch {
		case isOwn(child, name):
			continue
		case it.Repository == "": // beside content there are no links
			c.damage(Collected{Path: child, Err: errForeign})
		default:
			c.stranger(it.Repository, child)
		}
		stays = true
	}
	return children, stays, err
}

// removeLeft removes a directory that is left over, with what is known to be in
// it. Whatever is put there meanwhile keeps it.
func (c *collection) removeLeft(ctx context.Context, it Collected, children []string) error {
	if c.options.DryRun {
		c.done(it, CollectRemoved)
		return nil
	}
	for _, child := range children {
		if err := ignoreMissing(c.registry.driver.Delete(ctx, child)); err != nil {
			return err
		}
	}
	err := driver.RemoveDir(ctx, c.registry.driver, it.Path)
	switch {
	case errors.Is(err, driver.ErrExist):
		return nil
	case ignoreMissing(err) != nil:
		return err
	}
	c.done(it, CollectRemoved)
	return nil
}
