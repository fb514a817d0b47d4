package storage

import "context"

// checkOurs counts what is in the directory that registries do not know. Of it
// nothing is needed at its place, so nothing can be damaged. The mark of an
// exclusive user, and his leases, are not even left over: a mount takes them
// away.
func (c *checker) checkOurs(ctx context.Context) error {
	entries, err := c.list(ctx, layoutOurs, "")
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case !e.isDir():
		case e.path == layoutStaging:
			err = c.countLeftovers(ctx, e.path, "a tag that was being built")
		case e.path == layoutTrash:
			err = c.countLeftovers(ctx, e.path, "what was removed, kept for a while")
		case e.path == layoutSwept:
			err = c.countLeftovers(ctx, e.path, "what a collection has set aside: a later one removes it, or brings back what is needed")
		case e.path == layoutCloses:
			err = c.countCloses(ctx)
		case e.path == layoutQuarantine:
			err = c.countQuarantine(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) countLeftovers(ctx context.Context, dir, reason string) error {
	entries, err := c.list(ctx, dir, "")
	for _, e := range entries {
		c.leftover(ctx, e, reason)
	}
	return err
}

// countCloses counts the records of uploads that are not there any more.
func (c *checker) countCloses(ctx context.Context) error {
	entries, err := c.list(ctx, layoutCloses, "")
	for _, e := range entries {
		if !c.uploads[e.name] {
			c.leftover(ctx, e, "the record of an upload that has ended")
		}
	}
	return err
}

// countQuarantine counts what is one level below: by algorithm, or by why it is
// there.
func (c *checker) countQuarantine(ctx context.Context) error {
	entries, err := c.list(ctx, layoutQuarantine, "")
	if err != nil {
		return err
	}
	const reason = "what was found damaged, or left over, and put aside"
	for _, e := range entries {
		if !e.isDir() { // a note of somebody's
			c.leftover(ctx, e, reason)
			continue
		}
		if err := c.countLeftovers(ctx, e.path, reason); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) leftover(ctx context.Context, e entry, reason string) {
	c.report(ctx, Finding{Kind: FindingLeftover, Path: e.path, Reason: reason}, nil)
}
