package loop

import (
	"context"

	"bazil.org/fuse"
)

// testNode counts how often the kernel came to know it and forgot it.
type testNode struct {
	name      string
	known     int
	forgotten int
}

func (n *testNode) Attr(ctx context.Context, a *fuse.Attr) error { return nil }

func (n *testNode) Known() { n.known++ }

func (n *testNode) Forget() { n.forgotten++ }
