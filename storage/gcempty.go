package storage

import (
	"context"
	"errors"
	"path"
	"slices"

	"registryfs/driver"
)

// ErrNoRepositories says that a store has content and not one repository.
var ErrNoRepositories = errors.New("storage: there is content, and not one repository")

// refuseEmpty refuses to take all content of a store for garbage. Where there is
// no repository, most likely a disk is not mounted, and its mount point is empty
// or missing. RemoveRepository leaves a sign that it is meant: in the directory
// that the repositories were in, since anywhere else it would be there too when
// they are not mounted.
func (c *collection) refuseEmpty(ctx context.Context) error {
	found, err := c.hasRepository(ctx, "")
	switch {
	case err != nil:
		return err
	case found && c.options.DryRun:
		return nil
	case found: // of the removal of another
		return ignore(c.registry.driver.Delete(ctx, layoutRemoved))
	case c.summary.ContentKept: // there may be one that cannot be seen
		return nil
	}
	_, err = c.registry.driver.Stat(ctx, layoutRemoved)
	if !errors.Is(err, driver.ErrNotExist) {
		return err
	}
	refuse := func(string) error { return ErrNoRepositories }
	if err := c.eachBelow(ctx, layoutBlobs, 3, refuse); err != nil {
		return err
	}
	return c.eachBelow(ctx, layoutSwept, 1, refuse)
}

// hasRepository reports whether there is a repository of a name, or below it.
func (c *collection) hasRepository(ctx context.Context, name string) (bool, error) {
	children, _, err := c.list(ctx, name, repoPath(name))
	if err != nil {
		return false, err
	}
	isPart := func(child string) bool { return isReserved(path.Base(child)) }
	if name != "" && slices.ContainsFunc(children, isPart) {
		return true, nil
	}
	for _, child := range slices.DeleteFunc(children, isPart) {
		if found, err := c.hasRepository(ctx, path.Join(name, path.Base(child))); found || err != nil {
			return found, err
		}
	}
	return false, nil
}
