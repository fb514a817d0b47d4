package driver

import (
	"context"
	"errors"
	"io/fs"
	"slices"
)

// WalkFunc is called for each file and directory below a root. Returning
// [SkipDir] for a directory leaves out what is in it, and for a file does
// nothing; [SkipAll] ends the walk without an error; any other error ends it
// with that error.
type WalkFunc func(FileInfo) error

// SkipDir and SkipAll are io/fs's, under the names of this package.
var (
	SkipDir = fs.SkipDir
	SkipAll = fs.SkipAll
)

// Walk calls fn for everything below root, parents before children and
// siblings in lexical order; root itself is not visited. What vanishes during
// the walk is passed over; what cannot be described ends it, as [ErrInvalidPath]
// where it is neither a file nor a directory, or no path can name it. It uses
// d's own [Walker] where there is one.
func Walk(ctx context.Context, d Driver, root string, fn WalkFunc) error {
	var err error
	if w, ok := d.(Walker); ok {
		err = w.Walk(ctx, root, fn)
	} else {
		err = walk(ctx, d, root, fn)
	}
	if errors.Is(err, SkipAll) {
		return nil
	}
	return err
}

func walk(ctx context.Context, d Driver, root string, fn WalkFunc) error {
	children, err := d.List(ctx, root)
	if err != nil {
		return err
	}
	return walkAll(ctx, d, children, fn)
}

// walkAll visits siblings and what is below them. Only its own calls of d may
// find that something has vanished: an ErrNotExist from fn is fn's to report.
func walkAll(ctx context.Context, d Driver, siblings []string, fn WalkFunc) error {
	slices.Sort(siblings)
	for _, path := range siblings {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := d.Stat(ctx, path)
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		switch err := fn(info); {
		case errors.Is(err, SkipDir):
			continue
		case err != nil:
			return err
		}
		if !info.IsDir {
			continue
		}
		children, err := d.List(ctx, path)
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := walkAll(ctx, d, children, fn); err != nil {
			return err
		}
	}
	return nil
}
