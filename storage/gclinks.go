package storage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"registryfs/digest"
	"registryfs/driver"
)

// foundLink is a link as a collection found it.
type foundLink struct {
	target  digest.Digest // content that it leads to; empty: not known
	isYoung bool
	run     *sweptRun // that has set it aside; nil: it is at its place
	isEmpty bool      // there is only a directory: a registry removed the link, or died making it
}

// links reads all links of a set.
func (m *marking) links(ctx context.Context, set links) (map[digest.Digest]foundLink, error) {
	found := map[digest.Digest]foundLink{}
	if err := m.algorithms(ctx, set, set.dir, found); err != nil {
		return nil, err
	}
	for _, run := range m.runs {
		swept, aside := links{set.driver, sweptPath(run.dir, set.dir)}, map[digest.Digest]foundLink{}
		if err := m.algorithms(ctx, swept, swept.dir, aside); err != nil {
			return nil, err
		}
		for d, link := range aside {
			if here, isHere := found[d]; !link.isEmpty && (!isHere || here.isEmpty) {
				link.run = run
				found[d] = link
			}
		}
	}
	return found, nil
}

func (m *marking) algorithms(ctx context.Context, set links, dir string, found map[digest.Digest]foundLink) error {
	children, _, err := m.list(ctx, dir)
	if err != nil {
		return err
	}
	for _, child := range children {
		place := strings.TrimPrefix(child, set.dir+"/")
		alg, isAlgorithm, isAbove := algorithmAt(place)
		if isAbove {
			if err := m.algorithms(ctx, set, child, found); err != nil {
				return err
			}
			continue
		}
		if !isAlgorithm {
			if err := m.foreign(ctx, m.repo.name, child); err != nil {
				return err
			}
			continue
		}
		dirs, _, err := m.list(ctx, child)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			d, err := digest.FromHex(alg.String(), path.Base(dir))
			if err == nil {
				found[d], err = m.link(ctx, set, d)
			} else {
				err = m.foreign(ctx, m.repo.name, dir)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// link reads one link. What cannot be read is taken for young.
func (m *marking) link(ctx context.Context, set links, d digest.Digest) (foundLink, error) {
	p := linkPath(set.dir, d)
	link := foundLink{isYoung: true}
	if digest.IsCanonical(d) {
		link.target = d
	}
	target, _, err := readLink(ctx, m.registry.driver, p)
	if errors.Is(err, errNoLink) {
		link.isEmpty, p = true, path.Dir(p)
		if info, err := m.registry.driver.Stat(ctx, p); err == nil {
			link.isYoung = !m.isOld(info.ModTime)
		}
		return link, ctx.Err()
	}
	if err == nil {
		if link.target != "" && link.target != target {
			m.live[target] = true // which of the two was meant is not known
			err = fmt.Errorf("%w: it names %s", ErrCorrupt, target)
		} else {
			link.target = target
		}
	}
	var info driver.FileInfo
	if err == nil {
		info, err = m.registry.driver.Stat(ctx, p)
	}
	switch {
	case err == nil:
		link.isYoung = !m.isOld(info.ModTime)
	case ctx.Err() != nil:
		return link, ctx.Err()
	case link.target == "": // then it may lead to any content
		m.hidden(p, d, err)
	default:
		m.broken(p, d, err)
	}
	return link, nil
}

// list is that of the collection, in the repository.
func (m *marking) list(ctx context.Context, dir string) ([]string, bool, error) {
	return m.collection.list(ctx, m.repo.name, dir)
}

// broken keeps all that the repository has, because of what cannot be read.
func (m *marking) broken(p string, d digest.Digest, err error) {
	m.damage(Collected{Repository: m.repo.name, Path: p, Digest: d, Err: err})
}

// hidden keeps all content of the store too.
func (m *marking) hidden(p string, d digest.Digest, err error) {
	m.summary.ContentKept = true
	m.broken(p, d, err)
}

// keepsAll reports whether anything in the repository cannot be read.
func (m *marking) keepsAll() bool { return m.keeps[m.repo.name] }
