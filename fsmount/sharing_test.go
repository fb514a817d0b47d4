package fsmount_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// storeSize is what the content of the registry takes, where that can be seen.
func (r *repo) storeSize(t *testing.T) string {
	t.Helper()
	if r.mount.store == "" {
		return ""
	}
	return r.ok(t, `find "$STORE/docker/registry/v2/blobs" -type f -printf '%p %s %i\n' | sort`)
}

func TestPromotion(t *testing.T) {
	promote := func(name, script string) mountCase {
		return mountCase{name, func(t *testing.T, dev *repo) {
			index, images := dev.pushedIndex(t, "abc")
			prod := dev.mount.repo(t)
			before := dev.storeSize(t)
			prod.ok(t, script, dev.dir(), dev.name[len("team/"):], index.hex)
			prod.requireTag(t, "v1", index)
			for _, i := range images {
				prod.ok(t, `cmp "$1" "$R/_manifests/sha256/$2"`, i.manifest.path, i.manifest.hex)
				for _, f := range i.blobs() {
					prod.requireBlob(t, f)
				}
			}
			require.Equal(t, before, dev.storeSize(t), "nothing is copied")
			require.Empty(t, prod.ok(t, `ls "$R/_uploads"`))
		}}
	}
	onEach(t, serveOptions{}, []mountCase{
		promote("by the absolute path of a tag", `ln -s "$1/_tags/abc" "$R/_tags/v1"`),
		promote("by the relative path of a tag", `ln -s "../../$2/_tags/abc" "$R/_tags/v1"`),
		promote("by the path of a manifest", `ln -s "$1/_manifests/sha256/$3" "$R/_tags/v1"`),
		promote("with ln -sfn", `ln -sfn "$1/_tags/abc" "$R/_tags/v1"`),
		promote("by a hard link to a manifest", `ln "$1/_manifests/sha256/$3" "$R/_tags/v1"`),
		promote("by a hard link to a tag", `ln -P "$1/_tags/abc" "$R/_tags/v1"`),
		promote("by moving a tag", `mv "$1/_tags/abc" "$R/_tags/v1"; ! test -L "$1/_tags/abc"`),
		{"of a tag that is not there changes nothing", func(t *testing.T, r *repo) {
			r.fails(t, "No such file", `ln -s "$M/team/nowhere/_tags/abc" "$R/_tags/v1"`)
			require.Empty(t, r.ok(t, `ls "$R/_tags"`))
		}},
		{"of what lies outside the mount is an invalid argument", func(t *testing.T, r *repo) {
			r.fails(t, "Invalid argument", `ln -s "$W/team/app/_tags/abc" "$R/_tags/v1"`)
		}},
		{"shows only in the repository that it is promoted to", func(t *testing.T, dev *repo) {
			i := dev.pushed(t, "image", "v1")
			other := dev.mount.repo(t)
			other.isGone(t, other.dir()+"/_blobs/sha256/"+i.layers[0].hex)
			other.isGone(t, other.dir()+"/_manifests/sha256/"+i.manifest.hex)
			other.fails(t, "No such file", `ln -s "$1" "$R/_tags/v1"`, i.manifest.digest())
		}},
	})
}

func TestSharingBlobs(t *testing.T) {
	share := func(name, script string) mountCase {
		return mountCase{name, func(t *testing.T, from *repo) {
			f := from.random(t, "f", 100_000)
			from.pushBlobs(t, f)
			to := from.mount.repo(t)
			before := from.storeSize(t)
			to.ok(t, script, from.dir(), f.hex)
			to.requireBlob(t, f)
			require.Equal(t, before, from.storeSize(t), "nothing is copied")
			require.Empty(t, to.ok(t, `ls "$R/_uploads"`))
		}}
	}
	onEach(t, serveOptions{}, []mountCase{
		share("by a hard link under the digest", `ln "$1/_blobs/sha256/$2" "$R/_blobs/sha256/$2"`),
		share("by a hard link under any name", `ln "$1/_blobs/sha256/$2" "$R/_blobs/layer"; test "$(readlink "$R/_blobs/layer")" = "sha256/$2"`),
		share("by cp -l", `cp -l "$1/_blobs/sha256/$2" "$R/_blobs/sha256/"`),
		share("by cp", `cp "$1/_blobs/sha256/$2" "$R/_blobs/sha256/$2"`),
		share("by a symlink", `ln -s "$1/_blobs/sha256/$2" "$R/_blobs/layer"`),
		{"scratch that is moved to another repository is copied by mv", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 10)
			other := r.mount.repo(t)
			r.ok(t, `cp "$1" "$R/_blobs/.tmp"; mv "$R/_blobs/.tmp" "$2/_blobs/sha256/$3"`, f.path, other.dir(), f.hex)
			other.requireBlob(t, f)
			r.isGone(t, r.dir()+"/_blobs/.tmp")
		}},
		{"a hard link under a wrong digest is a bad message", func(t *testing.T, r *repo) {
			f, other := r.random(t, "f", 10), r.random(t, "other", 10)
			r.pushBlobs(t, f)
			r.fails(t, "Bad message", `ln "$R/_blobs/sha256/$1" "$R/_blobs/sha256/$2"`, f.hex, other.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+other.hex)
		}},
		{"a hard link onto a name that is there exists already", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 10)
			r.pushBlobs(t, f)
			r.fails(t, "File exists", `ln "$R/_blobs/sha256/$1" "$R/_blobs/sha256/$1"`, f.hex)
		}},
		{"a manifest can be linked among the blobs, and a blob that is one among the manifests", func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			r.push(t, i)
			r.ok(t, `ln "$R/_manifests/sha256/$1" "$R/_blobs/sha256/$1"`, i.manifest.hex)
			r.requireBlob(t, i.manifest)
			other := r.image(t, "other")
			r.pushBlobs(t, other.blobs()...)
			r.pushBlobs(t, other.manifest)
			r.ok(t, `ln "$R/_blobs/sha256/$1" "$R/_tags/v1"`, other.manifest.hex)
			r.requireTag(t, "v1", other.manifest)
		}},
	})
}
