package fsmount_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Shells send FLUSH before the first write, and their children in the middle
// of the file.
func TestShells(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"a descriptor written twice holds both, and what the first made is taken back", func(t *testing.T, r *repo) {
			a, ab := r.file(t, "a", []byte("a "+r.name+"\n")), r.file(t, "ab", []byte("a "+r.name+"\nb\n"))
			r.ok(t, `exec 3> "$R/_blobs/f"; echo "a $1" >&3; echo b >&3; exec 3>&-`, r.name)
			require.Equal(t, "sha256/"+ab.hex, r.ok(t, `readlink "$R/_blobs/f"`))
			r.requireBlob(t, ab)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+a.hex)
			require.Equal(t, ab.hex, r.ok(t, `ls "$R/_blobs/sha256"`))
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}},
		{"what was there before is not taken back", func(t *testing.T, r *repo) {
			a, ab := r.file(t, "a", []byte("a\n")), r.file(t, "ab", []byte("a\nb\n"))
			r.pushBlobs(t, a)
			r.ok(t, `exec 3> "$R/_blobs/f"; echo a >&3; echo b >&3; exec 3>&-`)
			r.requireBlob(t, a)
			r.requireBlob(t, ab)
		}},
		{"what something references is not taken back", func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			config, err := i.config.content()
			require.NoError(t, err)
			r.pushBlobs(t, i.layers...)
			r.ok(t, `exec 3> "$R/_blobs/f"; printf %s "$1" >&3; cp "$2" "$R/_tags/v1"; echo more >&3; exec 3>&-`, string(config), i.manifest.path)
			r.requireBlob(t, i.config)
			r.requireTag(t, "v1", i.manifest)
		}},
		{"a manifest written to a tag in pieces", func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			r.pushBlobs(t, i.blobs()...)
			r.ok(t, `exec 3> "$R/_tags/v1"; head -c 100 "$1" >&3; tail -c +101 "$1" >&3; exec 3>&-`, i.manifest.path)
			r.requireTag(t, "v1", i.manifest)
			require.Equal(t, i.manifest.hex, r.ok(t, `ls "$R/_manifests/sha256"`))
		}},
		{"a manifest and another written to an existing tag in pieces", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "v1"), r.image(t, "b")
			r.pushBlobs(t, b.blobs()...)
			r.ok(t, `exec 3> "$R/_tags/v1"; head -c 100 "$1" >&3; tail -c +101 "$1" >&3; exec 3>&-`, b.manifest.path)
			r.requireTag(t, "v1", b.manifest)
			r.ok(t, `cmp "$1" "$R/_manifests/sha256/$2"`, a.manifest.path, a.manifest.hex)
		}},
		{"a subshell's file is whole", func(t *testing.T, r *repo) {
			a := r.random(t, "a", 300_000)
			r.ok(t, `(cat "$1"; echo b) > "$R/_blobs/f"; (cat "$1"; echo b) | cmp - "$R/_blobs/f"`, a.path)
			r.ok(t, `(cat "$1"; /bin/echo b; (cat "$1")) > "$R/_blobs/g"; (cat "$1"; echo b; cat "$1") | cmp - "$R/_blobs/g"`, a.path)
			require.Equal(t, "2", r.ok(t, `ls "$R/_blobs/sha256" | wc -l`))
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}},
		{"a subshell that writes a tag", func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			r.pushBlobs(t, i.blobs()...)
			r.ok(t, `(head -c 100 "$1"; tail -c +101 "$1") > "$R/_tags/v1"`, i.manifest.path)
			r.until(t, `readlink "$R/_tags/v1"`)
			r.requireTag(t, "v1", i.manifest)
		}},
		{"children that write a digest name in turn", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 300_000)
			r.ok(t, `(head -c 100000 "$1"; tail -c +100001 "$1") > "$R/_blobs/sha256/$2"`, f.path, f.hex)
			r.requireBlob(t, f)
		}},
		{"a placeholder is there, unlisted and never published", func(t *testing.T, r *repo) {
			r.ok(t, `: > "$R/_blobs/empty"; touch "$R/_tags/empty"; test -f "$R/_blobs/empty"; test -f "$R/_tags/empty"`)
			require.Equal(t, "sha256", r.ok(t, `ls "$R/_blobs"; ls "$R/_tags"; ls "$R/_blobs/sha256"; ls "$R/_uploads"`))
			r.ok(t, `echo full > "$R/_blobs/empty"; test "$(cat "$R/_blobs/empty")" = full`)
			r.ok(t, `rm "$R/_tags/empty"`)
			r.isGone(t, r.dir()+"/_tags/empty")
			require.NotContains(t, r.ok(t, `cat "$M/.registryfs/errors"`), "/"+r.name+"/")
		}},
		{"a program that opens on one thread and closes on another", func(t *testing.T, r *repo) {
			f := r.file(t, "f", []byte("threads "+r.name))
			r.ok(t, `FSMOUNT_TEST_ROLE=twothreads "$SELF" "$R/_blobs/f" "threads $1"`, r.name)
			require.Equal(t, "sha256/"+f.hex, r.ok(t, `readlink "$R/_blobs/f"`))
			r.fails(t, "invalid argument", `FSMOUNT_TEST_ROLE=twothreads "$SELF" "$R/_tags/v1" "no manifest"`)
		}},
	})
}
