package fsmount_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRepositoriesInWaiting(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"mkdir -p makes one and rmdir removes it", func(t *testing.T, r *repo) {
			r.ok(t, `mkdir -p "$R/deep/er"`)
			require.Equal(t, "deep", r.ok(t, `ls -A "$R"`))
			require.Equal(t, "_blobs\n_manifests\n_tags", r.ok(t, `ls -A "$R/deep/er"`))
			r.fails(t, "Directory not empty", `rmdir "$R/deep"`)
			r.ok(t, `rmdir "$R/deep/er"; rmdir "$R/deep"`)
			r.isGone(t, r.dir()+"/deep")
			r.ok(t, `rmdir "$R"`)
			r.isGone(t, r.dir())
		}},
		{"one that was removed can be made again", func(t *testing.T, r *repo) {
			for range 3 {
				r.ok(t, `mkdir "$R/again"; ls "$R/again/_blobs/sha256"; touch "$R/again/_tags/empty"; rmdir "$R/again"`)
				r.isGone(t, r.dir()+"/again/_tags/empty")
			}
			r.ok(t, `mkdir "$R/again"`)
			r.isGone(t, r.dir()+"/again/_tags/empty")
		}},
		{"rm -r is refused and leaves it usable", func(t *testing.T, r *repo) {
			r.ok(t, `mkdir -p "$R/a/b" "$R/a/c"`)
			r.fails(t, "Operation not permitted", `rm -r "$R/a"`)
			r.ok(t, `ls "$R/a/b/_blobs/sha256" "$R/a/c/_tags"; cp /etc/passwd "$R/a/b/_blobs/"; rmdir "$R/a/c"`)
		}},
		{"it lasts once content is pushed", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			r.fails(t, "Directory not empty", `rmdir "$R"`)
			r.requireTag(t, "v1", i.manifest)
			r.fails(t, "", `rm -r "$R"`)
			r.requireBlob(t, i.layers[0])
		}},
		{"a name that is there exists", func(t *testing.T, r *repo) {
			r.fails(t, "File exists", `mkdir "$R"`)
			r.fails(t, "File exists", `mkdir "$R/_blobs"`)
			r.fails(t, "File exists", `mkdir "$R/_blobs/sha256"`)
		}},
		{"names outside the grammar are invalid arguments", func(t *testing.T, r *repo) {
			for _, name := range []string{"UPPER", "_x", ".hidden", "a b", "-a"} {
				r.fails(t, "Invalid argument", `mkdir "$R/$1"`, name)
			}
			r.errorsSay(t, "mkdir", "/"+r.name+"/UPPER", "repository name")
		}},
		{"nothing else can be made beside the views", func(t *testing.T, r *repo) {
			for _, script := range []string{`touch "$R/file"`, `ln -s x "$R/link"`, `mkfifo "$R/fifo"`, `mkdir "$R/_blobs/dir"`,
				`mkdir "$R/_tags/dir"`, `mkfifo "$R/_tags/fifo"`, `rmdir "$R/_blobs"`, `touch "$M/file"`, `rmdir "$M/.registryfs"`} {
				r.fails(t, "Operation not permitted", script)
			}
		}},
		{"directories cannot be moved, and mv does not copy them", func(t *testing.T, r *repo) {
			r.pushed(t, "image", "v1")
			before := r.storeSize(t)
			r.fails(t, "Operation not permitted", `mv "$R" "$R-moved"`)
			r.fails(t, "Operation not permitted", `mv "$R/_tags" "$R/other"`)
			r.fails(t, "Operation not permitted", `mkdir -p "$M/team/target"; mv "$R" "$M/team/target/"`)
			r.isGone(t, r.dir()+"-moved")
			require.Equal(t, before, r.storeSize(t))
			require.Equal(t, "v1", r.ok(t, `ls "$R/_tags"`))
		}},
	})
}
