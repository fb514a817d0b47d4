package fsmount_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// meanwhile is what somebody does with what a file has published, before more is
// written to the file and it is taken back. Scripts find the content in a file
// $1, its digest in $2, in hex, and in $O a repository that has it too.
type meanwhile struct{ name, script string }

// keeps are cases in which what was acknowledged meanwhile is there afterwards,
// read at $R/<view>/sha256/$2 and, by whoever was told so, at $R/<view>/b.
func keeps(view string, uses []meanwhile, content func(*testing.T, *repo) file) []mountCase {
	var cases []mountCase
	for _, use := range uses {
		cases = append(cases, mountCase{view + ": " + use.name, func(t *testing.T, r *repo) {
			f, other := content(t, r), r.mount.repo(t)
			r.grows(t, view, other, f, use.script)
			r.ok(t, `cmp "$1" "$R/$3/sha256/$2"; if test -L "$R/$3/b"; then cmp "$1" "$R/$3/b"; fi`, f.path, f.hex, view)
		}})
	}
	return cases
}

// grows has a file publish what is in f, and then that and a newline more.
func (r *repo) grows(t *testing.T, view string, other *repo, f file, use string) {
	t.Helper()
	r.ok(t, `O=$4; text=$(cat "$1"; echo .); text=${text%.}
		exec 3> "$R/$3/a"; printf %s "$text" >&3; cmp "$1" "$R/$3/a"
		`+use+`
		echo >&3; exec 3>&-`, f.path, f.hex, view, other.dir())
}

// line is a blob that no other repository has.
func (r *repo) line(t *testing.T) file {
	return r.file(t, "line", fmt.Appendf(nil, "a line of %s\n", r.name))
}

func TestNothingAcknowledgedIsTakenBack(t *testing.T) {
	uses := func(view string) []meanwhile {
		return []meanwhile{
			{"another name is given it", `cp "$1" "$R/` + view + `/b"`},
			{"its digest is given it", `cp "$1" "$R/` + view + `/sha256/$2"`},
			{"a temporary becomes it", `cp "$1" "$R/` + view + `/.b"; mv "$R/` + view + `/.b" "$R/` + view + `/b"`},
			{"a symlink names it", `ln -s "sha256/$2" "$R/` + view + `/b"`},
			{"a hard link names it", `ln "$R/` + view + `/sha256/$2" "$R/` + view + `/b"`},
			{"its name changes", `mv "$R/` + view + `/a" "$R/` + view + `/b"`},
			{"a name is given to the open file", `ln -L /proc/$$/fd/3 "$R/` + view + `/b"`},
		}
	}
	blobs := append(uses("_blobs"), []meanwhile{
		{"a hard link from another repository", `cp "$1" "$O/_blobs/"; ln "$O/_blobs/sha256/$2" "$R/_blobs/b"`},
		{"a symlink to another repository", `cp "$1" "$O/_blobs/"; ln -s "$O/_blobs/sha256/$2" "$R/_blobs/b"`},
		{"a layout is given it", `cp "$1" "$R/_oci/blobs/sha256/$2"`},
	}...)
	manifests := append(uses("_manifests"), []meanwhile{
		{"a tag is given it", `cp "$1" "$R/_tags/v1"`},
		{"a tag names it", `ln -s "../_manifests/sha256/$2" "$R/_tags/v1"`},
		{"a layout names it", `printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%d}]}' \
			"$2" "$(wc -c < "$1")" > "$W/index.json"; cp "$W/index.json" "$R/_oci/index.json"`},
		{"a layout is given it", `cp "$1" "$R/_oci/blobs/sha256/$2"`},
	}...)
	onEach(t, serveOptions{}, append(
		keeps("_blobs", blobs, func(t *testing.T, r *repo) file { return r.line(t) }),
		keeps("_manifests", manifests, func(t *testing.T, r *repo) file {
			i := r.image(t, "image")
			r.pushBlobs(t, i.blobs()...)
			return i.manifest
		})...))
}

func TestNothingAcknowledgedByAnotherMountIsTakenBack(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	m := newMount(t, serveOptions{Store: store, AttrTimeout: time.Second})
	theirs := newMount(t, serveOptions{Store: store, AttrTimeout: time.Second})
	for _, script := range []string{
		`cp "$1" "$R/_blobs/b"`,
		`cp "$1" "$R/_blobs/sha256/$2"`,
		`ln "$R/_blobs/sha256/$2" "$R/_blobs/b"`,
	} {
		r, other := m.repo(t), m.repo(t)
		f, their := r.line(t), theirs.named(t, r.name)
		r.grows(t, "_blobs", other, f, `R="`+their.dir()+`"; `+script+`; R="`+r.dir()+`"`)
		for _, r := range []*repo{r, their} {
			r.until(t, `cmp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
		}
	}
}

// A layout's manifests are written among the blobs, and are blobs no more once
// index.json names them; what somebody pushed as a blob stays one.
func TestABlobThatALayoutMakesAManifestStays(t *testing.T) {
	var cases []mountCase
	for name, script := range map[string]string{
		"pushed before it":   `cp "$1" "$R/_blobs/b"; cp "$1" "$R/_oci/blobs/sha256/$2"`,
		"pushed after it":    `cp "$1" "$R/_oci/blobs/sha256/$2"; cp "$1" "$R/_blobs/b"`,
		"named by a symlink": `cp "$1" "$R/_oci/blobs/sha256/$2"; ln -s "sha256/$2" "$R/_blobs/b"`,
	} {
		cases = append(cases, mountCase{name, func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			r.putLayoutBlobs(t, i.blobs()...)
			r.ok(t, script, i.manifest.path, i.manifest.hex)
			r.layoutPush(t, "umoci", "v1", i.manifest)
			r.requireTag(t, "v1", i.manifest)
			r.ok(t, `cmp "$1" "$R/_blobs/b"`, i.manifest.path)
		}})
	}
	onEach(t, serveOptions{}, cases)
}

// What nobody else has been told of is taken back, as TestShells says, also
// where others know it in other repositories.
func TestWhatIsAnothersElsewhereIsTakenBack(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{{"though another repository has it", func(t *testing.T, r *repo) {
		f, other := r.line(t), r.mount.repo(t)
		r.grows(t, "_blobs", other, f, `cp "$1" "$O/_blobs/b"; ln "$R/_blobs/sha256/$2" "$O/_blobs/c"`)
		r.isGone(t, r.dir()+"/_blobs/sha256/"+f.hex)
		other.requireBlob(t, f)
		require.Equal(t, f.hex, other.ok(t, `ls "$R/_blobs/sha256"`))
	}}})
}
