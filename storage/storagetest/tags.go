package storagetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/storage"
)

func requireTag(t *testing.T, repo storage.Repository, tag string, want digest.Digest) {
	t.Helper()
	got, err := repo.Tags().Get(t.Context(), tag)
	require.NoError(t, err)
	require.Equal(t, tag, got.Name)
	require.Equal(t, want, got.Digest)
	require.WithinRange(t, got.ModTime, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	require.Contains(t, allTags(t, repo), tag)
}

func requireNoTag(t *testing.T, repo storage.Repository, tag string) {
	t.Helper()
	_, err := repo.Tags().Get(t.Context(), tag)
	require.ErrorIs(t, err, storage.ErrTagUnknown)
	require.NotContains(t, allTags(t, repo), tag)
}

func allTags(t *testing.T, repo storage.Repository) []string {
	t.Helper()
	names, err := repo.Tags().All(t.Context())
	require.NoError(t, err)
	return names
}

func testTags(s *suite) {
	s.test("All", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "team/app")
		require.Empty(t, allTags(t, repo), "a repository that does not exist has no tags")
		img := pushImage(t, repo, "one")
		for _, tag := range []string{"v10", "latest", "v2", "V1", "_x", "v1.0-rc.1", "1", "v1"} {
			require.NoError(t, repo.Tags().Tag(t.Context(), tag, img.digest))
			requireTag(t, repo, tag, img.digest)
		}
		require.Equal(t, []string{"1", "V1", "_x", "latest", "v1", "v1.0-rc.1", "v10", "v2"}, allTags(t, repo))
		require.Empty(t, allTags(t, repository(t, reg, "team")))
	})

	s.test("Retag", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two := pushImage(t, repo, "one"), pushImage(t, repo, "two")
		for _, img := range []image{one, one, two, one} {
			require.NoError(t, repo.Tags().Tag(t.Context(), "latest", img.digest))
			requireTag(t, repo, "latest", img.digest)
			require.Equal(t, []string{"latest"}, allTags(t, repo))
		}
	})

	s.test("UnknownManifest", func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		one, elsewhere := pushImage(t, repo, "one"), pushImage(t, other, "elsewhere")
		require.NoError(t, repo.Tags().Tag(t.Context(), "latest", one.digest))
		for _, d := range append(one.blobs(), absent, absent512, elsewhere.digest) {
			require.ErrorIs(t, repo.Tags().Tag(t.Context(), "v1", d), storage.ErrManifestUnknown)
			requireNoTag(t, repo, "v1")
			require.ErrorIs(t, repo.Tags().Tag(t.Context(), "latest", d), storage.ErrManifestUnknown)
			requireTag(t, repo, "latest", one.digest)
		}
	})

	s.test("Untag", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		for range 2 { // gone is gone, and may come back
			require.NoError(t, repo.Tags().Tag(t.Context(), "v1", img.digest))
			require.NoError(t, repo.Tags().Tag(t.Context(), "v1.1", img.digest))
			require.NoError(t, repo.Tags().Untag(t.Context(), "v1"))
			requireNoTag(t, repo, "v1")
			requireTag(t, repo, "v1.1", img.digest)
			requireManifest(t, repo, img.payload)
			require.ErrorIs(t, repo.Tags().Untag(t.Context(), "v1"), storage.ErrTagUnknown)
		}
	})

	s.test("Replace", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two := pushImage(t, repo, "one"), pushImage(t, repo, "two")
		replace := func(old, d digest.Digest) {
			require.NoError(t, repo.Tags().Replace(t.Context(), "v1", old, d))
		}
		replace(one.digest, two.digest)
		replace(one.digest, "")
		replace("", "")
		requireNoTag(t, repo, "v1")
		replace("", one.digest)
		requireTag(t, repo, "v1", one.digest)
		for _, old := range []digest.Digest{"", two.digest, absent} {
			replace(old, two.digest)
			replace(old, "")
			requireTag(t, repo, "v1", one.digest)
		}
		replace(one.digest, two.digest)
		requireTag(t, repo, "v1", two.digest)
		require.ErrorIs(t, repo.Tags().Replace(t.Context(), "v1", two.digest, absent), storage.ErrManifestUnknown)
		requireTag(t, repo, "v1", two.digest)
		replace(two.digest, "")
		requireNoTag(t, repo, "v1")
	})

	s.test("Rename", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two := pushImage(t, repo, "one"), pushImage(t, repo, "two")
		require.NoError(t, repo.Tags().Tag(t.Context(), "a", one.digest))

		require.NoError(t, repo.Tags().Rename(t.Context(), "a", "b"))
		requireNoTag(t, repo, "a")
		requireTag(t, repo, "b", one.digest)

		require.NoError(t, repo.Tags().Tag(t.Context(), "c", two.digest))
		require.NoError(t, repo.Tags().Rename(t.Context(), "b", "c"))
		requireNoTag(t, repo, "b")
		requireTag(t, repo, "c", one.digest)

		require.NoError(t, repo.Tags().Rename(t.Context(), "c", "c"))
		requireTag(t, repo, "c", one.digest)

		require.ErrorIs(t, repo.Tags().Rename(t.Context(), "a", "c"), storage.ErrTagUnknown)
		require.ErrorIs(t, repo.Tags().Rename(t.Context(), "a", "a"), storage.ErrTagUnknown)
		requireTag(t, repo, "c", one.digest)
		require.Equal(t, []string{"c"}, allTags(t, repo))
	})

	s.test("Lookup", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two := pushImage(t, repo, "one"), pushImage(t, repo, "two")
		lookup := func(d digest.Digest) []string {
			names, err := repo.Tags().Lookup(t.Context(), d)
			require.NoError(t, err)
			return names
		}
		require.Empty(t, lookup(one.digest))
		for i, tag := range []string{"c", "a", "d", "b"} {
			require.NoError(t, repo.Tags().Tag(t.Context(), tag, []image{one, two}[i/3].digest))
		}
		require.Equal(t, []string{"a", "c", "d"}, lookup(one.digest))
		require.Equal(t, []string{"b"}, lookup(two.digest))
		require.NoError(t, repo.Tags().Tag(t.Context(), "c", two.digest))
		require.NoError(t, repo.Tags().Untag(t.Context(), "d"))
		require.Equal(t, []string{"a"}, lookup(one.digest))
		require.Equal(t, []string{"b", "c"}, lookup(two.digest))
		require.Empty(t, lookup(absent))
	})

	s.test("History", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two, three := pushImage(t, repo, "one"), pushImage(t, repo, "two"), pushImage(t, repo, "three")
		_, err := repo.Tags().History(t.Context(), "latest")
		require.ErrorIs(t, err, storage.ErrTagUnknown)
		var had []digest.Digest
		for _, img := range []image{one, two, one} {
			require.NoError(t, repo.Tags().Tag(t.Context(), "latest", img.digest))
			if len(had) < 2 {
				had = append(had, img.digest)
			}
			history, err := repo.Tags().History(t.Context(), "latest")
			require.NoError(t, err)
			require.Equal(t, sorted(had...), sorted(history...))
		}
		require.NoError(t, repo.Tags().Tag(t.Context(), "other", three.digest))
		history, err := repo.Tags().History(t.Context(), "other")
		require.NoError(t, err)
		require.Equal(t, []digest.Digest{three.digest}, history)
	})

	s.test("Valid", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		for _, tag := range []string{
			"a", "Z", "0", "_", "__", "a.", "a-", "_current", "current", "index", "link", "a..b",
			"sha256", strings.Repeat("x", storage.MaxTag),
		} {
			require.NoError(t, repo.Tags().Tag(t.Context(), tag, img.digest), "tag %q", tag)
			requireTag(t, repo, tag, img.digest)
		}
	})

	s.test("Invalid", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", img.digest))
		for _, tag := range []string{
			"", ".", "..", "-x", ".x", "x/y", "../v1", "v1/../v1", "é", "a b", "a:b", "a\n", "a\x00", "a+b", "sha256:x",
			strings.Repeat("x", storage.MaxTag+1),
		} {
			for op, err := range map[string]error{
				"Tag":         repo.Tags().Tag(t.Context(), tag, img.digest),
				"Untag":       repo.Tags().Untag(t.Context(), tag),
				"Replace":     repo.Tags().Replace(t.Context(), tag, "", img.digest),
				"Remove":      repo.Tags().Replace(t.Context(), tag, img.digest, ""),
				"Rename to":   repo.Tags().Rename(t.Context(), "v1", tag),
				"Rename from": repo.Tags().Rename(t.Context(), tag, "v1"),
				"Get":         second(repo.Tags().Get(t.Context(), tag)),
				"History":     second(repo.Tags().History(t.Context(), tag)),
			} {
				require.ErrorIs(t, err, storage.ErrTagInvalid, "%s %q", op, tag)
			}
		}
		require.Equal(t, []string{"v1"}, allTags(t, repo))
		requireTag(t, repo, "v1", img.digest)
	})

	s.test("List", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		for _, tag := range []string{"d", "b", "a", "c"} {
			require.NoError(t, repo.Tags().Tag(t.Context(), tag, img.digest))
		}
		for _, c := range []struct {
			after string
			n     int
			want  []string
		}{
			{"", 0, []string{"a", "b", "c", "d"}},
			{"", -1, []string{"a", "b", "c", "d"}},
			{"", 2, []string{"a", "b"}},
			{"b", 2, []string{"c", "d"}},
			{"bb", 1, []string{"c"}},
			{"b", 100, []string{"c", "d"}},
			{"A", 1, []string{"a"}},
		} {
			got, err := repo.Tags().List(t.Context(), c.after, c.n)
			require.NoError(t, err)
			require.Equal(t, c.want, got, "%d after %q", c.n, c.after)
		}
		for _, after := range []string{"d", "z"} {
			got, err := repo.Tags().List(t.Context(), after, 0)
			require.NoError(t, err)
			require.Empty(t, got)
		}
	})

	s.testWith("Immutable", Options{ImmutableTags: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two := pushImage(t, repo, "one"), pushImage(t, repo, "two")
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", one.digest))
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", one.digest), "it stays what it is")
		require.NoError(t, repo.Tags().Tag(t.Context(), "v2", two.digest))
		require.ErrorIs(t, repo.Tags().Tag(t.Context(), "v1", two.digest), storage.ErrTagImmutable)
		require.ErrorIs(t, repo.Tags().Untag(t.Context(), "v1"), storage.ErrTagImmutable)
		require.ErrorIs(t, repo.Tags().Replace(t.Context(), "v1", one.digest, two.digest), storage.ErrTagImmutable)
		require.ErrorIs(t, repo.Tags().Replace(t.Context(), "v1", one.digest, ""), storage.ErrTagImmutable)
		require.ErrorIs(t, repo.Tags().Rename(t.Context(), "v1", "v3"), storage.ErrTagImmutable)
		require.ErrorIs(t, repo.Tags().Rename(t.Context(), "v1", "v2"), storage.ErrTagImmutable)
		require.ErrorIs(t, repo.Tags().Untag(t.Context(), "v3"), storage.ErrTagUnknown)
		requireTag(t, repo, "v1", one.digest)
		requireTag(t, repo, "v2", two.digest)
		require.Equal(t, []string{"v1", "v2"}, allTags(t, repo))
	})

	s.testWith("ImmutableDelete", Options{ImmutableTags: true, AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two := pushImage(t, repo, "one"), pushImage(t, repo, "two")
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", one.digest))
		require.NoError(t, repo.Tags().Tag(t.Context(), "v2", one.digest))
		require.ErrorIs(t, repo.Manifests().Delete(t.Context(), one.digest), storage.ErrTagImmutable)
		requireManifest(t, repo, one.payload)
		requireTag(t, repo, "v1", one.digest)
		requireTag(t, repo, "v2", one.digest)
		require.NoError(t, repo.Manifests().Delete(t.Context(), two.digest), "it has no tag")
	})

	s.test("GetTagged", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		_, err := repo.Manifests().GetTagged(t.Context(), "v1", "")
		require.ErrorIs(t, err, storage.ErrTagUnknown)
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", img.digest))
		for _, known := range []digest.Digest{"", absent} {
			got, err := repo.Manifests().GetTagged(t.Context(), "v1", known)
			require.NoError(t, err)
			require.Equal(t, img.digest, got.Digest)
			require.Equal(t, string(img.payload), string(got.Manifest.Payload()))
		}
		got, err := repo.Manifests().GetTagged(t.Context(), "v1", img.digest)
		require.NoError(t, err)
		require.Equal(t, storage.Revision{Digest: img.digest}, got, "the caller has the content")
	})

	s.test("Many", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		var want []string
		for i := range 50 {
			want = append(want, fmt.Sprintf("v%03d", i))
			require.NoError(t, repo.Tags().Tag(t.Context(), want[i], img.digest))
		}
		require.Equal(t, want, allTags(t, repo))
	})
}

// second is the error of a call.
func second[T any](_ T, err error) error { return err }
