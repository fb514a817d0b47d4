package driver

import (
	"context"
	"errors"
)

// MoveNew renames the file src to dst, which must be free: an existing dst is
// [ErrExist], and nothing is changed. It uses d's own [NewMover] where there is
// one; otherwise who makes dst at the same moment may be replaced.
func MoveNew(ctx context.Context, d Driver, src, dst string) error {
	if m, ok := d.(NewMover); ok {
		return m.MoveNew(ctx, src, dst)
	}
	if _, err := d.Stat(ctx, src); err != nil {
		return err // whatever is at dst
	}
	switch _, err := d.Stat(ctx, dst); {
	case err == nil:
		return ErrExist
	case !errors.Is(err, ErrNotExist):
		return err
	}
	return d.Move(ctx, src, dst)
}
