package driver

import "context"

// HeldCommitter is a Writer that can go on keeping others from its file once it
// is committed.
type HeldCommitter interface {
	// CommitHeld is Commit, but until release is called nobody else can write
	// to the file, also where it has been moved to by then. release must be
	// called, once.
	CommitHeld(ctx context.Context) (release func() error, err error)
}

// CommitHeld commits w and goes on keeping others from its file, where w can.
func CommitHeld(ctx context.Context, w Writer) (release func() error, err error) {
	if h, ok := w.(HeldCommitter); ok {
		return h.CommitHeld(ctx)
	}
	return func() error { return nil }, w.Commit(ctx)
}
