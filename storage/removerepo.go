package storage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"registryfs/driver"
)

// RepositoryRemover is implemented by registries that can remove repositories.
type RepositoryRemover interface {
	// RemoveRepository removes a repository: its tags, manifests and links, and
	// its uploads in progress. Whatever else is below its name stays. Content
	// goes when it is collected. Nobody else may use the store. Errors:
	// [ErrNameInvalid], [ErrRepositoryUnknown], [ErrInUse], [ErrReadOnly].
	RemoveRepository(ctx context.Context, name string) error
}

var _ RepositoryRemover = (*registry)(nil)

func (r *registry) RemoveRepository(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := r.writable(); err != nil {
		return err
	}
	held, err := r.lockAll(ctx)
	if err != nil {
		return err
	}
	defer held.Close()
	refs, tags := r.refsLock(name), r.tagLock(name)
	refs.Lock()
	defer refs.Unlock()
	tags.Lock()
	defer tags.Unlock()

	entry, err := r.Stat(ctx, name)
	switch {
	case err != nil:
		return err
	case !entry.Repository:
		return fmt.Errorf("%w: %q: there are only repositories below it", ErrRepositoryUnknown, name)
	}
	return r.repository(name).fail("remove repository", "", r.discardAll(ctx, name))
}

// discardAll removes all of a repository, and nothing else.
func (r *registry) discardAll(ctx context.Context, name string) error {
	if err := r.forgetSwept(ctx, name); err != nil {
		return err
	}
	if err := driver.MakeDir(ctx, r.driver, layoutRemoved); err != nil {
		return err
	}
	children, err := r.driver.List(ctx, repoPath(name))
	if err != nil {
		return err
	}
	parts := slices.DeleteFunc(slices.Clone(children), func(child string) bool { return !isPart(child) })
	if len(parts) < len(children) {
		return r.discardParts(ctx, name, parts)
	}
	return r.discardRepository(ctx, name)
}

// discardRepository removes a repository with nothing below it: in one step,
// where the driver can do that.
func (r *registry) discardRepository(ctx context.Context, name string) error {
	trashed, err := r.moveToTrash(ctx, repoPath(name), name)
	if err != nil {
		return err
	}
	// What uploads hold can be large, and is nothing to bring back.
	return ignoreMissing(r.driver.Delete(ctx, path.Join(trashed, path.Base(uploadsPath(name)))))
}

// discardParts removes a repository from among what is below it: tags before
// manifests before blobs, so that nothing that can be seen ever lacks anything.
// A repository without _layers is one that stock registries fail over, so that
// goes last.
func (r *registry) discardParts(ctx context.Context, name string, children []string) error {
	if err := ignoreMissing(r.driver.Delete(ctx, uploadsPath(name))); err != nil {
		return err
	}
	manifests := path.Dir(tagsPath(name))
	parts := []string{tagsPath(name), manifests}
	slices.Sort(children)
	for _, child := range children {
		if child != manifests && child != layersPath(name) {
			parts = append(parts, child)
		}
	}
	for _, part := range append(parts, layersPath(name)) {
		_, err := r.moveToTrash(ctx, part, path.Join(name, strings.TrimPrefix(part, repoPath(name))))
		if err := ignoreMissing(err); err != nil {
			return err
		}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, driver.ErrNotExist) {
		return nil
	}
	return err
}
