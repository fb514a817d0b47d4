package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
)

// Beside a user (another process, which writes) a collection sweeps each thing
// so:
//
//	collection                            user
//	1  mark
//	2  leased? then keep it               a  lease it
//	3  move it to swept/                  b  is it there? else look in swept/,
//	4  leased, or the user gone?             and move it back
//	   then move it back                  c  link it, name it in a manifest or tag
//
// Whatever the order, 3 comes before b, and b finds it missing and moves it
// back, or b before 3, so a before 4, and 4 sees the lease. What a user has named
// since the mark is leased for longer than a collection may last. A directory
// that the user is writing a link into moves with the link, and back.
//
// What is in swept/ is removed by a later collection, with all that its run set
// aside: after a mark that began when it was there already, and looked at it as
// if it were at its place. It can be named only by who moves it back first.
// Before it is deleted it is renamed, in one step, to where nobody looks, so that
// either it is deleted or it is moved back.
//
// A collection or a user that dies in between leaves something that is needed in
// swept/ at worst: there it is found as soon as anybody asks, and by the next
// collection.

// sweptRun is an earlier collection that has set things aside.
type sweptRun struct {
	dir     string
	isEnded bool // for longer than the grace
}

// layoutDoomed is where runs go before they are deleted.
const layoutDoomed = layoutSwept + "/doomed"

// errKept says that something is needed after all.
var errKept = errors.New("somebody relies on it")

// findSwept finds what earlier runs have set aside.
func (c *collection) findSwept(ctx context.Context) error {
	if !c.options.DryRun {
		if err := ignore(c.registry.driver.Delete(ctx, layoutDoomed)); err != nil {
			return err
		}
	}
	dirs, _, err := c.list(ctx, "", layoutSwept)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		when, ok := parseStamp(path.Base(dir))
		if !ok || !driver.ValidPath(dir) {
			continue
		}
		run := &sweptRun{dir: dir, isEnded: c.now.since(when) >= max(c.options.Grace, 0)}
		c.runs = append(c.runs, run)
		err := c.eachBelow(ctx, sweptPath(dir, layoutBlobs), 3, func(p string) error {
			d, err := digest.FromHex(path.Base(path.Dir(path.Dir(p))), path.Base(p))
			if err == nil && c.sweptContent[d] == nil {
				c.sweptContent[d] = run
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// alsoSwept adds to the children of a directory those that runs have set aside.
func (c *collection) alsoSwept(ctx context.Context, dir string, children []string) ([]string, error) {
	for _, run := range c.runs {
		swept, _, err := c.list(ctx, "", sweptPath(run.dir, dir))
		if err != nil {
			return nil, err
		}
		for _, child := range swept {
			children = append(children, path.Join(dir, path.Base(child)))
		}
	}
	slices.Sort(children)
	return slices.Compact(children), nil
}

// parseSwept is parse of content that was set aside.
func (m *marking) parseSwept(ctx context.Context, run *sweptRun, d, target digest.Digest) (manifest.Manifest, error) {
	payload, _, err := driver.GetFile(ctx, m.registry.driver, sweptPath(run.dir, blobPath(target)), manifest.MaxSize)
	if errors.Is(err, driver.ErrNotExist) {
		return nil, asManifest(ErrBlobUnknown)
	}
	if errors.Is(err, driver.ErrTooLarge) {
		return nil, ErrTooLarge
	}
	if err != nil {
		return nil, err
	}
	for _, name := range []digest.Digest{target, d} {
		if !digest.IsTarsum(name) && name.Algorithm().FromBytes(payload) != name {
			return nil, fmt.Errorf("%w: %s", ErrCorrupt, sweptPath(run.dir, blobPath(target)))
		}
	}
	return manifest.Parse("", payload)
}

// sweepLink takes a link away that nothing needs, with its directory, unless
// somebody relies on it.
func (m *marking) sweepLink(ctx context.Context, it Collected, link foundLink) (kept bool, err error) {
	if link.run == nil {
		return m.sweepAway(ctx, it, path.Join(it.Path, "link"), it.Digest, link.target)
	}
	kept, err = m.isKept(ctx, it.Digest, link.target)
	if err == nil && !kept && link.run.isEnded {
		m.ending = append(m.ending, it)
	}
	return kept, err
}

// isKept reports whether the user relies on something.
func (c *collection) isKept(ctx context.Context, names ...digest.Digest) (bool, error) {
	if !c.isOnline() {
		return false, nil
	}
	return c.registry.isLeased(ctx, names...)
}

// sweepAway removes the directory of a link or of content, or sets it aside.
// file is what is in it, and the names are what it may be leased as.
func (c *collection) sweepAway(ctx context.Context, it Collected, file string, names ...digest.Digest) (kept bool, err error) {
	if kept, err := c.isKept(ctx, names...); kept || err != nil {
		return kept, err
	}
	children, stays, err := c.inside(ctx, it, path.Base(file))
	switch {
	case err != nil || stays:
		return stays, err
	case !c.isOnline() && it.Kind == CollectLeftover:
		return false, c.removeLeft(ctx, it, children)
	case !c.isOnline():
		return false, c.remove(ctx, it)
	}
	err = driver.MoveDir(ctx, c.registry.driver, it.Path, sweptPath(c.run, it.Path))
	if errors.Is(err, driver.ErrNotExist) {
		return false, nil // its user has removed it
	}
	if err == nil {
		err = c.mayGo(ctx, names...)
	}
	if err == nil {
		c.done(it, CollectAside)
		return false, nil
	}
	// Also where the move failed: it may have been done all the same.
	back := ignore(c.registry.bringBack(context.WithoutCancel(ctx), c.run, file))
	if errors.Is(err, errKept) {
		return true, back
	}
	return false, errors.Join(err, back)
}

// mayGo reports why something that has just been set aside must not go.
func (c *collection) mayGo(ctx context.Context, names ...digest.Digest) error {
	switch marked, err := c.registry.isMarked(ctx); {
	case err != nil:
		return err
	case !marked:
		return fmt.Errorf("%w: whoever used the store alone has ended: begin anew", ErrInUse)
	}
	if lasted := c.registry.now().since(c.now); lasted >= leaseKinds[leaseNamed].period {
		return fmt.Errorf("what was found out about the store is %v old: begin anew", lasted)
	}
	leased, err := c.registry.isLeased(ctx, names...)
	if err == nil && leased {
		err = errKept
	}
	return err
}

// restoreLink brings a link back that is needed, and before it its content.
func (m *marking) restoreLink(ctx context.Context, it Collected, link foundLink) error {
	if run := m.sweptContent[link.target]; run != nil {
		if err := m.restoreContent(ctx, link.target, run); err != nil {
			return err
		}
	}
	return m.restore(ctx, it, path.Join(it.Path, "link"), link.run)
}

func (c *collection) restore(ctx context.Context, it Collected, file string, run *sweptRun) error {
	if !c.options.DryRun {
		err := c.registry.bringBack(ctx, run.dir, file)
		if errors.Is(err, driver.ErrNotExist) {
			return nil // its user was faster
		}
		if err != nil {
			return err
		}
	}
	c.done(it, CollectRestored)
	return nil
}

// restoreContent brings content back, unless there is some at its place.
func (c *collection) restoreContent(ctx context.Context, d digest.Digest, run *sweptRun) error {
	if _, err := c.registry.driver.Stat(ctx, blobPath(d)); !errors.Is(err, driver.ErrNotExist) {
		return err
	}
	delete(c.sweptContent, d)
	it, err := c.sweptBlob(ctx, d, run)
	if err != nil || it.Path == "" {
		return err
	}
	return c.restore(ctx, it, blobPath(d), run)
}

// sweptBlob describes content that a run has set aside; nothing, where its user
// has taken it back.
func (c *collection) sweptBlob(ctx context.Context, d digest.Digest, run *sweptRun) (Collected, error) {
	info, err := c.registry.driver.Stat(ctx, sweptPath(run.dir, blobPath(d)))
	if err != nil {
		return Collected{}, ignore(err)
	}
	return Collected{Kind: CollectBlob, Digest: d, Path: path.Dir(blobPath(d)), Size: info.Size}, nil
}

// sweepSweptContent looks a second time at content that was set aside.
func (c *collection) sweepSweptContent(ctx context.Context) error {
	for _, d := range slices.Sorted(maps.Keys(c.sweptContent)) {
		run := c.sweptContent[d]
		keep := c.live[d] || c.summary.ContentKept
		if !keep {
			info, err := c.registry.driver.Stat(ctx, sweptPath(run.dir, blobPath(d)))
			if err := ignore(err); err != nil {
				return err
			}
			keep = err == nil && !c.isOld(info.ModTime)
		}
		if !keep {
			var err error
			if keep, err = c.isKept(ctx, d); err != nil {
				return err
			}
		}
		if keep {
			if err := c.restoreContent(ctx, d, run); err != nil {
				return err
			}
		} else if run.isEnded {
			it, err := c.sweptBlob(ctx, d, run)
			if err != nil {
				return err
			}
			if it.Path != "" {
				c.ending = append(c.ending, it)
			}
		}
	}
	return nil
}

// endRuns deletes the runs that have been aside for long enough. By now whatever
// of them is needed has been brought back.
func (c *collection) endRuns(ctx context.Context) error {
	if c.summary.ContentKept {
		return nil
	}
	for _, run := range c.runs {
		if !run.isEnded || c.options.DryRun {
			continue
		}
		doomed := path.Join(layoutDoomed, path.Base(run.dir))
		if err := driver.MoveDir(ctx, c.registry.driver, run.dir, doomed); err != nil {
			return err
		}
		if err := c.registry.driver.Delete(ctx, doomed); err != nil {
			return err
		}
	}
	for _, it := range c.ending {
		c.done(it, CollectRemoved)
	}
	if c.options.DryRun {
		return nil
	}
	return c.registry.dropLeases(ctx)
}
