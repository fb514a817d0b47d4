package storage

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
)

const someHex = "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"

// aged is a driver whose files are all old, so that nobody waits for a link.
type aged struct{ driver.Driver }

func (a aged) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	info, err := a.Driver.Stat(ctx, path)
	info.ModTime = time.Time{}
	return info, err
}

func FuzzLink(f *testing.F) {
	for _, seed := range []string{
		"", "\n", " ", "sha256:", "sha256:" + someHex, "sha256:" + someHex + "\n", " sha256:" + someHex,
		"sha256:" + strings.ToUpper(someHex), "sha256:" + someHex[1:], "sha256:" + someHex + "0",
		"sha512:" + someHex + someHex, "sha512:" + someHex, "md5:9a0364b9e99bb480dd25e1f0284c8555",
		"tarsum.v1+sha256:" + someHex, "sha256:" + someHex + "\x00", strings.Repeat("a", MaxLink+1),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d := aged{memdriver.New()}
		require.NoError(t, d.PutContent(t.Context(), "/dir/link", content))
		got, _, err := readLink(t.Context(), d, "/dir/link")
		if want, parseErr := digest.Parse(string(content)); parseErr == nil {
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, string(content), got.String(), "exactly a digest, and nothing else")
			return
		}
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, "/dir/link")
		require.Empty(t, got)
	})
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{
		"", "a", "team/app", "a.b/c__d/e---f", "A", "a//b", "a/_layers", "../a", "a/..", "a:b", "[ab]/c", "é",
		"localhost/a", strings.Repeat("a", 300) + "/b", strings.Repeat("a/", 127) + "a", strings.Repeat("a", 256),
	} {
		f.Add(seed)
	}
	tag, id := strings.Repeat("t", MaxTag), "6f1a3c5e-0000-4000-8000-000000000000"
	long := digest.SHA512.FromString("")
	f.Fuzz(func(t *testing.T, name string) {
		if err := CheckName(name); err != nil {
			require.ErrorIs(t, err, ErrNameInvalid)
			return
		}
		require.LessOrEqual(t, len(name), MaxName)
		for part := range strings.SplitSeq(name, "/") {
			require.False(t, isReserved(part), "%q", name)
		}
		for _, p := range []string{
			repoPath(name),
			linkPath(layersPath(name), long),
			linkPath(revisionsPath(name), long),
			currentPath(tagPath(name, tag)),
			linkPath(indexPath(tagPath(name, tag)), long),
			uploadDataPath(name, id),
			uploadStartedPath(name, id),
		} {
			require.True(t, driver.ValidPath(p), "%q", p)
			require.True(t, strings.HasPrefix(p, layoutRepos+"/"+name), "%q", p)
		}
	})
}

// tagGrammar is the one of the distribution specification.
var tagGrammar = regexp.MustCompile(`\A[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\z`)

func FuzzTag(f *testing.F) {
	for _, seed := range []string{
		"", "v1", ".", "..", "-x", ".x", "_x", "a.b-c_d", "a/b", "é", "a\n", "a b", "a:b",
		strings.Repeat("x", MaxTag), strings.Repeat("x", MaxTag+1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		err := CheckTag(tag)
		require.Equal(t, tagGrammar.MatchString(tag), err == nil, "%q: %v", tag, err)
		if err != nil {
			require.ErrorIs(t, err, ErrTagInvalid)
			return
		}
		p := currentPath(tagPath("app", tag))
		require.True(t, driver.ValidPath(p))
		require.Equal(t, tagsPath("app")+"/"+tag+"/current/link", p)
	})
}
