package fsmount

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

func TestMeaningOf(t *testing.T) {
	const (
		blobs     = "_blobs"
		blobs256  = "_blobs/sha256"
		manifests = "_manifests"
		manif256  = "_manifests/sha256"
		tags      = "_tags"
		uploads   = "_uploads"
	)
	d := digest.FromBytes([]byte("x"))
	sha512 := digest.SHA512.FromString("x")
	for _, tc := range []struct {
		dir, name string
		want      meaning
		errno     syscall.Errno
	}{
		{blobs, "layer.tar.gz", aBlobAlias, 0},
		{blobs, d.String(), aBlob, 0},
		{blobs, sha512.String(), aBlob, 0},
		{blobs, d.Encoded(), aBlobAlias, 0},
		{blobs, ".tmp", aScratch, 0},
		{blobs, "#tmp#", aScratch, 0},
		{blobs, "tmp~", aScratch, 0},
		{blobs, "sha256", means, syscall.EISDIR},
		{blobs, "sha256:abc", means, syscall.EINVAL},
		{blobs, "sha256:" + strings.ToUpper(d.Encoded()), means, syscall.EINVAL},
		{blobs, "md5:" + strings.Repeat("0", 32), means, syscall.EINVAL},
		{blobs, strings.Repeat("x", 255), aBlobAlias, 0},
		{blobs, strings.Repeat("x", 256), means, syscall.ENAMETOOLONG},
		{blobs256, d.Encoded(), aBlob, 0},
		{blobs256, "tmp.1234", aScratch, 0},
		{blobs256, "." + d.Encoded() + ".abc", aScratch, 0},
		{blobs256, d.Encoded()[1:], aScratch, 0},
		{manifests, "m.json", aManifestAlias, 0},
		{manifests, d.String(), aManifest, 0},
		{manif256, d.Encoded(), aManifest, 0},
		{manif256, "tmp", aScratch, 0},
		{tags, "v1", aTag, 0},
		{tags, d.Encoded(), aTag, 0},
		{tags, ".v1.AbCdEf", aScratch, 0},
		{tags, "v1~", aScratch, 0},
		{tags, "4913", aTag, 0},
		{tags, "sedAbC123", aTag, 0}, // unless it is sed that makes it
		{tags, "CuAbC123", aTag, 0},
		{tags, "-v1", means, syscall.EINVAL},
		{tags, "a:b", means, syscall.EINVAL},
		{tags, "a b", means, syscall.EINVAL},
		{tags, strings.Repeat("x", 128), aTag, 0},
		{tags, strings.Repeat("x", 129), means, syscall.ENAMETOOLONG},
		{uploads, "x", means, syscall.EPERM},
		{uploads, ".x", means, syscall.EPERM},
	} {
		p, ok := placeAt(tc.dir)
		require.True(t, ok)
		got, err := p.meaningOf(tc.name)
		if tc.errno == 0 {
			require.Equal(t, tc.want, got, "%s/%s", tc.dir, tc.name)
			require.NoError(t, err, "%s/%s", tc.dir, tc.name)
			require.Equal(t, "/app/"+tc.dir+"/"+tc.name, p.join(tc.name))
			continue
		}
		require.Equal(t, tc.errno, errnoOf(err), "%s/%s", tc.dir, tc.name)
	}
}

// placeAt is the place of a directory of the repository app.
func placeAt(dir string) (place, bool) {
	name, alg, _ := strings.Cut(dir, "/")
	for v, other := range viewNames {
		if name == other {
			return place{repo: "app", view: v, alg: alg}, true
		}
	}
	return place{}, false
}

func TestSplitPath(t *testing.T) {
	for _, tc := range []struct {
		path, repo string
		view       view
		rest       string
		ok         bool
	}{
		{"/app/_tags/v1", "app", viewTags, "v1", true},
		{"/team/app/_blobs/sha256/abc", "team/app", viewBlobs, "sha256/abc", true},
		{"/a/b/c/_manifests/sha256:abc", "a/b/c", viewManifests, "sha256:abc", true},
		{"/app/_uploads/x", "app", viewUploads, "x", true},
		{"/app/_tags", "", 0, "", false},
		{"/_tags/v1", "", 0, "", false},
		{"/app/v1", "", 0, "", false},
		{"/", "", 0, "", false},
		{"", "", 0, "", false},
	} {
		repo, v, rest, ok := splitPath(tc.path)
		require.Equal(t, tc.ok, ok, tc.path)
		require.Equal(t, tc.repo, repo, tc.path)
		require.Equal(t, tc.view, v, tc.path)
		require.Equal(t, tc.rest, rest, tc.path)
	}
}

func TestResolve(t *testing.T) {
	f := newTestFileSystem(t, Options{}) // at /mnt/reg
	blob, image := f.putImage(t, "team/app", "v1")
	_, other := f.putImage(t, "other", "v1")
	f.names.putAlias(place{repo: "team/app", view: viewManifests}, "alias", image)
	f.names.putAlias(place{repo: "team/app", view: viewBlobs}, "layer", blob)
	tags, blobs := place{repo: "team/app", view: viewTags}, place{repo: "team/app", view: viewBlobs}
	unknown := digest.FromBytes([]byte("unknown"))
	for _, tc := range []struct {
		from  place
		text  string
		want  source
		errno syscall.Errno
	}{
		{tags, "v1", source{"team/app", viewManifests, image}, 0},
		{tags, image.String(), source{"team/app", viewManifests, image}, 0},
		{tags, "../_manifests/sha256/" + image.Encoded(), source{"team/app", viewManifests, image}, 0},
		{tags, "../_manifests/" + image.String(), source{"team/app", viewManifests, image}, 0},
		{tags, "../_manifests/alias", source{"team/app", viewManifests, image}, 0},
		{tags, "../../../other/_tags/v1", source{"other", viewManifests, other}, 0},
		{tags, "/mnt/reg/other/_tags/v1", source{"other", viewManifests, other}, 0},
		{tags, "/mnt/reg/../reg//other/_tags/./v1", source{"other", viewManifests, other}, 0},
		{tags, "../_blobs/sha256/" + blob.Encoded(), source{"team/app", viewBlobs, blob}, 0},
		{blobs, "sha256/" + blob.Encoded(), source{"team/app", viewBlobs, blob}, 0},
		{blobs, blob.String(), source{"team/app", viewBlobs, blob}, 0},
		{blobs, "layer", source{"team/app", viewBlobs, blob}, 0},
		{tags, "v2", source{}, syscall.ENOENT},
		{tags, unknown.String(), source{}, syscall.ENOENT},
		{tags, other.String(), source{}, syscall.ENOENT},
		{tags, "", source{}, syscall.EINVAL},
		{tags, "..", source{}, syscall.EINVAL},
		{tags, "../../..", source{}, syscall.EINVAL},
		{tags, "../../../../../../x", source{}, syscall.EINVAL},
		{tags, "/etc/passwd", source{}, syscall.EINVAL},
		{tags, "/mnt/regx/other/_tags/v1", source{}, syscall.EINVAL},
		{tags, "/mnt/reg", source{}, syscall.EINVAL},
		{tags, "-v1", source{}, syscall.EINVAL},
		{tags, "sha256:abc", source{}, syscall.EINVAL},
		{tags, "/mnt/reg/UPPER/_tags/v1", source{}, syscall.EINVAL},
		{tags, "../_uploads/x", source{}, syscall.EINVAL},
		{blobs, "nothing", source{}, syscall.EINVAL},
	} {
		got, err := f.resolve(t.Context(), tc.from, tc.text)
		if tc.errno != 0 {
			require.Equal(t, tc.errno, errnoOf(err), "%q: %v", tc.text, err)
			continue
		}
		require.NoError(t, err, tc.text)
		require.Equal(t, tc.want, got, tc.text)
	}
}
