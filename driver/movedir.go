package driver

import (
	"context"
	"errors"
	"strings"
)

// MoveDir moves the directory src to dst and makes the missing parents of dst.
// An existing dst is [ErrExist] and a dst inside src is [ErrInvalidPath]; then
// nothing is changed. It uses d's own [DirMover] where there is one. Otherwise
// the files are moved one by one: readers may see some of them on either side,
// after a failure too, and empty directories are not carried over.
func MoveDir(ctx context.Context, d Driver, src, dst string) error {
	if m, ok := d.(DirMover); ok {
		return m.MoveDir(ctx, src, dst)
	}
	if strings.HasPrefix(dst, src+"/") {
		return ErrInvalidPath
	}
	switch info, err := d.Stat(ctx, src); {
	case err != nil:
		return err
	case !info.IsDir:
		return ErrInvalidPath
	}
	switch _, err := d.Stat(ctx, dst); {
	case err == nil:
		return ErrExist
	case !errors.Is(err, ErrNotExist):
		return err
	}
	err := Walk(ctx, d, src, func(info FileInfo) error {
		if info.IsDir {
			return nil
		}
		return d.Move(ctx, info.Path, dst+strings.TrimPrefix(info.Path, src))
	})
	if err != nil {
		return err
	}
	// Where directories exist only by their files, src is gone by now.
	if err := d.Delete(ctx, src); !errors.Is(err, ErrNotExist) {
		return err
	}
	return nil
}
