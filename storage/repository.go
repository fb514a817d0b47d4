package storage

import (
	"context"

	"registryfs/driver"
)

// repository is a Repository of a registry: a name, and three sets of links.
type repository struct {
	registry *registry
	name     string
}

var _ Repository = (*repository)(nil)

func (r *repository) Name() string { return r.name }

func (r *repository) Blobs() BlobStore { return r.linkedBlobs() }

func (r *repository) Manifests() ManifestStore { return r.manifests() }

func (r *repository) Tags() TagStore { return &tags{r} }

func (r *repository) linkedBlobs() *linkedBlobs {
	return &linkedBlobs{repo: r, links: links{r.registry.driver, layersPath(r.name)}}
}

func (r *repository) manifests() *manifests {
	return &manifests{repo: r, links: links{r.registry.driver, revisionsPath(r.name)}}
}

// prepare makes what a stock registry expects of every repository: without
// _layers, the garbage collectors of 2.8 and 3.x lose its images or give up.
func (r *repository) prepare(ctx context.Context) error {
	if err := r.registry.writable(); err != nil {
		return err
	}
	return driver.MakeDir(ctx, r.registry.driver, layersPath(r.name))
}

// fail wraps an error of an operation on the repository.
func (r *repository) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Repo: r.name, Name: name, Err: err}
}
