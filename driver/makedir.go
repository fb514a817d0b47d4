package driver

import "context"

// DirMaker is implemented by drivers that keep empty directories.
type DirMaker interface {
	// MakeDir makes a directory and its missing parents; one that exists is
	// no error.
	MakeDir(ctx context.Context, path string) error
}

// MakeDir makes a directory where d keeps empty ones, and does nothing where
// it does not.
func MakeDir(ctx context.Context, d Driver, path string) error {
	if m, ok := d.(DirMaker); ok {
		return m.MakeDir(ctx, path)
	}
	return nil
}
