package driver

import "context"

// DirRemover is implemented by drivers that remove an empty directory in one
// step.
type DirRemover interface {
	// RemoveDir removes a directory in which nothing is. One that is not empty
	// is ErrExist, and nothing is changed; a file is ErrInvalidPath.
	RemoveDir(ctx context.Context, path string) error
}

// RemoveDir removes an empty directory. One that is not empty is [ErrExist] and
// a file is [ErrInvalidPath]; then nothing is changed. It uses d's own
// [DirRemover] where there is one. Otherwise what is put there just as it is
// removed goes with it.
func RemoveDir(ctx context.Context, d Driver, path string) error {
	if r, ok := d.(DirRemover); ok {
		return r.RemoveDir(ctx, path)
	}
	switch children, err := d.List(ctx, path); {
	case err != nil:
		return err
	case len(children) > 0:
		return ErrExist
	}
	return d.Delete(ctx, path)
}
