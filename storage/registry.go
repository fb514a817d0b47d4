package storage

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"registryfs/driver"
)

// lockStripes bounds the locks of a registry; names share them by hash.
const lockStripes = 64

// registry is a Registry over a driver.
type registry struct {
	driver  driver.Driver
	options Options
	log     *slog.Logger
	clock   Clock
	blobs   *blobs
	leases  atomic.Pointer[leases] // of an exclusive user; nil: nobody wants to know

	seed    maphash.Seed
	tags    [lockStripes]sync.RWMutex // by repository: a tag's move is one step for readers
	refs    [lockStripes]sync.RWMutex // by repository: see refsLock
	links   [lockStripes]sync.Mutex   // by path: see lockLink
	emptied atomic.Pointer[stamp]     // the last look through the trash, or nil
	commits sync.Map                  // the ids of uploads that are being committed here
}

var _ Registry = (*registry)(nil)

func newRegistry(d driver.Driver, o Options) *registry {
	return &registry{
		driver:  d,
		options: o,
		log:     o.Logger,
		clock:   o.Clock,
		blobs:   newBlobs(d, o.Logger),
		seed:    maphash.MakeSeed(),
	}
}

func (r *registry) Repository(name string) (Repository, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return r.repository(name), nil
}

func (r *registry) repository(name string) *repository {
	return &repository{registry: r, name: name}
}

func (r *registry) List(ctx context.Context, namespace string) ([]string, error) {
	if namespace != "" {
		if err := CheckName(namespace); err != nil {
			return nil, err
		}
	}
	children, err := r.driver.List(ctx, path.Join(layoutRepos, namespace))
	switch {
	case errors.Is(err, driver.ErrNotExist) && namespace == "":
		return nil, nil
	case errors.Is(err, driver.ErrNotExist), errors.Is(err, driver.ErrInvalidPath):
		return nil, fmt.Errorf("%w: %q", ErrRepositoryUnknown, namespace)
	case err != nil:
		return nil, err
	}
	names := make([]string, 0, len(children))
	for _, child := range children {
		name := path.Join(namespace, path.Base(child))
		if !isReserved(path.Base(child)) && CheckName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (r *registry) Exists(ctx context.Context, name string) (bool, error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	info, err := r.driver.Stat(ctx, repoPath(name))
	switch {
	case errors.Is(err, driver.ErrNotExist), errors.Is(err, driver.ErrInvalidPath):
		return false, nil
	case err != nil:
		return false, err
	}
	return info.IsDir, nil
}

func (r *registry) Stat(ctx context.Context, name string) (Entry, error) {
	if err := CheckName(name); err != nil {
		return Entry{}, err
	}
	children, err := r.driver.List(ctx, repoPath(name))
	switch {
	case errors.Is(err, driver.ErrNotExist), errors.Is(err, driver.ErrInvalidPath):
		return Entry{}, fmt.Errorf("%w: %q", ErrRepositoryUnknown, name)
	case err != nil:
		return Entry{}, err
	}
	entry := Entry{Name: name}
	for _, child := range children {
		if isPart(child) {
			entry.Repository = true
		} else if !entry.Namespace && CheckName(path.Join(name, path.Base(child))) == nil {
			entry.Namespace = true // one will do: there may be thousands
		}
	}
	return entry, nil
}

func (r *registry) Space(ctx context.Context) (Space, error) {
	space, err := driver.SpaceOf(ctx, r.driver)
	if errors.Is(err, errors.ErrUnsupported) {
		err = ErrUnsupported
	}
	return Space(space), err
}

// writable is nil unless the registry was opened for reading only.
func (r *registry) writable() error {
	if r.options.ReadOnly {
		return ErrReadOnly
	}
	return nil
}

// deletable is nil where blobs and manifests may be deleted.
func (r *registry) deletable() error {
	if err := r.writable(); err != nil {
		return err
	}
	if !r.options.AllowDelete {
		return fmt.Errorf("%w: deletion is disabled", ErrUnsupported)
	}
	return nil
}

// refsLock is the lock between who checks that something is there, to name it,
// and who checks that nothing names it, to remove it. It is taken before the
// lock of the tags: shared to add a name, alone to remove what has one.
func (r *registry) refsLock(name string) *sync.RWMutex {
	return &r.refs[maphash.String(r.seed, name)%lockStripes]
}

// tagLock is the lock over the tags of a repository.
func (r *registry) tagLock(name string) *sync.RWMutex {
	return &r.tags[maphash.String(r.seed, name)%lockStripes]
}
