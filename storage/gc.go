package storage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
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
// What cannot be read may need anything: it is reported, and its repository
// keeps all that it has.
type Collector interface {
	// Collect removes what nothing needs, and calls fn with each thing that is
	// gone, or that would be, and with each that cannot be read. fn may be nil.
	// The summary tells what was done even where an error ended it. Errors:
	// [ErrReadOnly]; [ErrUnsupported] where somebody may be writing.
	Collect(ctx context.Context, o CollectOptions, fn func(Collected)) (CollectSummary, error)
}

// CollectOptions say what is collected.
type CollectOptions struct {
	// Offline is the caller's word that nobody else writes to the store. Without
	// it only a DryRun is done.
	Offline bool
	// DryRun changes nothing, and says what would be removed.
	DryRun bool
	// Untagged also removes manifests that no tag reaches, directly or through
	// indexes. Those with a subject (signatures, SBOMs) live as long as that,
	// and do not keep it alive.
	Untagged bool
	// Grace keeps all that is younger, by the times of its files; what has a
	// time to come is young.
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

// Collected is one thing that a collection met.
type Collected struct {
	Kind       CollectKind
	Repository string        // empty for content, and outside of repositories
	Digest     digest.Digest // empty for a leftover, or where it is not known
	Path       string        // in the store
	Size       int64         // bytes of content
	Err        error         // what is wrong with damage
}

// CollectSummary counts what a collection met.
type CollectSummary struct {
	Repositories                       int
	Manifests, Links, Blobs, Leftovers int   // removed, or that would be
	Bytes                              int64 // of the blobs
	Damage                             int
	// ContentKept says that no content was removed: what cannot be read may
	// need any of it.
	ContentKept bool
}

var _ Collector = (*registry)(nil)

func (r *registry) Collect(ctx context.Context, o CollectOptions, fn func(Collected)) (CollectSummary, error) {
	if !o.DryRun {
		if err := r.writable(); err != nil {
			return CollectSummary{}, err
		}
		if !o.Offline {
			return CollectSummary{}, fmt.Errorf("%w: collecting garbage while others may write needs a store marked exclusive, which there is not yet", ErrUnsupported)
		}
	}
	c := &collection{
		registry: r,
		options:  o,
		before:   time.Now().Add(-max(o.Grace, 0)),
		fn:       fn,
		live:     map[digest.Digest]bool{},
		damaged:  map[string]bool{},
		keeps:    map[string]bool{},
	}
	err := c.namespace(ctx, "")
	if err == nil {
		err = c.sweepContent(ctx)
	}
	if err == nil {
		err = c.sweepLeftovers(ctx)
	}
	return c.summary, err
}

// collection is one run of Collect.
type collection struct {
	registry *registry
	options  CollectOptions
	before   time.Time // what changed last before this is old
	fn       func(Collected)
	summary  CollectSummary

	live    map[digest.Digest]bool // content that links lead to
	damaged map[string]bool        // paths that have been reported
	keeps   map[string]bool        // repositories with any of them
}

// namespace collects in each repository below a name, and in that of the name
// itself. Names that a registry would not accept are looked into as well: what
// is there may have been put there by another.
func (c *collection) namespace(ctx context.Context, name string) error {
	dir := repoPath(name)
	children, isDir, err := c.list(ctx, name, dir)
	if err != nil || !isDir {
		return err
	}
	if len(children) == 0 && name != "" {
		return c.removeOld(ctx, Collected{Kind: CollectLeftover, Path: dir}, dir)
	}
	isRepository := func(child string) bool { return isReserved(path.Base(child)) }
	if name != "" && slices.ContainsFunc(children, isRepository) {
		if err := c.repository(ctx, name); err != nil {
			return err
		}
	}
	for _, child := range slices.DeleteFunc(children, isRepository) {
		if err := c.namespace(ctx, path.Join(name, path.Base(child))); err != nil {
			return err
		}
	}
	return nil
}

func (c *collection) repository(ctx context.Context, name string) error {
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
	if err := m.mark(ctx); err != nil {
		return err
	}
	return m.sweep(ctx)
}

// list is List, in order, of what should be a directory or missing. A file is
// neither, and nobody's business. A directory that cannot be looked into may
// hold links to any content.
func (c *collection) list(ctx context.Context, repo, dir string) (children []string, isDir bool, err error) {
	children, err = c.registry.driver.List(ctx, dir)
	switch {
	case err == nil:
		slices.Sort(children)
		return children, true, nil
	case errors.Is(err, driver.ErrNotExist):
		return nil, false, nil
	case !errors.Is(err, driver.ErrInvalidPath):
		return nil, false, err
	}
	info, statErr := c.registry.driver.Stat(ctx, dir)
	if statErr == nil && !info.IsDir {
		return nil, false, nil
	}
	c.summary.ContentKept = true
	c.damage(Collected{Repository: repo, Path: dir, Err: err})
	return nil, false, ctx.Err()
}

// isOld reports whether a file or directory may go.
func (c *collection) isOld(modTime time.Time) bool {
	return !modTime.IsZero() && modTime.Before(c.before)
}

// removeOld removes a path if what is at by is old.
func (c *collection) removeOld(ctx context.Context, it Collected, by string) error {
	info, err := c.registry.driver.Stat(ctx, by)
	if errors.Is(err, driver.ErrNotExist) || err == nil && !c.isOld(info.ModTime) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.remove(ctx, it)
}

// remove removes a path, which is durable then, and tells of it.
func (c *collection) remove(ctx context.Context, it Collected) error {
	if !c.options.DryRun {
		err := c.registry.driver.Delete(ctx, it.Path)
		if err != nil && !errors.Is(err, driver.ErrNotExist) {
			return err
		}
	}
	switch it.Kind {
	case CollectManifest:
		c.summary.Manifests++
	case CollectLink:
		c.summary.Links++
	case CollectBlob:
		c.summary.Blobs++
		c.summary.Bytes += it.Size
	default:
		c.summary.Leftovers++
	}
	c.tell(it)
	return nil
}

// damage tells, once, of what cannot be read.
func (c *collection) damage(it Collected) {
	if c.damaged[it.Path] {
		return
	}
	c.damaged[it.Path], c.keeps[it.Repository] = true, true
	c.summary.Damage++
	it.Kind = CollectDamage
	c.tell(it)
}

func (c *collection) tell(it Collected) {
	if c.fn != nil {
		c.fn(it)
	}
}
