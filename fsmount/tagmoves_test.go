package fsmount

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// besideRepository is a repository beside which others work: what they do is
// done before each of its tags is set or removed, and may be an error.
type besideRepository struct {
	storage.Repository
	meanwhile func(tag string) error
}

func (r besideRepository) Unwrap() storage.Repository { return r.Repository }

func (r besideRepository) Tags() storage.TagStore {
	return besideTags{r.Repository.Tags(), r.meanwhile}
}

type besideTags struct {
	storage.TagStore
	meanwhile func(tag string) error
}

func (t besideTags) Tag(ctx context.Context, tag string, d digest.Digest) error {
	if err := t.meanwhile(tag); err != nil {
		return err
	}
	return t.TagStore.Tag(ctx, tag, d)
}

func (t besideTags) Untag(ctx context.Context, tag string) error {
	if err := t.meanwhile(tag); err != nil {
		return err
	}
	return t.TagStore.Untag(ctx, tag)
}

func TestATagThatOthersMoveWhileItIsMoved(t *testing.T) {
	stored := newTestFileSystem(t, Options{})
	_, one := stored.putImage(t, "dev", "v1")
	_, two := stored.putImage(t, "dev", "v2")
	dev := stored.repository(t, "dev").Tags()
	f := newFileSystem("/mnt/other", storage.Wrap(stored.registry, func(r storage.Repository) storage.Repository {
		return besideRepository{r, func(string) error { return dev.Tag(t.Context(), "v1", two) }}
	}), Options{})
	from, to := place{repo: "dev", view: viewTags}, place{repo: "prod", view: viewTags}
	require.NoError(t, f.renameName(t.Context(), 0, from, "v1", to, "v1"))
	require.Equal(t, one, f.tagged(t, "prod", "v1"))
	require.Equal(t, two, f.tagged(t, "dev", "v1"), "this came later")
}

func TestTagsThatOthersMoveWhileAnIndexFails(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	f.putImage(t, "app", "a")
	_, two := f.putImage(t, "app", "b")
	_, three := f.putImage(t, "app", "c")
	repo := f.repository(t, "app")
	current, err := tagsOf(t.Context(), repo)
	require.NoError(t, err)
	entry := func(tag string) manifest.LayoutEntry {
		return manifest.LayoutEntry{Tag: tag, Descriptor: manifest.Descriptor{Digest: three}}
	}
	failure := errors.New("no")
	beside := besideRepository{repo, func(tag string) error {
		if tag != "new" {
			return nil
		}
		return errors.Join(failure, repo.Tags().Tag(t.Context(), "a", two))
	}}
	changes := layoutChanges{set: []manifest.LayoutEntry{entry("a"), entry("b"), entry("d"), entry("new")}}
	require.ErrorIs(t, setTags(t.Context(), beside, changes, current), failure)
	require.Equal(t, two, f.tagged(t, "app", "a"), "others have set it since")
	require.Equal(t, two, f.tagged(t, "app", "b"))
	require.Empty(t, f.tagged(t, "app", "d"))
	require.Empty(t, f.tagged(t, "app", "new"))
}

func TestATagThatOthersRemoveWhileAnIndexFails(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	f.putImage(t, "app", "a")
	_, two := f.putImage(t, "app", "b")
	f.putImage(t, "app", "c")
	repo := f.repository(t, "app")
	current, err := tagsOf(t.Context(), repo)
	require.NoError(t, err)
	failure := errors.New("no")
	beside := besideRepository{repo, func(tag string) error {
		switch tag {
		case "a":
			return repo.Tags().Untag(t.Context(), tag)
		case "c":
			return failure
		}
		return nil
	}}
	changes := layoutChanges{remove: []string{"a", "b", "c"}}
	require.ErrorIs(t, setTags(t.Context(), beside, changes, current), failure)
	require.Empty(t, f.tagged(t, "app", "a"), "others have removed it")
	require.Equal(t, two, f.tagged(t, "app", "b"))
}

// tagged is what a tag names, or "" where there is none.
func (f *fileSystem) tagged(t *testing.T, repo, tag string) digest.Digest {
	t.Helper()
	d, err := valueOf(t.Context(), f.repository(t, repo).Tags(), tag)
	require.NoError(t, err)
	return d
}
