package driver

import (
	"context"
	"errors"
	"io"
)

// Lock takes a lock on a directory, as d's own [Locker] does. A driver that is
// none is [errors.ErrUnsupported].
func Lock(ctx context.Context, d Driver, path string, shared bool) (io.Closer, error) {
	if l, ok := d.(Locker); ok {
		return l.Lock(ctx, path, shared)
	}
	return nil, errors.ErrUnsupported
}
