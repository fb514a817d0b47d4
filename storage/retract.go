package storage

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"registryfs/digest"
)

// Whoever is told that content is there has had its link written: a push, a
// mount, Keep, and every registry that pushes the same. So a link that is still
// the one which a Commit made, where none was before, is nobody's but his who
// made it, and can be taken back. Within a process that is certain, under the
// lock of the link. Another process may write it between the look and the
// removal, which follow one another; stock registries know no lock.

// lockLink locks the link of a digest in a set against others who write it or
// take it back.
func (r *registry) lockLink(set links, d digest.Digest) (unlock func()) {
	lock := &r.links[maphash.String(r.seed, linkPath(set.dir, d))%lockStripes]
	lock.Lock()
	return lock.Unlock
}

// check looks for what stands against something. It is asked before it is done,
// and after.
type check func(context.Context) error

// retractLink takes a link back, unless again, which looks after it has gone,
// finds what needs it. Errors: [ErrReferenced], where it may be somebody else's
// too; errNoLink.
func (r *registry) retractLink(ctx context.Context, set links, made Link, again check) error {
	canonical, err := r.takeBack(ctx, set, made)
	if err != nil {
		return err
	}
	if err := again(ctx); err != nil {
		_, undone := writeLink(context.WithoutCancel(ctx), r.driver, linkPath(set.dir, made.Digest), canonical)
		return errors.Join(err, undone)
	}
	return nil
}

// takeBack removes a link that nobody has written since, and returns what it
// held.
func (r *registry) takeBack(ctx context.Context, set links, made Link) (digest.Digest, error) {
	if !made.IsNew || made.Version == "" {
		return "", fmt.Errorf("%w: it may have been there before", ErrReferenced)
	}
	p := linkPath(set.dir, made.Digest)
	defer r.lockLink(set, made.Digest)()
	runs, err := r.sweptRuns(ctx)
	if err != nil {
		return "", err
	}
	// What a collection has set aside was there before, and may come back.
	if run, err := r.findSwept(ctx, runs, p); err != nil {
		return "", err
	} else if run != "" {
		return "", fmt.Errorf("%w: it was there before", ErrReferenced)
	}
	canonical, info, err := readLink(ctx, r.driver, p)
	switch {
	case err != nil:
		return "", err
	case info.Version != made.Version:
		return "", fmt.Errorf("%w: by who put it since", ErrReferenced)
	}
	// The directory stays, as where registries delete: to remove it too would
	// be to remove what somebody writes into it meanwhile.
	return canonical, r.driver.Delete(ctx, p)
}
