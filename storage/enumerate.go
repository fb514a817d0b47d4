package storage

import (
	"context"
	"errors"
	"path"
	"strings"

	"registryfs/digest"
	"registryfs/driver"
)

// enumerate calls fn for each digest that has a link, in no order.
func (l links) enumerate(ctx context.Context, fn func(digest.Digest) error) error {
	algorithms, err := l.algorithms(ctx)
	if err != nil {
		return err
	}
	for _, alg := range algorithms {
		dirs, err := l.list(ctx, path.Join(l.dir, algorithmPath(alg)))
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := ctx.Err(); err != nil {
				return err
			}
			d, err := digest.FromHex(alg.String(), path.Base(dir))
			if err != nil {
				continue
			}
			// A registry that deletes a link leaves its directory. What can be
			// no link at all does not keep the others from being found.
			switch _, err := l.driver.Stat(ctx, linkPath(l.dir, d)); {
			case errors.Is(err, driver.ErrNotExist), errors.Is(err, driver.ErrInvalidPath):
				continue
			case err != nil:
				return err
			}
			if err := fn(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// algorithms is those by which links of the set are named.
func (l links) algorithms(ctx context.Context) ([]digest.Algorithm, error) {
	dirs, err := l.list(ctx, l.dir)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, dir := range dirs {
		found[path.Base(dir)] = true
	}
	var algorithms []digest.Algorithm
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512, digest.TarsumV1, digest.TarsumV0} {
		if first, _, _ := strings.Cut(algorithmPath(alg), "/"); found[first] {
			algorithms = append(algorithms, alg)
		}
	}
	return algorithms, nil
}

// list is List of a directory that may be missing.
func (l links) list(ctx context.Context, dir string) ([]string, error) {
	children, err := l.driver.List(ctx, dir)
	if errors.Is(err, driver.ErrNotExist) {
		return nil, nil
	}
	return children, err
}
