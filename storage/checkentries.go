package storage

import (
	"context"
	"errors"
	"path"
	"slices"

	"registryfs/driver"
)

// entry is what one name in a directory of the store is.
type entry struct {
	path, name string
	info       driver.FileInfo // zero for what is special
	special    bool            // neither a regular file nor a directory, or not to be named
}

func (e entry) isDir() bool  { return !e.special && e.info.IsDir }
func (e entry) isFile() bool { return !e.special && !e.info.IsDir }

// kind names what e is, for people.
func (e entry) kind() string {
	switch {
	case !driver.ValidPath(e.path):
		return "something by a name that no registry gives"
	case e.special:
		return "a symlink or a special file"
	case e.info.IsDir:
		return "a directory"
	}
	return "a file"
}

// isTemp reports whether e is what a driver, or a stock registry, writes before
// it renames it to name.
func (e entry) isTemp(name string) bool {
	ok, _ := path.Match(name+".*.tmp", e.name)
	return ok && e.isFile()
}

// list is what is in a directory, in the order of the names. What cannot be
// looked at is reported and left out; an error is a reason to give up.
func (c *checker) list(ctx context.Context, dir, repo string) ([]entry, error) {
	paths, err := c.registry.driver.List(ctx, dir)
	if errors.Is(err, driver.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, c.unreadable(ctx, dir, repo, "", err)
	}
	slices.Sort(paths)
	entries := make([]entry, 0, len(paths))
	for _, p := range paths {
		e := entry{path: p, name: path.Base(p)}
		e.info, err = c.registry.driver.Stat(ctx, p)
		switch {
		case errors.Is(err, driver.ErrNotExist):
			continue
		case errors.Is(err, driver.ErrInvalidPath):
			e.special = true
		case err != nil:
			if err := c.unreadable(ctx, p, repo, "", err); err != nil {
				return nil, err
			}
			continue
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// unreadable reports what failed for a reason that says nothing about the
// store. The error is that of a context that has ended.
func (c *checker) unreadable(ctx context.Context, p, repo, name string, why error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.unread[repo] = true
	c.report(ctx, Finding{
		Kind: FindingUnreadable, Damage: true, Repository: repo, Name: name, Path: p, Reason: why.Error(),
		Remedy: "see to it that it can be read, and check again",
	}, nil)
	return nil
}

// foreign reports what does not belong where it is. A repair takes it away
// only where it does damage.
func (c *checker) foreign(ctx context.Context, e entry, repo string, damage bool) {
	c.mayHide(e, repo)
	f := Finding{Kind: FindingForeign, Damage: damage, Repository: repo, Path: e.path, Reason: e.kind() + " that does not belong here"}
	var fix func(context.Context) (string, error)
	if damage {
		fix = c.putAside(e.path)
	}
	c.report(ctx, f, fix)
}

// notDir reports what stands in the place of a directory.
func (c *checker) notDir(ctx context.Context, e entry, repo string) {
	c.mayHide(e, repo)
	c.report(ctx, Finding{
		Kind: FindingCorrupt, Damage: true, Repository: repo, Path: e.path,
		Reason: e.kind() + " in the place of a directory",
	}, c.putAside(e.path))
}

// mayHide notes that something of a repository cannot be seen, if e is special:
// a symlink may lead to it, or it may have been renamed.
func (c *checker) mayHide(e entry, repo string) {
	if e.special {
		c.unread[repo] = true
	}
}

// temporary reports what a writer that died has left.
func (c *checker) temporary(ctx context.Context, e entry, repo string) {
	c.report(ctx, Finding{
		Kind: FindingLeftover, Repository: repo, Path: e.path, Reason: "a temporary of a write that did not end",
	}, c.putLeftoverAside(e.path))
}
