package fsmount_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Link files of a repository in the store.
const (
	layerLink = `"$STORE/docker/registry/v2/repositories/$1/_layers/sha256/$2/link"`
	tagLink   = `"$STORE/docker/registry/v2/repositories/$1/_manifests/tags/$2/current/link"`
)

func TestChangesBehindTheMount(t *testing.T) {
	cases := []mountCase{
		{"a tag that moves is seen", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "v1"), r.pushed(t, "b")
			r.requireTag(t, "v1", a.manifest)
			r.ok(t, `printf %s "$3" > `+tagLink+`.new; mv `+tagLink+`.new `+tagLink, r.name, "v1", b.manifest.digest())
			r.until(t, `test "$(readlink "$R/_tags/v1")" = "../_manifests/sha256/$1"`, b.manifest.hex)
			r.requireTag(t, "v1", b.manifest)
		}},
		{"a tag that goes is seen", func(t *testing.T, r *repo) {
			a := r.pushed(t, "a", "v1", "v2")
			r.requireTag(t, "v1", a.manifest)
			r.ok(t, `rm -r "$(dirname "$(dirname `+tagLink+`)")"`, r.name, "v1")
			r.until(t, `! test -L "$R/_tags/v1"`)
			require.Equal(t, "v2", r.ok(t, `ls "$R/_tags"`))
		}},
		{"a blob that goes is no such file", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 1000)
			r.pushBlobs(t, f)
			r.requireBlob(t, f)
			r.ok(t, `rm `+layerLink, r.name, f.hex)
			r.fails(t, "No such file", `cat "$R/_blobs/sha256/$1"`, f.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+f.hex)
		}},
		{"a blob that goes is pushed again", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 1000)
			r.pushBlobs(t, f)
			r.ok(t, `test -e "$R/_blobs/sha256/$2"; rm `+layerLink+`; cat "$3" > "$R/_blobs/sha256/$2"`, r.name, f.hex, f.path)
			r.requireBlob(t, f)
		}},
	}
	for name, timeout := range map[string]time.Duration{"at once": 0, "within the timeout": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) { onDirectory(t, serveOptions{AttrTimeout: timeout}, cases) })
	}
	t.Run("though nobody else was to write", func(t *testing.T) {
		onDirectory(t, serveOptions{Exclusive: true, AttrTimeout: time.Hour}, cases[2:])
	})
	t.Run("with a timeout of 0 without waiting", func(t *testing.T) {
		onDirectory(t, serveOptions{}, []mountCase{
			{"new repositories and tags", func(t *testing.T, r *repo) {
				r.isGone(t, r.dir()+"-new")
				r.pushed(t, "a", "v1")
				r.isGone(t, r.dir()+"/_tags/v2")
				r.ok(t, `cd "$STORE/docker/registry/v2/repositories/$1"; cp -r _manifests/tags/v1 _manifests/tags/v2
					test -L "$R/_tags/v2"; cp -r . ../"$(basename "$1")-new"; test -L "$R-new/_tags/v2"`, r.name)
			}},
			{"a blob that goes", func(t *testing.T, r *repo) {
				f := r.random(t, "f", 1000)
				r.pushBlobs(t, f)
				r.ok(t, `test -e "$R/_blobs/sha256/$2"; rm `+layerLink+`; ! test -e "$R/_blobs/sha256/$2"`, r.name, f.hex)
			}},
			{"a tag that goes", func(t *testing.T, r *repo) {
				r.pushed(t, "a", "v1")
				r.ok(t, `test -L "$R/_tags/v1"; rm -r "$(dirname "$(dirname `+tagLink+`)")"; ! test -L "$R/_tags/v1"`, r.name, "v1")
			}},
		})
	})
}
