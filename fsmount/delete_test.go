package fsmount_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeletion(t *testing.T) {
	onEach(t, serveOptions{AllowDelete: true}, []mountCase{
		{"a blob that nothing references goes", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 100)
			r.pushBlobs(t, f)
			r.ok(t, `rm "$R/_blobs/sha256/$1"`, f.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+f.hex)
			require.Empty(t, r.ok(t, `ls "$R/_blobs/sha256"`))
			r.fails(t, "No such file", `rm "$R/_blobs/sha256/$1"`, f.hex)
			r.pushBlobs(t, f)
			r.requireBlob(t, f)
		}},
		{"a manifest that a tag names is busy, and goes when it is untagged", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			r.fails(t, "Device or resource busy", `rm "$R/_manifests/sha256/$1"`, i.manifest.hex)
			r.errorsSay(t, "remove", i.manifest.hex, "v1")
			r.requireTag(t, "v1", i.manifest)
			r.ok(t, `rm "$R/_tags/v1"; rm "$R/_manifests/sha256/$1"`, i.manifest.hex)
			r.isGone(t, r.dir()+"/_manifests/sha256/"+i.manifest.hex)
			r.requireBlob(t, i.layers[0])
		}},
		{"a manifest that an index names is busy", func(t *testing.T, r *repo) {
			index, images := r.pushedIndex(t, "v1")
			child := images[0].manifest.hex
			r.fails(t, "Device or resource busy", `rm "$R/_manifests/sha256/$1"`, child)
			r.errorsSay(t, "remove", child, index.hex)
			r.ok(t, `rm "$R/_tags/v1" "$R/_manifests/sha256/$1" "$R/_manifests/sha256/$2"`, index.hex, child)
			require.Equal(t, images[1].manifest.hex, r.ok(t, `ls "$R/_manifests/sha256"`))
		}},
		{"a blob that manifests reference is hidden, and goes with the last of them", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			layer := i.layers[0]
			second := r.json(t, "second.json", object{
				"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
				"config": descriptor("application/vnd.oci.image.config.v1+json", i.config),
				"layers": []object{descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)},
			})
			r.ok(t, `cp "$1" "$R/_tags/v2"`, second.path)
			r.ok(t, `rm "$R/_blobs/sha256/$1"`, layer.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+layer.hex)
			require.NotContains(t, r.ok(t, `ls "$R/_blobs/sha256"`), layer.hex)
			link := r.mount.store + "/docker/registry/v2/repositories/" + r.name + "/_layers/sha256/" + layer.hex + "/link"
			linked := func() bool { return r.mount.store == "" || r.sh(t, `test -e "$1"`, link).status == 0 }
			require.True(t, linked(), "registries still serve it")

			r.ok(t, `rm "$R/_tags/v1" "$R/_manifests/sha256/$1"`, i.manifest.hex)
			require.True(t, linked(), "another manifest references it")
			r.ok(t, `rm "$R/_tags/v2" "$R/_manifests/sha256/$1"`, second.hex)
			if r.mount.store != "" {
				require.False(t, linked())
			}
			r.pushBlobs(t, layer)
			r.requireBlob(t, layer)
		}},
		{"a hidden blob that is pushed again shows", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			r.ok(t, `rm "$R/_blobs/sha256/$1"`, i.config.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+i.config.hex)
			r.pushBlobs(t, i.config)
			r.requireBlob(t, i.config)
			require.Contains(t, r.ok(t, `ls "$R/_blobs/sha256"`), i.config.hex)
		}},
		{"a hidden blob that is linked from elsewhere shows", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			other := r.mount.repo(t)
			other.ok(t, `ln -s "$1/_tags/v1" "$R/_tags/v1"; rm "$R/_blobs/sha256/$2"`, r.dir(), i.config.hex)
			other.isGone(t, other.dir()+"/_blobs/sha256/"+i.config.hex)
			other.ok(t, `ln "$1/_blobs/sha256/$2" "$R/_blobs/sha256/$2"`, r.dir(), i.config.hex)
			other.requireBlob(t, i.config)
		}},
		{"rm -r does not take a repository", func(t *testing.T, r *repo) {
			r.pushed(t, "image", "v1")
			r.fails(t, "", `rm -r "$R"`)
			r.ok(t, `ls "$R/_blobs/sha256" > "$W/listed"; test -d "$R"`)
		}},
	})
}
