package loop

import (
	"context"

	"bazil.org/fuse"
)

// testNode counts how often it is forgotten.
type testNode struct {
	name      string
	forgotten int
}

func (n *testNode) Attr(ctx context.Context, a *fuse.Attr) error { return nil }

func (n *testNode) Forget() { n.forgotten++ }
