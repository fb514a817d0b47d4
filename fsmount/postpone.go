package fsmount

import (
	"context"
	"fmt"
	"time"

	"registryfs/digest"
)

// postpone lets a link in _tags wait for the manifest d of its repository.
func (f *fileSystem) postpone(ctx context.Context, tid uint32, at placeName, text string, d digest.Digest) error {
	if err := f.names.mayAdd(); err != nil {
		return err
	}
	t := &pendingTag{at: at, text: text, awaits: d, since: time.Now(), tid: tid, maker: processOf(tid)}
	if err := f.beginWait(ctx, t); err != nil {
		return err
	}
	f.watchMaker(t.maker)
	f.sweepLater()
	if f.isThere(ctx, awaited{at.place.repo, d}) {
		f.arrived(ctx, at.place.repo, d) // before it was waited for
	}
	return nil
}

func (f *fileSystem) beginWait(ctx context.Context, t *pendingTag) error {
	defer f.pending.turn(t.at.place.repo, t.at.name)()
	tags, err := f.pending.tagsOf(t.at.place.repo)
	if err != nil {
		return err
	}
	if t.was, err = valueOf(ctx, tags, t.at.name); err != nil {
		return err
	}
	return f.pending.add(t)
}

// arrived sets the tags that waited for a manifest.
func (f *fileSystem) arrived(ctx context.Context, repo string, d digest.Digest) {
	ctx = context.WithoutCancel(ctx) // it is not done for whoever is interrupted
	for _, t := range f.pending.awaiting(awaited{repo, d}) {
		f.settle(ctx, t, d)
	}
}

// settle sets a tag that waited for d, or lets it wait for what else it lacks.
func (f *fileSystem) settle(ctx context.Context, t *pendingTag, d digest.Digest) {
	for {
		from, err := f.setPending(ctx, t)
		if err == nil {
			return
		}
		next, more := awaitedBy(from, err)
		if !more {
			if f.pending.end(t) {
				f.note(t.tid, "symlink", t.path(), err)
			}
			return
		}
		f.pending.await(t, next)
		if next == d || !f.isThere(ctx, awaited{t.at.place.repo, next}) {
			return
		}
		d = next
	}
}

func (f *fileSystem) setPending(ctx context.Context, t *pendingTag) (source, error) {
	from, err := f.resolve(ctx, t.at.place, t.text)
	if err != nil {
		return from, err
	}
	if err := f.bring(ctx, t.at.place, from); err != nil {
		return from, err
	}
	tags, err := f.pending.tagsOf(t.at.place.repo)
	if err != nil {
		return from, err
	}
	return from, tags.settle(ctx, t, from.digest)
}

// isThere reports whether a repository surely has a manifest.
func (f *fileSystem) isThere(ctx context.Context, a awaited) bool {
	repo, err := f.registry.Repository(a.repo)
	if err != nil {
		return false
	}
	is, err := repo.Manifests().Exists(ctx, a.digest)
	return err == nil && is
}

// abandon ends the waits of which that is true, and says that their manifests
// did not come, and why that is sure. It reports whether others are left.
func (f *fileSystem) abandon(isOver func(*pendingTag) bool, why string) (more bool) {
	f.pending.reports.Lock()
	defer f.pending.reports.Unlock()
	over, more := f.pending.take(isOver)
	for _, t := range over {
		f.note(t.tid, "symlink", t.path(), fmt.Errorf("manifest %s never came: %s", t.awaits, why))
	}
	return more
}
