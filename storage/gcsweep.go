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

// sweep removes what the repository does not need, and marks the content of the
// links that stay.
func (m *marking) sweep(ctx context.Context) error {
	if err := m.sweepManifests(ctx); err != nil {
		return err
	}
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
			if !link.isEmpty || m.keepsAll() {
				m.live[d], m.live[link.target] = true, true
			}
			continue
		}
		it := Collected{Kind: CollectLink, Repository: m.repo.name, Digest: d, Path: path.Dir(linkPath(layersPath(m.repo.name), d))}
		if link.isEmpty {
			it.Kind = CollectLeftover
		}
		if err := m.remove(ctx, it); err != nil {
			return err
		}
	}
	return nil
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
		it := Collected{Kind: CollectManifest, Repository: m.repo.name, Digest: d, Path: path.Dir(linkPath(revisionsPath(m.repo.name), d))}
		if m.manifests[d].isEmpty {
			it.Kind = CollectLeftover
		}
		if err := m.remove(ctx, it); err != nil {
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

// sweepContent removes the content that no link leads to. What cannot be
// content is left to whoever put it there.
func (c *collection) sweepContent(ctx context.Context) error {
	if c.summary.ContentKept {
		return nil
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
	case errors.Is(err, driver.ErrNotExist): // it was removed, all but its directory
		return c.removeOld(ctx, Collected{Kind: CollectLeftover, Path: it.Path}, it.Path)
	case errors.Is(err, driver.ErrInvalidPath), err == nil && info.IsDir:
		return nil
	case err != nil:
		return err
	case !c.isOld(info.ModTime):
		return nil
	}
	it.Size = info.Size
	return c.remove(ctx, it)
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
		newest, err := c.newest(ctx, entry)
		if err != nil || !c.isOld(newest) {
			return err
		}
		return c.remove(ctx, Collected{Kind: CollectLeftover, Path: entry})
	})
	if err != nil {
		return err
	}
	return c.eachBelow(ctx, layoutTrash, 1, func(entry string) error {
		when, ok := discardedAt(entry)
		if !ok || !when.Before(time.Now().Add(-trashKept)) {
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
	if errors.Is(err, driver.ErrInvalidPath) {
		return time.Time{}, nil
	}
	return newest, err
}
