package fsmount

import (
	"context"
	"errors"

	"registryfs/digest"
	"registryfs/storage"
)

// registry is the one below, but that every change of a tag ends the wait of
// what was to be that tag.
func (p *pending) registry() storage.Registry {
	return storage.Wrap(p.below, func(r storage.Repository) storage.Repository { return awaitingRepository{r, p} })
}

// tagsOf is the tags of a repository.
func (p *pending) tagsOf(repo string) (awaitingTags, error) {
	r, err := p.below.Repository(repo)
	if err != nil {
		return awaitingTags{}, err
	}
	return awaitingTags{r.Tags(), repo, p}, nil
}

// turn is taken by who changes tags, until it is given back. Where one of them
// waits, that takes turns with its being set.
func (p *pending) turn(repo string, tags ...string) (done func()) {
	for _, tag := range tags {
		if p.of(repoTag{repo, tag}) != nil {
			return p.turns.lock(repo)
		}
	}
	return func() {}
}

// awaitingRepository is a repository of which tags wait.
type awaitingRepository struct {
	storage.Repository
	pending *pending
}

func (r awaitingRepository) Unwrap() storage.Repository { return r.Repository }

func (r awaitingRepository) Tags() storage.TagStore {
	return awaitingTags{r.Repository.Tags(), r.Name(), r.pending}
}

type awaitingTags struct {
	storage.TagStore
	repo    string
	pending *pending
}

// end ends the wait of what is to be a tag, if that waits.
func (t awaitingTags) end(tag string) bool {
	return t.pending.end(t.pending.of(repoTag{t.repo, tag}))
}

func (t awaitingTags) Tag(ctx context.Context, tag string, d digest.Digest) error {
	defer t.pending.turn(t.repo, tag)()
	err := t.TagStore.Tag(ctx, tag, d)
	if err == nil {
		t.end(tag)
	}
	return err
}

// Untag removes what only waits to be a tag, too.
func (t awaitingTags) Untag(ctx context.Context, tag string) error {
	defer t.pending.turn(t.repo, tag)()
	err := t.TagStore.Untag(ctx, tag)
	if err != nil && !errors.Is(err, storage.ErrTagUnknown) {
		return err
	}
	if t.end(tag) {
		return nil
	}
	return err
}

// Replace ends no wait but that of a tag that is removed: what waits was begun
// since the tag was as it is to be again.
func (t awaitingTags) Replace(ctx context.Context, tag string, old, d digest.Digest) error {
	defer t.pending.turn(t.repo, tag)()
	err := t.TagStore.Replace(ctx, tag, old, d)
	if err == nil && d == "" {
		t.end(tag)
	}
	return err
}

func (t awaitingTags) Rename(ctx context.Context, from, to string) error {
	defer t.pending.turn(t.repo, from, to)()
	err := t.TagStore.Rename(ctx, from, to)
	if err == nil {
		t.end(from)
		t.end(to)
	}
	return err
}

// settle sets a tag that waits to d, if it is still what it was. It may be
// called again: what it fails for the want of may come. Errors: those of
// storage.TagStore's Tag.
func (t awaitingTags) settle(ctx context.Context, p *pendingTag, d digest.Digest) error {
	defer t.pending.turns.lock(t.repo)()
	if t.pending.of(p.tag()) != p {
		return nil
	}
	is, err := valueOf(ctx, t.TagStore, p.at.name)
	if err == nil && is == p.was {
		err = t.TagStore.Tag(ctx, p.at.name, d)
	}
	if err == nil {
		t.pending.end(p)
	}
	return err
}

// valueOf is what a tag names, or "" where that is nothing, or cannot be read:
// such a tag can be replaced.
func valueOf(ctx context.Context, tags storage.TagStore, tag string) (digest.Digest, error) {
	value, err := tags.Get(ctx, tag)
	if errors.Is(err, storage.ErrTagUnknown) || errors.Is(err, storage.ErrCorrupt) {
		return "", nil
	}
	return value.Digest, err
}
