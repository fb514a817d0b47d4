package storage

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"time"

	"registryfs/digest"
	"registryfs/driver"
)

// sweep takes away what the repository does not need, brings back what it does,
// and marks the content of the links that stay.
func (m *marking) sweep(ctx context.Context) error {
	if err := m.sweepManifests(ctx); err != nil {
		return err
	}
	if err := m.sweepLayers(ctx); err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(m.manifests)) {
		if link := m.manifests[d]; link.run != nil && (m.reached[d] || link.isYoung || m.keepsAll()) {
			if err := m.restoreLink(ctx, m.manifestAt(d), link); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *marking) sweepLayers(ctx context.Context) error {
	for d, link := range m.layers {
		if isAlias := link.target != d; isAlias && (m.needed[d] || link.isYoung || m.keepsAll()) {
			m.needed[link.target] = true
		}
	}
	for d := range m.needed {
		m.live[d] = true // with a link or without
	}
	for _, d := range slices.Sorted(maps.Keys(m.layers)) {
		link := m.layers[d]
		if m.needed[d] || m.needed[link.target] || m.reached[d] || link.isYoung || m.keepsAll() {
			if err := m.keepLayer(ctx, d); err != nil {
				return err
			}
			continue
		}
		kept, err := m.sweepLink(ctx, m.layerAt(d), link)
		if err == nil && kept {
			err = m.keepLayer(ctx, d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keepLayer marks the content of a link that stays, and sees to it that the
// link is at its place.
func (m *marking) keepLayer(ctx context.Context, d digest.Digest) error {
	link := m.layers[d]
	if !link.isEmpty || m.keepsAll() {
		m.live[d], m.live[link.target] = true, true
	}
	if link.run == nil {
		return nil
	}
	return m.restoreLink(ctx, m.layerAt(d), link)
}

func (m *marking) layerAt(d digest.Digest) Collected {
	return m.linkAt(CollectLink, layersPath(m.repo.name), d, m.layers[d])
}

func (m *marking) manifestAt(d digest.Digest) Collected {
	return m.linkAt(CollectManifest, revisionsPath(m.repo.name), d, m.manifests[d])
}

func (m *marking) linkAt(kind CollectKind, dir string, d digest.Digest, link foundLink) Collected {
	if link.isEmpty {
		kind = CollectLeftover
	}
	return Collected{Kind: kind, Repository: m.repo.name, Digest: d, Path: path.Dir(linkPath(dir, d))}
}

// sweepManifests removes indexes before what they list, so that none that can
// be seen ever lacks something.
func (m *marking) sweepManifests(ctx context.Context) error {
	if m.keepsAll() {
		return nil
	}
	var dead []digest.Digest
	for _, d := range slices.Sorted(maps.Keys(m.manifests)) {
		if !m.reached[d] && !m.manifests[d].isYoung {
			dead = append(dead, d)
		}
	}
	for _, d := range m.parentsFirst(dead) {
		if m.reached[d] { // by a parent that somebody relies on
			continue
		}
		link := m.manifests[d]
		kept, err := m.sweepLink(ctx, m.manifestAt(d), link)
		if err == nil && kept && !link.isEmpty {
			err = m.reach(ctx, []digest.Digest{d})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parentsFirst puts manifests before their children.
func (m *marking) parentsFirst(dead []digest.Digest) []digest.Digest {
	isDead, seen := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, d := range dead {
		isDead[d] = true
	}
	order := make([]digest.Digest, 0, len(dead))
	var visit func(d digest.Digest)
	visit = func(d digest.Digest) {
		if seen[d] || !isDead[d] {
			return
		}
		seen[d] = true
		for _, child := range m.children[d] {
			visit(child)
		}
		order = append(order, d)
	}
	for _, d := range dead {
		visit(d)
	}
	slices.Reverse(order)
	return order
}

// sweepContent takes away the content that no link leads to, and brings back
// what one does. What cannot be content is left to whoever put it there.
func (c *collection) sweepContent(ctx context.Context) error {
	if err := c.sweepSweptContent(ctx); err != nil || c.summary.ContentKept {
		return err
	}
	return c.eachBelow(ctx, layoutBlobs, 3, func(dir string) error {
		alg := path.Base(path.Dir(path.Dir(dir)))
		d, err := digest.FromHex(alg, path.Base(dir))
		if err != nil || c.live[d] || path.Dir(blobPath(d)) != dir {
			return nil
		}
		return c.sweepBlob(ctx, d)
	})
}

func (c *collection) sweepBlob(ctx context.Context, d digest.Digest) error {
	it := Collected{Kind: CollectBlob, Digest: d, Path: path.Dir(blobPath(d))}
	info, err := c.registry.driver.Stat(ctx, blobPath(d))
	switch {
	case errors.Is(err, driver.ErrNotExist) && c.isOnline(): // or somebody is just putting it there
		return nil
	case errors.Is(err, driver.ErrNotExist): // it was removed, all but its directory
		return c.sweepBlobDir(ctx, it.Path)
	case errors.Is(err, driver.ErrInvalidPath), err == nil && info.IsDir:
		return nil
	case err != nil:
		c.damage(Collected{Digest: d, Path: blobPath(d), Err: err})
		return ctx.Err()
	case !c.isOld(info.ModTime):
		return nil
	}
	it.Size = info.Size
	_, err = c.sweepAway(ctx, it, blobPath(d), d)
	return err
}

// sweepBlobDir removes the directory of content that is not there.
func (c *collection) sweepBlobDir(ctx context.Context, dir string) error {
	isOld, err := c.isOldDir(ctx, dir)
	if err != nil || !isOld {
		return err
	}
	it := Collected{Kind: CollectLeftover, Path: dir}
	children, stays, err := c.inside(ctx, it, "data")
	if err != nil || stays {
		return err
	}
	return c.removeLeft(ctx, it, children)
}

// eachBelow calls fn for each path so many levels below a directory.
func (c *collection) eachBelow(ctx context.Context, dir string, levels int, fn func(string) error) error {
	if levels == 0 {
		return fn(dir)
	}
	children, _, err := c.list(ctx, "", dir)
	if err != nil {
		return err
	}
	for _, child := range children {
		if !driver.ValidPath(child) { // no registry has put it there, and it leads to no content
			continue
		}
		if err := c.eachBelow(ctx, child, levels-1, fn); err != nil {
			return err
		}
	}
	return nil
}

// sweepLeftovers removes tags that were never finished, and what has been in
// the trash for long enough.
func (c *collection) sweepLeftovers(ctx context.Context) error {
	err := c.eachBelow(ctx, layoutStaging, 1, func(entry string) error {
		if c.isOnline() {
			return nil // its user may be building it
		}
		newest, err := c.newest(ctx, entry)
		if err != nil {
			c.damage(Collected{Path: entry, Err: err})
		}
		if err != nil || !c.isOld(newest) {
			return ctx.Err()
		}
		return c.remove(ctx, Collected{Kind: CollectLeftover, Path: entry})
	})
	if err != nil {
		return err
	}
	return c.eachBelow(ctx, layoutTrash, 1, func(entry string) error {
		if when, ok := discardedAt(entry); !ok || c.now.since(when) <= trashKept {
			return nil
		}
		return c.remove(ctx, Collected{Kind: CollectLeftover, Path: entry})
	})
}

// newest is the time of the last change at or below a path; zero where that
// cannot be known.
func (c *collection) newest(ctx context.Context, p string) (time.Time, error) {
	info, err := c.registry.driver.Stat(ctx, p)
	if errors.Is(err, driver.ErrNotExist) || errors.Is(err, driver.ErrInvalidPath) {
		return time.Time{}, nil
	}
	if err != nil || !info.IsDir {
		return info.ModTime, err
	}
	newest := info.ModTime
	err = driver.Walk(ctx, c.registry.driver, p, func(info driver.FileInfo) error {
		if info.ModTime.After(newest) {
			newest = info.ModTime
		}
		return nil
	})
	if errors.Is(err, driver.ErrNotExist) || errors.Is(err, driver.ErrInvalidPath) {
		return time.Time{}, nil
	}
	return newest, err
}
