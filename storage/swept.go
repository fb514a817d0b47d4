package storage

import (
	"context"
	"errors"
	"path"
	"strings"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
)

// What a collection beside a user sweeps goes to /registryfs/swept, below a
// directory for each run, with its path below layoutRoot:
//
//	swept/<stamp>/repositories/<name>/_layers/<alg>/<hex>/link
//	swept/<stamp>/repositories/<name>/_manifests/revisions/<alg>/<hex>/link
//	swept/<stamp>/blobs/<alg>/<hex[:2]>/<hex>/data
//	swept/doomed/<stamp>/…   what is being deleted, and not looked for any more
//
// There it stays for a grace. Whoever misses something at its place looks here
// and brings it back; so does the next collection with what it would keep.

// sweptPath is where a path of the store goes in a run.
func sweptPath(run, p string) string { return run + strings.TrimPrefix(p, layoutRoot) }

// sweptRuns is the directories of runs; none where nothing was swept.
func (r *registry) sweptRuns(ctx context.Context) ([]string, error) {
	runs, err := r.driver.List(ctx, layoutSwept)
	return runs, ignore(err)
}

// findSwept is the run that has a link or content, or "".
func (r *registry) findSwept(ctx context.Context, runs []string, p string) (string, error) {
	for _, run := range runs {
		info, err := r.driver.Stat(ctx, sweptPath(run, p))
		if err == nil && !info.IsDir {
			return run, nil
		}
		if err := ignore(err); err != nil {
			return "", err
		}
	}
	return "", nil
}

// bringBack moves a link or content from a run to its place, unless something is
// there. Errors: driver.ErrNotExist where the run does not have it any more.
func (r *registry) bringBack(ctx context.Context, run, p string) error {
	return r.moveBack(ctx, sweptPath(run, p), p)
}

// moveBack is bringBack from anywhere.
func (r *registry) moveBack(ctx context.Context, src, p string) error {
	err := driver.MoveDir(ctx, r.driver, path.Dir(src), path.Dir(p))
	if errors.Is(err, driver.ErrExist) {
		// Somebody has made the directory since, and maybe what is in it.
		if err = driver.MoveNew(ctx, r.driver, src, p); errors.Is(err, driver.ErrExist) {
			err = nil
		}
	}
	return err
}

// findAgain reads a link once more that was not at its place, when revive has
// brought it back. It is as good as new then.
func (r *registry) findAgain(ctx context.Context, set links, d digest.Digest, revive func(context.Context, links, digest.Digest) (bool, error)) (digest.Digest, error) {
	switch again, err := revive(ctx, set, d); {
	case err != nil:
		return "", err
	case !again:
		return "", errNoLink
	}
	canonical, err := set.get(ctx, d)
	if err == nil {
		err = r.putLink(ctx, set, d, canonical)
	}
	return canonical, err
}

// revive brings back what is missing at its place, and reports whether it may
// be there now.
func (r *registry) revive(ctx context.Context, p string, before func(run string) error) (bool, error) {
	if r.options.ReadOnly {
		return false, nil
	}
	runs, err := r.sweptRuns(ctx)
	if err != nil || len(runs) == 0 {
		return false, err
	}
	run, err := r.findSwept(ctx, runs, p)
	if err != nil {
		return false, err
	}
	if run != "" {
		if err := before(run); err != nil {
			return false, err
		}
		if err := ignore(r.bringBack(ctx, run, p)); err != nil {
			return false, err
		}
		r.log.Info("brought back what a collection had swept", "path", p)
	}
	return true, nil // by us, or by the collection just before we looked
}

// removeLink takes d out of a set, and out of what was set aside of it: what is
// removed must not come back, but where unreferenced, asked when the link has
// gone, refuses that. Errors: errNoLink.
func (r *registry) removeLink(ctx context.Context, set links, d digest.Digest, unreferenced check) error {
	runs, err := r.sweptRuns(ctx)
	if err != nil {
		return err
	}
	link := linkPath(set.dir, d)
	for _, run := range runs {
		if err := ignore(r.driver.Delete(ctx, sweptPath(run, link))); err != nil {
			return err
		}
	}
	gone, err := r.moveToTrash(ctx, path.Dir(link), d.Encoded())
	switch {
	case errors.Is(err, driver.ErrNotExist):
		return errNoLink
	case errors.Is(err, driver.ErrInvalidPath): // it is no directory
		return r.driver.Delete(ctx, path.Dir(link))
	case err != nil:
		return err
	}
	if err := unreferenced(ctx); err != nil {
		if back := r.moveBack(context.WithoutCancel(ctx), path.Join(gone, path.Base(link)), link); back != nil {
			return errors.Join(err, back)
		}
		return err
	}
	if err := driver.Unsynced(r.driver).Delete(ctx, path.Dir(gone)); err != nil {
		r.log.Warn("a link that was removed is left in the trash", "path", gone, "error", err)
	}
	return nil
}

// forgetSwept removes what was set aside of a repository. Nobody else uses the
// store.
func (r *registry) forgetSwept(ctx context.Context, name string) error {
	runs, err := r.sweptRuns(ctx)
	if err != nil {
		return err
	}
	for _, run := range runs {
		parts, err := r.driver.List(ctx, sweptPath(run, repoPath(name)))
		if err := ignore(err); err != nil {
			return err
		}
		for _, part := range parts {
			if !isReserved(path.Base(part)) {
				continue
			}
			if err := ignore(r.driver.Delete(ctx, part)); err != nil {
				return err
			}
		}
	}
	return nil
}

// reviveContent brings back content.
func (r *registry) reviveContent(ctx context.Context, d digest.Digest) (bool, error) {
	return r.revive(ctx, blobPath(d), func(string) error { return nil })
}

// reviveLink brings back a link, and before it its content.
func (r *registry) reviveLink(ctx context.Context, set links, d digest.Digest) (bool, error) {
	return r.revive(ctx, linkPath(set.dir, d), func(run string) error {
		_, err := r.reviveTarget(ctx, links{r.driver, sweptPath(run, set.dir)}, d)
		return err
	})
}

// reviveTarget brings back the content of a link in a set that was swept. What
// is missing for good is found out by who reads it.
func (r *registry) reviveTarget(ctx context.Context, swept links, d digest.Digest) (digest.Digest, error) {
	target, err := swept.get(ctx, d)
	if err != nil {
		return "", ctx.Err()
	}
	_, err = r.statContent(ctx, target)
	if errors.Is(err, ErrBlobUnknown) || errors.Is(err, ErrCorrupt) {
		err = nil
	}
	return target, err
}

// revive brings back a manifest, and before it all that it needs.
func (m *manifests) revive(ctx context.Context, set links, d digest.Digest) (bool, error) {
	r := m.repo.registry
	return r.revive(ctx, linkPath(set.dir, d), func(run string) error {
		target, err := r.reviveTarget(ctx, links{r.driver, sweptPath(run, set.dir)}, d)
		if err != nil || target == "" {
			return err
		}
		signatures := links{r.driver, sweptPath(run, m.signatures(d).dir)}
		err = signatures.enumerate(ctx, func(signature digest.Digest) error {
			_, err := r.reviveTarget(ctx, signatures, signature)
			return err
		})
		if err != nil {
			return err
		}
		return m.reviveReferences(ctx, target)
	})
}

// reviveReferences brings back what a manifest needs, whose content is there.
func (m *manifests) reviveReferences(ctx context.Context, target digest.Digest) error {
	blob, err := m.content().open(ctx, target)
	if err != nil {
		return ctx.Err() // who reads it finds out
	}
	defer blob.Close()
	payload, err := readBlob(blob, manifest.MaxSize)
	if err != nil {
		return ctx.Err()
	}
	parsed, err := manifest.Parse("", payload)
	if err != nil {
		return nil
	}
	refs := parsed.References()
	for _, desc := range refs.Blobs {
		if err := m.name(ctx, desc.Digest); err != nil {
			return err
		}
		if _, err := m.repo.linkedBlobs().resolve(ctx, desc.Digest); err != nil && !isAbsent(err) {
			return err
		}
	}
	for _, desc := range refs.Manifests {
		if err := m.name(ctx, desc.Digest); err != nil {
			return err
		}
		if _, err := m.resolve(ctx, desc.Digest); err != nil && !isAbsent(err) {
			return err
		}
	}
	return nil
}

// isAbsent reports an error that says something about what is stored, and not
// about the store.
func isAbsent(err error) bool {
	return errors.Is(err, ErrBlobUnknown) || errors.Is(err, ErrManifestUnknown) || errors.Is(err, ErrCorrupt)
}

// name leases a digest that is about to be named.
func (m *manifests) name(ctx context.Context, d digest.Digest) error {
	return m.repo.registry.lease(ctx, leaseNamed, d)
}

// statContent describes content that the caller relies on.
func (r *registry) statContent(ctx context.Context, d digest.Digest) (Descriptor, error) {
	if err := r.lease(ctx, leaseSeen, d); err != nil {
		return Descriptor{}, err
	}
	desc, err := r.blobs.stat(ctx, d)
	if !errors.Is(err, ErrBlobUnknown) {
		return desc, err
	}
	switch again, reviveErr := r.reviveContent(ctx, d); {
	case reviveErr != nil:
		return desc, reviveErr
	case again:
		return r.blobs.stat(ctx, d)
	}
	return desc, err
}

// openContent opens canonical content for somebody who knows it as d.
func (r *registry) openContent(ctx context.Context, d, canonical digest.Digest, options ...OpenOption) (Blob, error) {
	if err := r.lease(ctx, leaseSeen, canonical); err != nil {
		return nil, err
	}
	blob, err := openAs(ctx, r.blobs, d, canonical, options...)
	if !errors.Is(err, ErrBlobUnknown) {
		return blob, err
	}
	switch again, reviveErr := r.reviveContent(ctx, canonical); {
	case reviveErr != nil:
		return nil, reviveErr
	case again:
		return openAs(ctx, r.blobs, d, canonical, options...)
	}
	return nil, err
}

// publish is that of blobs, beside a collection.
func (r *registry) publish(ctx context.Context, src staged, d digest.Digest) error {
	return r.keeping(ctx, d, func() error { return r.blobs.publish(ctx, src, d) })
}

// settleContent makes content durable, beside a collection.
func (r *registry) settleContent(ctx context.Context, d digest.Digest) error {
	return r.keeping(ctx, d, func() error { return r.blobs.settle(ctx, d) })
}

// keeping does something with the content of d beside a collection, which may
// take the content away while it does not see the lease, and gives it back when
// it does.
func (r *registry) keeping(ctx context.Context, d digest.Digest, do func() error) error {
	if err := r.lease(ctx, leaseNamed, d); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := do()
		if err == nil || !errors.Is(err, driver.ErrNotExist) && !errors.Is(err, ErrBlobUnknown) || try == openTries {
			return err
		}
		switch again, reviveErr := r.reviveContent(ctx, d); {
		case reviveErr != nil:
			return reviveErr
		case !again:
			return err
		}
	}
}

// putLink links d to the canonical digest of content that is there.
func (r *registry) putLink(ctx context.Context, set links, d, canonical digest.Digest) error {
	_, err := r.makeLink(ctx, set, d, canonical)
	return err
}

// makeLink is putLink, and returns the link that it has made. The directory of
// the link may go with a collection that has not seen the lease when it moves
// it, just as the link is written.
func (r *registry) makeLink(ctx context.Context, set links, d, canonical digest.Digest) (Link, error) {
	if err := r.lease(ctx, leaseNamed, d, canonical); err != nil {
		return Link{}, err
	}
	defer r.lockLink(set, d)()
	for try := 1; ; try++ {
		written, err := writeLink(ctx, r.driver, linkPath(set.dir, d), canonical)
		if err != nil {
			return Link{}, err
		}
		made := Link{Digest: d, Version: written.Version, Replaced: written.Replaced, IsNew: written.IsNew && try == 1}
		r.blobs.settled.add(driver.FileInfo{Path: linkPath(set.dir, d), Version: written.Version})
		if r.leases.Load() == nil || try == openTries {
			return made, nil
		}
		if _, err := set.get(ctx, d); !errors.Is(err, errNoLink) {
			return made, err
		}
	}
}
