package storage

import (
	"context"
	"path"

	"github.com/google/uuid"
)

func (c *checker) checkRepositories(ctx context.Context) error {
	return c.checkNamespace(ctx, "")
}

// checkNamespace checks the repository of a name, if there is one, and all
// below it.
func (c *checker) checkNamespace(ctx context.Context, name string) error {
	entries, err := c.list(ctx, repoPath(name), name)
	if err != nil {
		return err
	}
	var parts, names []entry
	for _, e := range entries {
		switch {
		case e.path == layoutRemoved && e.isDir():
		case isReserved(e.name) && name != "":
			parts = append(parts, e)
		default:
			names = append(names, e)
		}
	}
	if err := c.checkRepository(ctx, name, parts); err != nil {
		return err
	}
	for _, e := range names {
		child := path.Join(name, e.name)
		switch {
		case e.special:
			c.foreign(ctx, e, name, true) // nobody knows what it hides
		case !e.isDir() || CheckName(child) != nil:
			c.foreign(ctx, e, name, false)
		default:
			err = c.checkNamespace(ctx, child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkRepository checks the parts of a repository.
func (c *checker) checkRepository(ctx context.Context, name string, parts []entry) error {
	found := map[string]entry{}
	for _, e := range parts {
		switch {
		case e.path != layersPath(name) && e.path != manifestsPath(name) && e.path != uploadsPath(name):
			c.foreign(ctx, e, name, false)
			continue
		case !e.isDir():
			c.notDir(ctx, e, name)
		}
		found[e.path] = e
	}
	layers, manifests := found[layersPath(name)], found[manifestsPath(name)]
	if layers.isDir() || manifests.isDir() {
		c.summary.Repositories++
		if err := c.checkContents(ctx, name, layers, manifests); err != nil {
			return err
		}
	}
	if found[uploadsPath(name)].isDir() {
		return c.checkUploads(ctx, name)
	}
	return nil
}

// checkContents checks layers, manifests and tags, each of which needs what
// comes before it.
func (c *checker) checkContents(ctx context.Context, name string, layers, manifests entry) error {
	r := &repoCheck{checker: c, repo: c.registry.repository(name), layers: linked{}, revisions: linked{}}
	hasLayers := layers.isDir()
	if !hasLayers && !layers.special { // others may have made it since
		info, err := c.registry.driver.Stat(ctx, layersPath(name))
		if ignore(err) != nil {
			return c.unreadable(ctx, layersPath(name), name, "", err)
		}
		hasLayers = err == nil && info.IsDir
	}
	switch {
	case hasLayers:
		set := linkSet{links: r.repo.linkedBlobs().links, repo: name}
		if err := c.checkLinksBelow(ctx, set, "", r.layers); err != nil {
			return err
		}
	case !layers.special:
		c.report(ctx, Finding{
			Kind: FindingHalfWritten, Damage: true, Repository: name, Path: layersPath(name),
			Reason: "the directory is not there, and without it stock garbage collectors lose the repository's images",
		}, c.makeDir(layersPath(name)))
	}
	if !manifests.isDir() {
		return nil
	}
	entries, err := c.list(ctx, manifestsPath(name), name)
	if err != nil {
		return err
	}
	for _, e := range entries { // revisions come before tags
		switch {
		case e.path != revisionsPath(name) && e.path != tagsPath(name):
			c.foreign(ctx, e, name, false)
		case !e.isDir():
			c.notDir(ctx, e, name)
		case e.path == revisionsPath(name):
			err = r.checkRevisions(ctx)
		default:
			err = r.checkTags(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// repoCheck is the check of one repository.
type repoCheck struct {
	*checker
	repo              *repository
	layers, revisions linked
}

// checkUploads counts the uploads of a repository: whoever writes one verifies
// it in the end.
func (c *checker) checkUploads(ctx context.Context, name string) error {
	entries, err := c.list(ctx, uploadsPath(name), name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := uuid.Parse(e.name); err != nil || !e.isDir() {
			c.foreign(ctx, e, name, false)
			continue
		}
		c.uploads[e.name] = true
		c.report(ctx, Finding{
			Kind: FindingLeftover, Repository: name, Name: e.name, Path: e.path, Reason: "an upload that has not ended",
		}, nil)
	}
	return nil
}
