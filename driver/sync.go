package driver

import "context"

// Sync makes the file at path durable, with its name, whoever put it there:
// another process may have died before it did. Where d is no [Syncer] whatever
// can be seen is durable.
func Sync(ctx context.Context, d Driver, path string) error {
	if s, ok := d.(Syncer); ok {
		return s.Sync(ctx, path)
	}
	return nil
}
