package storage_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// couple is two operations that two processes make at once, on a store that
// given has filled. holds reports what is not there of what was acknowledged: an
// error is what the operation of that process returned.
type couple struct {
	name      string
	options   storage.Options
	given     func(t *testing.T, d driver.Driver, repo storage.Repository)
	one, two  func(ctx context.Context, repo storage.Repository) error
	holds     func(t *testing.T, repo storage.Repository, one, two error)
	unchecked bool // given is damage already
}

// run lets the first process make its operation up to its nth call, the second
// its own up to its kth, the first go on to its end, and then the second. It
// reports whether there were so many calls.
func (c *couple) run(t *testing.T, n, k int) (first, second bool) {
	t.Helper()
	d := memdriver.New()
	c.given(t, d, repository(t, create(t, d), "app"))
	ctx := t.Context()
	o := c.options
	o.AllowDelete = true
	open := func(before func()) storage.Repository {
		gated := &gate{Driver: d, before: func(string, string) error { return nil }}
		repo := repository(t, openRegistry(t, gated, o), "app")
		gated.before = func(string, string) error {
			before()
			return nil
		}
		return repo
	}

	reached, resumed, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	calls := 0
	two := open(func() {
		if calls++; calls == k {
			close(reached)
			<-resumed
		}
	})
	start := func() {
		go func() { ended <- c.two(ctx, two) }()
	}
	var oneErr, twoErr error
	made, isStarted, isEnded := 0, false, false
	one := open(func() {
		if made++; made != n {
			return
		}
		isStarted = true
		start()
		select {
		case <-reached:
			second = true
		case twoErr = <-ended:
			isEnded = true
		}
	})
	oneErr = c.one(ctx, one)
	close(resumed)
	if isStarted && !isEnded {
		twoErr = <-ended
	}
	if isStarted {
		if !c.unchecked {
			requireSound(t, d)
			requireWhole(t, d)
		}
		c.holds(t, repository(t, again(t, d), "app"), oneErr, twoErr)
	}
	return isStarted, second
}

// requireWhole fails where a tag, or a manifest, leads to what is not there.
func requireWhole(t *testing.T, d driver.Driver) {
	t.Helper()
	reg := openRegistry(t, d, storage.Options{ReadOnly: true})
	repo := repository(t, reg, "app")
	require.NoError(t, repo.Manifests().Enumerate(t.Context(), func(d digest.Digest) error {
		parsed, err := repo.Manifests().Get(t.Context(), d)
		if err != nil {
			return err
		}
		for _, desc := range parsed.References().RequiredBlobs() {
			if err := (hold{repo: "app", digest: desc.Digest}).check(t.Context(), reg); err != nil {
				return err
			}
		}
		return nil
	}))
	names, err := repo.Tags().All(t.Context())
	require.NoError(t, err)
	for _, name := range names {
		tag, err := repo.Tags().Get(t.Context(), name)
		require.NoError(t, err, name)
		require.NoError(t, (hold{repo: "app", digest: tag.Digest, manifest: true}).check(t.Context(), reg), name)
		history, err := repo.Tags().History(t.Context(), name)
		require.NoError(t, err)
		require.Contains(t, history, tag.Digest, name)
	}
}

// each runs a couple at all points of both operations, and the other way about.
func (c *couple) each(t *testing.T) {
	count, stride := 0, 1
	if testing.Short() {
		stride = 3
	}
	other := *c
	other.one, other.two = c.two, c.one
	other.holds = func(t *testing.T, repo storage.Repository, one, two error) { c.holds(t, repo, two, one) }
	for _, c := range []*couple{c, &other} {
		for n, met := 1, true; met; n++ {
			for k, more := 1+n%stride, true; more; k += stride {
				met, more = c.run(t, n, k)
				count++
			}
		}
	}
	t.Logf("%d interleavings", count)
}

func retag(name, word string) func(ctx context.Context, repo storage.Repository) error {
	return func(ctx context.Context, repo storage.Repository) error {
		return repo.Tags().Tag(ctx, name, imageDigest(word))
	}
}

// tagged is the digest that a tag names, or "" where there is none.
func tagged(t *testing.T, repo storage.Repository, name string) digest.Digest {
	t.Helper()
	tag, err := repo.Tags().Get(t.Context(), name)
	if err != nil {
		require.ErrorIs(t, err, storage.ErrTagUnknown)
	}
	return tag.Digest
}

// Whatever two processes do at once, what either was told to be done is, in one
// order or the other, and nothing that shows leads nowhere.
func TestBesideAnotherProcess(t *testing.T) {
	for _, c := range couples() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.each(t)
		})
	}
}

func couples() []*couple {
	twoImages := func(tags ...string) func(t *testing.T, _ driver.Driver, repo storage.Repository) {
		return func(t *testing.T, _ driver.Driver, repo storage.Repository) {
			push(t, repo, "one", "")
			push(t, repo, "two", "")
			for _, tag := range tags {
				require.NoError(t, repo.Tags().Tag(t.Context(), tag, imageDigest("one")))
			}
		}
	}
	oneWins := func(t *testing.T, repo storage.Repository, one, two error) {
		switch tagged(t, repo, "v1") {
		case imageDigest("one"):
			require.NoError(t, one)
			require.ErrorIs(t, two, storage.ErrTagImmutable)
		case imageDigest("two"):
			require.NoError(t, two)
			require.ErrorIs(t, one, storage.ErrTagImmutable)
		default:
			require.Fail(t, "nobody made the tag")
		}
	}
	return []*couple{
		{
			name:    "make an immutable tag",
			options: storage.Options{ImmutableTags: true},
			given:   twoImages(),
			one:     retag("v1", "one"), two: retag("v1", "two"),
			holds: oneWins,
		},
		{
			name:    "finish an immutable tag",
			options: storage.Options{ImmutableTags: true},
			given: func(t *testing.T, d driver.Driver, repo storage.Repository) {
				twoImages()(t, d, repo)
				put(t, d, indexLink("app", "v1", imageDigest("one")), imageDigest("one").String())
			},
			one: retag("v1", "one"), two: retag("v1", "two"),
			holds: oneWins,
		},
		{
			name:  "rename a tag that is moved",
			given: twoImages("v1"),
			one: func(ctx context.Context, repo storage.Repository) error {
				return repo.Tags().Rename(ctx, "v1", "v2")
			},
			two: retag("v1", "two"),
			holds: func(t *testing.T, repo storage.Repository, one, two error) {
				require.NoError(t, errors.Join(one, two))
				found, err := repo.Tags().Lookup(t.Context(), imageDigest("two"))
				require.NoError(t, err)
				require.NotEmpty(t, found)
				if tagged(t, repo, "v1") == "" {
					require.Equal(t, imageDigest("two"), tagged(t, repo, "v2"))
				}
			},
		},
		{
			name:  "delete a manifest whose tag is moved",
			given: twoImages("v1", "latest"),
			one:   deleteManifest("one"),
			two:   retag("latest", "two"),
			holds: func(t *testing.T, repo storage.Repository, one, two error) {
				require.NoError(t, errors.Join(one, two))
				require.Equal(t, imageDigest("two"), tagged(t, repo, "latest"))
				require.Empty(t, tagged(t, repo, "v1"))
			},
		},
		{
			name:  "untag what is moved",
			given: twoImages("v1"),
			one: func(ctx context.Context, repo storage.Repository) error {
				return repo.Tags().Untag(ctx, "v1")
			},
			two: retag("v1", "two"),
			holds: func(t *testing.T, repo storage.Repository, one, two error) {
				require.NoError(t, errors.Join(one, two))
				require.Contains(t, []digest.Digest{"", imageDigest("two")}, tagged(t, repo, "v1"))
			},
		},
	}
}

func deleteManifest(word string) func(ctx context.Context, repo storage.Repository) error {
	return func(ctx context.Context, repo storage.Repository) error {
		return repo.Manifests().Delete(ctx, imageDigest(word))
	}
}
