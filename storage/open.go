package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"registryfs/driver"
	"registryfs/manifest"
)

// ErrNoRegistry says that a driver holds no registry, and none was to be made.
var ErrNoRegistry = fmt.Errorf("storage: no registry here: %w", fs.ErrNotExist)

// Options say how a registry is opened. The zero value reads and writes an
// existing one and deletes nothing.
type Options struct {
	Create        bool // make a registry where there is none
	ReadOnly      bool // refuse every change with ErrReadOnly
	AllowDelete   bool // let blobs and manifests be deleted
	SparseIndexes bool // let an index be tagged without its children
	ImmutableTags bool // a tag that exists can be neither moved nor removed
	Logger        *slog.Logger
	Clock         Clock // nil: the system's

	// URLs says which addresses manifests may carry; the zero value allows
	// none. Whatever it says, nothing is ever fetched from them.
	URLs manifest.URLPolicy
	// SigningKey signs manifests of schema 1 that were stored without
	// signatures, when the signed form is asked for; nil: they have none.
	SigningKey manifest.PrivateKey
}

// Open opens the registry that d holds. Errors: [ErrNoRegistry].
func Open(ctx context.Context, d driver.Driver, o Options) (Registry, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = newSystemClock()
	}
	_, err := d.Stat(ctx, layoutRoot)
	switch {
	case errors.Is(err, driver.ErrNotExist) && !o.Create:
		return nil, ErrNoRegistry
	case err != nil && !errors.Is(err, driver.ErrNotExist):
		return nil, fmt.Errorf("open registry: %w", err)
	}
	if !o.ReadOnly {
		for _, dir := range []string{layoutBlobs, layoutRepos} {
			if err := driver.MakeDir(ctx, d, dir); err != nil {
				return nil, fmt.Errorf("open registry: %w", err)
			}
		}
	}
	return newRegistry(d, o), nil
}
