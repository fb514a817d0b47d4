package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// process is two repositories as one process sees them.
type process struct{ app, dev storage.Repository }

// couple is two operations that two processes make at once, on a store that
// given has filled. holds reports what is not there of what was acknowledged: an
// error is what the operation of that process returned.
type couple struct {
	name     string
	options  storage.Options
	given    func(t *testing.T, d driver.Driver, repo storage.Repository)
	one, two func(ctx context.Context, p process) error
	holds    func(t *testing.T, repo storage.Repository, one, two error)
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
	open := func(before func()) process {
		gated := &gate{Driver: d, before: func(string, string) error { return nil }}
		reg := openRegistry(t, gated, o)
		gated.before = func(string, string) error {
			before()
			return nil
		}
		return process{repository(t, reg, "app"), repository(t, reg, "dev")}
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
		requireSound(t, d)
		requireWhole(t, d)
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
	count, step, stride := 0, 1, 1
	if testing.Short() {
		step, stride = 3, 5
	}
	other := *c
	other.one, other.two = c.two, c.one
	other.holds = func(t *testing.T, repo storage.Repository, one, two error) { c.holds(t, repo, two, one) }
	for _, c := range []*couple{c, &other} {
		for n, met := 1, true; met; n += step {
			for k, more := 1+n%stride, true; more; k += stride {
				met, more = c.run(t, n, k)
				count++
			}
		}
	}
	t.Logf("%d interleavings", count)
}

func retag(name, word string) func(ctx context.Context, p process) error {
	return func(ctx context.Context, p process) error {
		return p.app.Tags().Tag(ctx, name, imageDigest(word))
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
			one: func(ctx context.Context, p process) error {
				return p.app.Tags().Rename(ctx, "v1", "v2")
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
			name:  "remove a tag that is moved, if it is what it was",
			given: twoImages("v1"),
			one: func(ctx context.Context, p process) error {
				return p.app.Tags().Replace(ctx, "v1", imageDigest("one"), "")
			},
			two: retag("v1", "two"),
			holds: func(t *testing.T, repo storage.Repository, one, two error) {
				require.NoError(t, errors.Join(one, two))
				require.Equal(t, imageDigest("two"), tagged(t, repo, "v1"))
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
			one: func(ctx context.Context, p process) error {
				return p.app.Tags().Untag(ctx, "v1")
			},
			two: retag("v1", "two"),
			holds: func(t *testing.T, repo storage.Repository, one, two error) {
				require.NoError(t, errors.Join(one, two))
				require.Contains(t, []digest.Digest{"", imageDigest("two")}, tagged(t, repo, "v1"))
			},
		},
		{
			name: "put a manifest whose layer is deleted",
			given: func(t *testing.T, _ driver.Driver, repo storage.Repository) {
				config, layer, _ := image("three")
				putBlob(t, repo, config)
				putBlob(t, repo, layer)
			},
			one: putManifest("three"),
			two: deleteLayer("three"),
			holds: func(t *testing.T, repo storage.Repository, one, two error) {
				var missing *storage.MissingError
				if one == nil {
					requireManifest(t, repo, "three")
				} else {
					require.ErrorAs(t, one, &missing)
					require.NoError(t, two)
				}
				if two != nil {
					require.ErrorIs(t, two, storage.ErrReferenced)
				}
			},
		},
		{
			name:  "tag a manifest that is deleted",
			given: twoImages(),
			one:   retag("v1", "one"),
			two:   deleteManifest("one"),
			holds: tagHolds("v1", imageDigest("one")),
		},
		{
			name: "retag to a manifest that is deleted with its layer",
			given: func(t *testing.T, d driver.Driver, repo storage.Repository) {
				twoImages()(t, d, repo)
				require.NoError(t, repo.Tags().Tag(t.Context(), "v1", imageDigest("two")))
			},
			one: retag("v1", "one"),
			two: func(ctx context.Context, p process) error {
				if err := deleteManifest("one")(ctx, p); err != nil {
					return err
				}
				return ignoreReferenced(deleteLayer("one")(ctx, p))
			},
			holds: tagHolds("v1", imageDigest("one")),
		},
		{
			name:  "rename a tag of a manifest that is deleted",
			given: twoImages("v1"),
			one: func(ctx context.Context, p process) error {
				return p.app.Tags().Rename(ctx, "v1", "v2")
			},
			two:   deleteManifest("one"),
			holds: tagHolds("v2", imageDigest("one")),
		},
		{
			name: "tag an index that is deleted with all it needs",
			given: func(t *testing.T, _ driver.Driver, repo storage.Repository) {
				pushIndex(t, repo, push(t, repo, "one", ""))
			},
			one: func(ctx context.Context, p process) error {
				return p.app.Tags().Tag(ctx, "v1", indexDigest("one"))
			},
			two: func(ctx context.Context, p process) error {
				if err := p.app.Manifests().Delete(ctx, indexDigest("one")); err != nil {
					return err
				}
				if err := deleteManifest("one")(ctx, p); err != nil {
					return ignoreReferenced(err)
				}
				return ignoreReferenced(deleteLayer("one")(ctx, p))
			},
			holds: tagHolds("v1", indexDigest("one")),
		},
		{
			name: "promote an image while its layer is deleted",
			given: func(t *testing.T, d driver.Driver, repo storage.Repository) {
				push(t, repository(t, again(t, d), "dev"), "one", "")
				_, layer, _ := image("one")
				putBlob(t, repo, layer)
			},
			one: func(ctx context.Context, p process) error {
				return promote(ctx, p, imageDigest("one"))
			},
			two: deleteLayer("one"),
			holds: func(t *testing.T, repo storage.Repository, one, two error) {
				require.NoError(t, one)
				require.NoError(t, ignoreReferenced(two))
				requireManifest(t, repo, "one")
			},
		},
	}
}

// tagHolds is for who tags a manifest that another deletes: either is done, and
// not half.
func tagHolds(tag string, d digest.Digest) func(t *testing.T, repo storage.Repository, one, two error) {
	return func(t *testing.T, repo storage.Repository, one, two error) {
		if two != nil {
			require.True(t, errors.Is(two, storage.ErrReferenced), two)
			require.NoError(t, one)
			require.NotEmpty(t, tagged(t, repo, tag))
		}
		var missing *storage.MissingError
		if one != nil && !errors.As(one, &missing) {
			require.ErrorIs(t, one, fs.ErrNotExist)
		}
		if two == nil && tagged(t, repo, tag) == "" {
			exists, err := repo.Manifests().Exists(t.Context(), d)
			require.NoError(t, err)
			require.False(t, exists)
		}
	}
}

func ignoreReferenced(err error) error {
	if errors.Is(err, storage.ErrReferenced) {
		return nil
	}
	return err
}

func promote(ctx context.Context, p process, d digest.Digest) error {
	_, err := p.app.Manifests().Mount(ctx, p.dev, d)
	return err
}

// indexDigest is that of what pushIndex makes of an image.
func indexDigest(word string) digest.Digest {
	_, _, payload := image(word)
	return digest.FromBytes(fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`+
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d}]}`, digest.FromBytes(payload), len(payload)))
}

func requireManifest(t *testing.T, repo storage.Repository, word string) {
	t.Helper()
	_, err := repo.Manifests().Get(t.Context(), imageDigest(word))
	require.NoError(t, err)
}

func putManifest(word string) func(ctx context.Context, p process) error {
	return func(ctx context.Context, p process) error {
		_, _, payload := image(word)
		_, err := p.app.Manifests().Put(ctx, "", payload)
		return err
	}
}

func deleteLayer(word string) func(ctx context.Context, p process) error {
	return func(ctx context.Context, p process) error {
		_, layer, _ := image(word)
		return p.app.Blobs().Delete(ctx, digest.FromBytes(layer))
	}
}

func deleteManifest(word string) func(ctx context.Context, p process) error {
	return func(ctx context.Context, p process) error {
		return p.app.Manifests().Delete(ctx, imageDigest(word))
	}
}
