package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"registryfs/digest"
	"registryfs/driver"
)

// Collector is implemented by registries that can free what nothing needs.
//
// A repository needs its manifests, the children of its indexes, what its tags
// name, and the blobs and signatures of all these; content is needed as long as
// any repository has a link to it. The rest goes once it is old enough: first
// links, manifests before what they reference, and when no link is left that
// should not be there, content. So whatever interrupts a collection leaves a
// store that is whole, and the next one finishes. Nothing is written.
//
// Offline, what goes is gone. Beside the one process that has the store marked
// exclusive it is set aside first, for a grace, during which whoever misses it
// brings it back; a later collection looks a second time whether it is needed,
// and removes it. What that process relies on, as its leases say, stays.
//
// What cannot be read may need anything: it is reported, and its repository
// keeps all that it has.
type Collector interface {
	// Collect removes what nothing needs, and calls fn with each thing that is
	// gone, or that would be, and with each that cannot be read. fn may be nil.
	// The summary tells what was done even where an error ended it. Errors:
	// [ErrReadOnly]; [ErrInUse] where another process is in the way;
	// [ErrUnsupported] where anybody may be writing, and it is not offline;
	// [ErrNoRepositories], and nothing is removed, where there is none, unless
	// [RepositoryRemover] has removed the last.
	Collect(ctx context.Context, o CollectOptions, fn func(Collected)) (CollectSummary, error)
}

// CollectOptions say what is collected.
type CollectOptions struct {
	// Offline is the caller's word that nobody else writes to the store. Without
	// it the store must be in exclusive use: see [Claimer]. A DryRun needs
	// neither.
	Offline bool
	// DryRun changes nothing, and says what would be removed.
	DryRun bool
	// Untagged also removes manifests that no tag reaches, directly or through
	// indexes. Those with a subject (signatures, SBOMs) live as long as that,
	// and do not keep it alive.
	Untagged bool
	// Grace keeps all that is younger, by the times of its files; what has a
	// time to come is young. What is set aside stays for as long, by a clock
	// that nobody can set.
	Grace time.Duration
}

// CollectKind is a kind of thing that a collection meets.
type CollectKind string

// What a collection removes, and what it cannot read.
const (
	CollectManifest CollectKind = "manifest" // of a repository; its content goes as a blob
	CollectLink     CollectKind = "link"     // what makes a blob one of a repository's
	CollectBlob     CollectKind = "blob"     // content
	CollectLeftover CollectKind = "leftover" // of a crash, or of a deletion: no content
	CollectDamage   CollectKind = "damage"   // stays, as does all that it may need
)

// CollectStep is what was done about a thing.
type CollectStep string

const (
	CollectRemoved  CollectStep = "removed"  // it is gone
	CollectAside    CollectStep = "aside"    // a later collection removes it
	CollectRestored CollectStep = "restored" // it had been set aside, and is needed
)

// Collected is one thing that a collection met.
type Collected struct {
	Kind       CollectKind
	Step       CollectStep   // empty for damage
	Repository string        // empty for content, and outside of repositories
	Digest     digest.Digest // empty for a leftover, or where it is not known
	Path       string        // in the store
	Size       int64         // bytes of content
	Err        error         // what is wrong with damage
}

// CollectCounts counts things.
type CollectCounts struct {
	Manifests, Links, Blobs, Leftovers int
	Bytes                              int64 // of the blobs
}

// CollectSummary counts what a collection met.
type CollectSummary struct {
	Repositories  int
	CollectCounts // removed, or that would be
	Aside         CollectCounts
	Restored      CollectCounts
	Damage        int
	// ContentKept says that no content was removed: what cannot be read may
	// need any of it.
	ContentKept bool
}

var _ Collector = (*registry)(nil)

func (r *registry) Collect(ctx context.Context, o CollectOptions, fn func(Collected)) (CollectSummary, error) {
	c := &collection{
		registry:     r,
		options:      o,
		fn:           fn,
		live:         map[digest.Digest]bool{},
		sweptContent: map[digest.Digest]*sweptRun{},
		damaged:      map[string]bool{},
		keeps:        map[string]bool{},
	}
	if !o.DryRun {
		if err := r.writable(); err != nil {
			return c.summary, err
		}
		held, err := c.lock(ctx)
		if err != nil {
			return c.summary, err
		}
		defer held.Close()
	}
	c.now = r.now()
	c.before = c.now.wall.Add(-max(o.Grace, 0))
	if c.isOnline() {
		c.run = path.Join(layoutSwept, c.now.String())
	}
	for _, part := range []func(context.Context) error{
		c.refuseEmpty, c.findSwept, c.collectRepositories, c.sweepContent, c.endRuns, c.sweepLeftovers,
	} {
		if err := part(ctx); err != nil {
			return c.summary, err
		}
	}
	return c.summary, nil
}

// lock keeps others away: all of them, or those who would not leave a lease.
func (c *collection) lock(ctx context.Context) (io.Closer, error) {
	if c.options.Offline {
		return c.registry.lockAll(ctx)
	}
	held, err := c.registry.lockSweep(ctx)
	if err != nil {
		return nil, err
	}
	switch marked, err := c.registry.isMarked(ctx); {
	case err != nil:
		held.Close()
		return nil, err
	case !marked:
		held.Close()
		return nil, fmt.Errorf("%w: garbage is collected while others may write only in a store that one process uses and marks exclusive", ErrUnsupported)
	}
	return held, nil
}

func (c *collection) isOnline() bool { return !c.options.DryRun && !c.options.Offline }

// collection is one run of Collect.
type collection struct {
	registry *registry
	options  CollectOptions
	now      stamp     // when it began
	before   time.Time // what changed last before this is old
	run      string    // where it sets aside; empty: it removes
	fn       func(Collected)
	summary  CollectSummary

	runs         []*sweptRun // earlier ones
	sweptContent map[digest.Digest]*sweptRun
	ending       []Collected // what goes with runs that end

	live    map[digest.Digest]bool // content that links lead to
	damaged map[string]bool        // paths that have been reported
	keeps   map[string]bool        // repositories with any of them
}

// namespace collects in each repository below a name, and in that of the name
// itself. Names that a registry would not accept are looked into as well, as far
// as they can be: what is there may have been put there by another.
func (c *collection) namespace(ctx context.Context, name string) error {
	dir := repoPath(name)
	children, isDir, err := c.list(ctx, name, dir)
	if err != nil || !driver.ValidPath(dir) {
		return err
	}
	isEmpty := isDir && len(children) == 0
	if children, err = c.alsoSwept(ctx, dir, children); err != nil {
		return err
	}
	if isEmpty && len(children) == 0 && name != "" && !c.isOnline() { // somebody may just have made it
		isOld, err := c.isOldDir(ctx, dir)
		if err != nil || !isOld {
			return err
		}
		return c.removeLeft(ctx, Collected{Kind: CollectLeftover, Path: dir}, nil)
	}
	var parts, below []string
	for _, child := range children {
		if isReserved(path.Base(child)) {
			parts = append(parts, child)
		} else {
			below = append(below, child)
		}
	}
	switch {
	case len(parts) == 0:
	case name == "":
		for _, part := range parts {
			if err := c.foreign(ctx, "", part); err != nil {
				return err
			}
		}
	default:
		if err := c.repository(ctx, name, parts); err != nil {
			return err
		}
	}
	for _, child := range below {
		if err := c.namespace(ctx, path.Join(name, path.Base(child))); err != nil {
			return err
		}
	}
	return nil
}

func (c *collection) collectRepositories(ctx context.Context) error { return c.namespace(ctx, "") }

// repository collects in a repository that consists of some parts.
func (c *collection) repository(ctx context.Context, name string, parts []string) error {
	lock := c.registry.refsLock(name)
	lock.Lock()
	defer lock.Unlock()
	c.summary.Repositories++
	m := &marking{
		collection: c,
		repo:       c.registry.repository(name),
		reached:    map[digest.Digest]bool{},
		needed:     map[digest.Digest]bool{},
		children:   map[digest.Digest][]digest.Digest{},
	}
	if err := m.foreignParts(ctx, parts); err != nil {
		return err
	}
	if err := m.mark(ctx); err != nil {
		return err
	}
	return m.sweep(ctx)
}

// list is List, in order, of what should be a directory or missing. A file is
// neither, and nobody's business. A directory that cannot be looked into may
// hold links to any content, where links are kept.
func (c *collection) list(ctx context.Context, repo, dir string) (children []string, isDir bool, err error) {
	children, err = c.registry.driver.List(ctx, dir)
	switch {
	case err == nil:
		slices.Sort(children)
		return children, true, nil
	case errors.Is(err, driver.ErrNotExist):
		return nil, false, nil
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	}
	info, statErr := c.registry.driver.Stat(ctx, dir)
	if statErr == nil && !info.IsDir {
		return nil, false, nil
	}
	if !driver.ValidPath(dir) {
		err = errForeign
	} else if _, rootErr := c.registry.driver.Stat(ctx, layoutRoot); rootErr != nil {
		return nil, false, err // nothing can be read
	}
	if strings.HasPrefix(dir, layoutRepos) || strings.HasPrefix(dir, layoutSwept) {
		c.summary.ContentKept = true
	}
	c.damage(Collected{Repository: repo, Path: dir, Err: err})
	return nil, false, ctx.Err()
}

// isOld reports whether a file or directory may go.
func (c *collection) isOld(modTime time.Time) bool {
	return !modTime.IsZero() && modTime.Before(c.before)
}

// isOldDir reports whether a directory in which nothing is may go.
func (c *collection) isOldDir(ctx context.Context, dir string) (bool, error) {
	info, err := c.registry.driver.Stat(ctx, dir)
	return err == nil && c.isOld(info.ModTime), ignoreMissing(err)
}

// remove removes a path, which is durable then, and tells of it.
func (c *collection) remove(ctx context.Context, it Collected) error {
	if !c.options.DryRun {
		err := c.registry.driver.Delete(ctx, it.Path)
		if err != nil && !errors.Is(err, driver.ErrNotExist) {
			return err
		}
	}
	c.done(it, CollectRemoved)
	return nil
}

// done counts and tells what was done about a thing.
func (c *collection) done(it Collected, step CollectStep) {
	it.Step = step
	counts := &c.summary.CollectCounts
	switch step {
	case CollectAside:
		counts = &c.summary.Aside
	case CollectRestored:
		counts = &c.summary.Restored
	}
	switch it.Kind {
	case CollectManifest:
		counts.Manifests++
	case CollectLink:
		counts.Links++
	case CollectBlob:
		counts.Blobs++
		counts.Bytes += it.Size
	default:
		counts.Leftovers++
	}
	c.tell(it)
}

// damage tells, once, of what cannot be read, which several repositories may
// have: content is shared.
func (c *collection) damage(it Collected) {
	c.keeps[it.Repository] = true
	if c.damaged[it.Path] {
		return
	}
	c.damaged[it.Path] = true
	c.summary.Damage++
	it.Kind = CollectDamage
	c.tell(it)
}

func (c *collection) tell(it Collected) {
	if c.fn != nil {
		c.fn(it)
	}
}
