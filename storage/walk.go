package storage

import (
	"context"
	"errors"
)

// Walk calls fn with the name of each repository of a registry, in order,
// until fn fails. What vanishes meanwhile is passed over.
func Walk(ctx context.Context, reg Registry, fn func(name string) error) error {
	return walkNamespace(ctx, reg, "", fn)
}

func walkNamespace(ctx context.Context, reg Registry, namespace string, fn func(string) error) error {
	names, err := reg.List(ctx, namespace)
	if err != nil {
		return err
	}
	for _, name := range names {
		entry, err := reg.Stat(ctx, name)
		if errors.Is(err, ErrRepositoryUnknown) {
			continue
		}
		if err != nil {
			return err
		}
		if entry.Repository {
			if err := fn(name); err != nil {
				return err
			}
		}
		if entry.Namespace {
			if err := walkNamespace(ctx, reg, name, fn); err != nil {
				return err
			}
		}
	}
	return nil
}
