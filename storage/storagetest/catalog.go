package storagetest

import (
	"testing"

	"strings"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

func testCatalog(s *suite) {
	s.test("List", func(t *testing.T, reg storage.Registry) {
		list := func(namespace string) []string {
			names, err := reg.List(t.Context(), namespace)
			require.NoError(t, err)
			return names
		}
		require.Empty(t, list(""))
		for _, name := range []string{
			"team/app", "team/app2", "team/app/sub/deep", "team-b/app", "team", "foo/foo", "foo/foo/foo", "single",
		} {
			pushImage(t, repository(t, reg, name), "one")
		}
		require.Equal(t, []string{"foo", "single", "team", "team-b"}, list(""))
		require.Equal(t, []string{"team/app", "team/app2"}, list("team"))
		require.Equal(t, []string{"team/app/sub"}, list("team/app"))
		require.Equal(t, []string{"team/app/sub/deep"}, list("team/app/sub"))
		require.Empty(t, list("team/app/sub/deep"))
		require.Equal(t, []string{"foo/foo"}, list("foo"))
		require.Equal(t, []string{"foo/foo/foo"}, list("foo/foo"))
		for _, name := range []string{"tea", "team/ap", "team/app/su", "team/app3", "single/more"} {
			_, err := reg.List(t.Context(), name)
			require.ErrorIs(t, err, storage.ErrRepositoryUnknown, "%q", name)
		}
	})

	s.test("Stat", func(t *testing.T, reg storage.Registry) {
		pushImage(t, repository(t, reg, "team/app"), "one")
		pushImage(t, repository(t, reg, "team/app/sub/deep"), "one")
		for name, want := range map[string]storage.Entry{
			"team":              {Namespace: true},
			"team/app":          {Repository: true, Namespace: true},
			"team/app/sub":      {Namespace: true},
			"team/app/sub/deep": {Repository: true},
		} {
			want.Name = name
			got, err := reg.Stat(t.Context(), name)
			require.NoError(t, err)
			require.Equal(t, want, got)
			exists, err := reg.Exists(t.Context(), name)
			require.NoError(t, err)
			require.True(t, exists, "%q", name)
		}
		for _, name := range []string{"tea", "app", "team/ap", "team/app/sub/deep/er"} {
			_, err := reg.Stat(t.Context(), name)
			require.ErrorIs(t, err, storage.ErrRepositoryUnknown, "%q", name)
			exists, err := reg.Exists(t.Context(), name)
			require.NoError(t, err)
			require.False(t, exists, "%q", name)
		}
	})

	s.test("Begins", func(t *testing.T, reg storage.Registry) {
		for name, put := range map[string]func(repo storage.Repository){
			"blob":     func(repo storage.Repository) { putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("layer")) },
			"manifest": func(repo storage.Repository) { putManifest(t, repo, indexPayload()) },
		} {
			repo := repository(t, reg, name)
			_, err := reg.Stat(t.Context(), name)
			require.ErrorIs(t, err, storage.ErrRepositoryUnknown, "it begins with the first content")
			put(repo)
			got, err := reg.Stat(t.Context(), name)
			require.NoError(t, err)
			require.Equal(t, storage.Entry{Name: name, Repository: true}, got)
		}
	})

	s.test("Space", func(t *testing.T, reg storage.Registry) {
		space, err := reg.Space(t.Context())
		if err != nil {
			require.ErrorIs(t, err, storage.ErrUnsupported)
			return
		}
		require.NotZero(t, space.Bytes)
		require.LessOrEqual(t, space.BytesFree, space.Bytes)
		require.LessOrEqual(t, space.FilesFree, space.Files)
	})
}

func testNames(s *suite) {
	s.test("Invalid", func(t *testing.T, reg storage.Registry) {
		for _, name := range []string{
			"", ".", "..", "A", "a/B", "a//b", "/a", "a/", "a/..", "../a", "a/../b", "a/.", ".a", "a/.b",
			"_a", "a/_uploads", "_blobs", "a/_manifests/tags", "-a", "a-", "a/-b", "a.", "a..b", "a___b", "a._b",
			"a b", "a\nb", "a\x00", "é", "a:b", "a@b", "a+b", "a~", "#a", "[ab]/c", "host:5000/a",
			strings.Repeat("a", 256), strings.Repeat("a", 300) + "/b", strings.Repeat("a/", 127) + "ab",
		} {
			_, err := reg.Repository(name)
			require.ErrorIs(t, err, storage.ErrNameInvalid, "Repository %q", name)
			_, err = reg.Stat(t.Context(), name)
			require.ErrorIs(t, err, storage.ErrNameInvalid, "Stat %q", name)
			_, err = reg.Exists(t.Context(), name)
			require.ErrorIs(t, err, storage.ErrNameInvalid, "Exists %q", name)
			if name != "" { // the top
				_, err = reg.List(t.Context(), name)
				require.ErrorIs(t, err, storage.ErrNameInvalid, "List %q", name)
			}
		}
	})

	s.test("Valid", func(t *testing.T, reg storage.Registry) {
		content := []byte("content")
		for _, name := range []string{
			"a", "0", "a/tags", "tags/a", "a/tags/list", "blobs", "sha256", "a.b", "a_b", "a__b", "a-b", "a---b",
			"a/b/c/d/e/f/g", "data", "link", strings.Repeat("x", 255), strings.Repeat("x/", 127) + "x",
		} {
			repo := repository(t, reg, name)
			desc := putBlob(t, repo, manifest.MediaTypeOCILayer, content)
			requireBlob(t, repo, desc.Digest, content)
			entry, err := reg.Stat(t.Context(), name)
			require.NoError(t, err)
			require.True(t, entry.Repository, "%q", name)
		}
	})

	// Names that look like the insides of one another stay apart.
	s.test("Apart", func(t *testing.T, reg storage.Registry) {
		names := []string{"a", "a/a", "a/tags", "a/blobs/sha256", "a/b", "ab"}
		for _, name := range names {
			img := pushImage(t, repository(t, reg, name), name)
			require.NoError(t, repository(t, reg, name).Tags().Tag(t.Context(), "latest", img.digest))
		}
		for _, name := range names {
			repo, img := repository(t, reg, name), newImage(name)
			requireTag(t, repo, "latest", img.digest)
			require.Equal(t, []string{"latest"}, allTags(t, repo))
			require.Equal(t, []digest.Digest{img.digest}, allManifests(t, repo))
			require.Equal(t, sorted(img.blobs()...), allBlobs(t, repo))
		}
	})
}
