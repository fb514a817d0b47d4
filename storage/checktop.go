package storage

import "context"

// checkTop looks at what is above blobs and repositories.
func (c *checker) checkTop(ctx context.Context) error {
	entries, err := c.list(ctx, layoutRoot, "")
	if err != nil {
		return err
	}
	expected := map[string]bool{layoutBlobs: false, layoutRepos: false}
	for _, e := range entries {
		switch _, ok := expected[e.path]; {
		case !ok:
			c.foreign(ctx, e, "", false)
		case !e.isDir():
			c.notDir(ctx, e, "")
			expected[e.path] = e.special
		default:
			expected[e.path] = true
		}
	}
	for _, dir := range []string{layoutBlobs, layoutRepos} {
		if !expected[dir] {
			// A stock registry begins without them, so this alone is no damage.
			c.report(ctx, Finding{
				Kind:   FindingHalfWritten,
				Path:   dir,
				Reason: "the directory is not there, and without it stock garbage collectors give up",
			}, c.makeDir(dir))
		}
	}
	return nil
}
