package fsmount_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/manifest"
)

func TestManifests(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"cp by digest, by any name and as a tag", func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			r.pushBlobs(t, i.blobs()...)
			r.ok(t, `cp "$1" "$R/_manifests/anyname"`, i.manifest.path)
			require.Equal(t, "sha256/"+i.manifest.hex, r.ok(t, `readlink "$R/_manifests/anyname"`))
			require.Equal(t, "anyname\nsha256", r.ok(t, `ls "$R/_manifests"`))
			r.ok(t, `cp "$1" "$R/_manifests/sha256/$2"; cmp "$1" "$R/_manifests/sha256/$2"`, i.manifest.path, i.manifest.hex)
			r.ok(t, `cp "$1" "$R/_tags/v2"`, i.manifest.path)
			r.requireTag(t, "v2", i.manifest)
			r.ok(t, `cmp "$1" "$R/_manifests/$2"`, i.manifest.path, i.manifest.digest())
		}},
		{"a manifest is not listed among the blobs", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			require.NotContains(t, r.ok(t, `ls "$R/_blobs/sha256"`), i.manifest.hex)
			require.Equal(t, i.manifest.hex, r.ok(t, `ls "$R/_manifests/sha256"`))
		}},
		{"wrong content under a digest does not appear", func(t *testing.T, r *repo) {
			i, other := r.image(t, "image"), r.image(t, "other")
			r.pushBlobs(t, i.blobs()...)
			r.fails(t, "Bad message", `cp "$1" "$R/_manifests/sha256/$2"`, i.manifest.path, other.manifest.hex)
			require.Empty(t, r.ok(t, `ls "$R/_manifests/sha256"`))
		}},
		{"a manifest is known by one digest", func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			r.pushBlobs(t, i.blobs()...)
			r.fails(t, "Invalid argument", `cp "$1" "$R/_manifests/sha512/$(sha512sum <"$1" | cut -d' ' -f1)"`, i.manifest.path)
			r.errorsSay(t, "/"+r.name+"/_manifests/sha512/", i.manifest.digest())
			require.Empty(t, r.ok(t, `ls "$R/_manifests/sha256"; ls "$R/_uploads"`))
		}},
		{"missing references are all named and nothing appears", func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			r.pushBlobs(t, i.layers[0])
			for _, path := range []string{"_tags/v1", "_manifests/sha256/" + i.manifest.hex, "_manifests/name"} {
				r.fails(t, "No data available", `cp "$1" "$R/$2"`, i.manifest.path, path)
				line := r.errorsSay(t, "/"+r.name+"/"+path, i.config.hex, i.layers[1].hex)
				require.NotContains(t, line, i.layers[0].hex)
				r.isGone(t, r.dir()+"/"+path)
			}
			require.Empty(t, r.ok(t, `ls "$R/_manifests/sha256" "$R/_tags" | grep -v :; ls "$R/_uploads"`))
		}},
		{"what is no manifest is an invalid argument", func(t *testing.T, r *repo) {
			ambiguous := `{"schemaVersion":2,"layers":[],"manifests":[]}`
			for name, text := range map[string]string{"text": "hello", "json": "{}", "both": ambiguous, "half": `{"schemaVersion":2,`} {
				r.fails(t, "Invalid argument", `cp "$1" "$R/_tags/v1"`, r.file(t, name, []byte(text)).path)
				r.fails(t, "Invalid argument", `cp "$1" "$R/_manifests/name"`, r.file(t, name, []byte(text)).path)
			}
			require.Empty(t, r.ok(t, `ls "$R/_tags"; ls "$R/_manifests/sha256"; ls "$R/_uploads"`))
			r.errorsSay(t, "/"+r.name+"/_tags/v1", "invalid")
		}},
		{"a manifest over 4 MiB is too large", func(t *testing.T, r *repo) {
			big := r.file(t, "big", []byte(`{"schemaVersion":2,"x":"`+strings.Repeat("x", manifest.MaxSize)+`"}`))
			r.fails(t, "File too large", `cp "$1" "$R/_tags/v1"`, big.path)
			require.Empty(t, r.ok(t, `ls "$R/_tags"`))
			r.until(t, `test -z "$(ls "$R/_uploads")"`)
		}},
		{"an index can come before its children, and is tagged after them", func(t *testing.T, r *repo) {
			a, b := r.image(t, "amd64"), r.image(t, "arm64")
			index := r.index(t, "index", a, b)
			r.ok(t, `cp "$1" "$R/_manifests/sha256/$2"`, index.path, index.hex)
			r.fails(t, "No data available", `ln -s "$1" "$R/_tags/v1"`, index.digest())
			r.errorsSay(t, "/"+r.name+"/_tags/v1", a.manifest.hex, b.manifest.hex)
			r.push(t, a)
			r.fails(t, "No data available", `ln -s "$1" "$R/_tags/v1"`, index.digest())
			r.push(t, b)
			r.ok(t, `ln -s "$1" "$R/_tags/v1"`, index.digest())
			r.requireTag(t, "v1", index)
		}},
		{"an index that cannot be tagged is not left behind", func(t *testing.T, r *repo) {
			index := r.index(t, "index", r.image(t, "amd64"))
			r.fails(t, "No data available", `cp "$1" "$R/_tags/v1"`, index.path)
			require.Empty(t, r.ok(t, `ls "$R/_tags"; ls "$R/_manifests/sha256"`))
		}},
		{"a subject need not exist", func(t *testing.T, r *repo) {
			config := r.file(t, "config", []byte("{}"))
			r.pushBlobs(t, config)
			m := r.json(t, "referrer", object{
				"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIManifest, "artifactType": "text/plain",
				"config": descriptor(manifest.MediaTypeOCIEmpty, config), "layers": []object{descriptor(manifest.MediaTypeOCIEmpty, config)},
				"subject": descriptor(manifest.MediaTypeOCIManifest, r.file(t, "nowhere", []byte("nowhere"))),
			})
			r.ok(t, `cp "$1" "$R/_tags/referrer"`, m.path)
			r.requireTag(t, "referrer", m)
		}},
		{"a stored digest, written to a tag, sets it", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image")
			r.ok(t, `echo "$1" > "$R/_tags/v2"`, i.manifest.digest())
			r.requireTag(t, "v2", i.manifest)
			other := r.pushed(t, "other")
			r.ok(t, `echo "$1" > "$R/_tags/v2"`, other.manifest.digest())
			r.requireTag(t, "v2", other.manifest)
			r.requireTag(t, "../_manifests/../_tags/v2", other.manifest)
			unknown := r.file(t, "digest", []byte(r.image(t, "unknown").manifest.digest()))
			r.fails(t, "No such file", `cp "$1" "$R/_tags/v3"`, unknown.path)
			r.errorsSay(t, "/"+r.name+"/_tags/v3", "unknown manifest")
			r.isGone(t, r.dir()+"/_tags/v3")
		}},
	})
}

func TestSparseIndexes(t *testing.T) {
	onEach(t, serveOptions{SparseIndexes: true}, []mountCase{
		{"an index can be tagged without its children", func(t *testing.T, r *repo) {
			index := r.index(t, "index", r.image(t, "amd64"))
			r.ok(t, `cp "$1" "$R/_tags/v1"`, index.path)
			r.requireTag(t, "v1", index)
		}},
	})
}
