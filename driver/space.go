package driver

import (
	"context"
	"errors"
)

// SpaceOf is the room that d has. A driver that does not know it, being no
// [Spacer], is [errors.ErrUnsupported].
func SpaceOf(ctx context.Context, d Driver) (Space, error) {
	if s, ok := d.(Spacer); ok {
		return s.Space(ctx)
	}
	return Space{}, errors.ErrUnsupported
}
