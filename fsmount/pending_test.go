package fsmount_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// waitingTag has rsync make a tag of an image whose manifest is still to come.
func (r *repo) waitingTag(t *testing.T, rsync *agent, tag string, to image) {
	t.Helper()
	temporary := r.dir() + "/_tags/." + tag + ".AbC123"
	rsync.ok(t, request{Op: "symlink", Path: temporary, To: "../_manifests/sha256/" + to.manifest.hex})
	rsync.ok(t, request{Op: "rename", Path: temporary, To: r.dir() + "/_tags/" + tag})
}

// ok has the agent do something that succeeds.
func (a *agent) ok(t *testing.T, q request) {
	t.Helper()
	got, err := a.ask(q)
	require.NoError(t, err)
	require.Zero(t, got.Errno, "%+v: %s", q, got.Fault)
}

// coming is an image of which all but the manifest is there.
func (r *repo) coming(t *testing.T, name string) image {
	t.Helper()
	i := r.image(t, name)
	r.pushBlobs(t, i.blobs()...)
	return i
}

// comes brings the manifest of an image.
func (r *repo) comes(t *testing.T, i image) {
	t.Helper()
	r.ok(t, `cp "$1" "$R/_manifests/sha256/$2"`, i.manifest.path, i.manifest.hex)
}

func TestTagsThatWaitForTheirManifest(t *testing.T) {
	changes := []struct{ name, script, want string }{ // $1 is another image's digest, $2 its manifest
		{"ln -sfn", `ln -sfn "$1" v1`, "other"},
		{"mv of a temporary link", `ln -s "$1" .t; mv -T .t v1`, "other"},
		{"mv of a temporary file", `cp "$2" .t; mv -T .t v1`, "other"},
		{"mv of a tag", `ln -s "$1" tmp; mv -T tmp v1`, "other"},
		{"rm", `rm v1`, ""},
		{"rm and ln", `rm v1; ln -s "$1" v1`, "other"},
		{"rm and cp", `rm v1; cp "$2" v1`, "other"},
		{"ln -sfn and rm", `ln -sfn "$1" v1; rm v1`, ""},
	}
	var cases []mountCase
	for _, c := range changes {
		for _, existed := range []bool{false, true} {
			name := c.name + " after a new tag"
			if existed {
				name = c.name + " after a retag"
			}
			cases = append(cases, mountCase{name, func(t *testing.T, r *repo) {
				rsync := newAgentNamed(t, r.mount.dir, "rsync")
				late, other := r.coming(t, "late"), r.pushed(t, "other")
				if existed {
					r.pushed(t, "old", "v1")
				}
				r.waitingTag(t, rsync, "v1", late)
				r.ok(t, `cd "$R/_tags"; `+c.script, other.manifest.digest(), other.manifest.path)
				r.comes(t, late)
				if c.want == "" {
					r.isGone(t, r.dir()+"/_tags/v1")
					require.Empty(t, r.ok(t, `ls -A "$R/_tags"`))
					return
				}
				r.requireTag(t, "v1", other.manifest)
				require.Equal(t, "v1", r.ok(t, `ls -A "$R/_tags"`))
			}})
		}
	}
	onEach(t, serveOptions{}, append(cases,
		mountCase{"they are set when it comes", func(t *testing.T, r *repo) {
			rsync := newAgentNamed(t, r.mount.dir, "rsync")
			late, old := r.coming(t, "late"), r.pushed(t, "old", "v1")
			r.waitingTag(t, rsync, "v1", late)
			r.waitingTag(t, rsync, "v2", late)
			r.requireTag(t, "v1", old.manifest)
			require.Equal(t, "v1", r.ok(t, `ls -A "$R/_tags"`))
			require.Equal(t, "../_manifests/sha256/"+late.manifest.hex, r.ok(t, `readlink "$R/_tags/v2"`))
			r.comes(t, late)
			r.requireTag(t, "v1", late.manifest)
			r.requireTag(t, "v2", late.manifest)
		}},
		mountCase{"the later of two counts", func(t *testing.T, r *repo) {
			rsync := newAgentNamed(t, r.mount.dir, "rsync")
			a, b := r.coming(t, "a"), r.coming(t, "b")
			r.waitingTag(t, rsync, "v1", a)
			r.waitingTag(t, rsync, "v1", b)
			r.comes(t, b)
			r.requireTag(t, "v1", b.manifest)
			r.comes(t, a)
			r.requireTag(t, "v1", b.manifest)
		}},
		mountCase{"they keep their name, and a tag that moves leaves its wait", func(t *testing.T, r *repo) {
			rsync := newAgentNamed(t, r.mount.dir, "rsync")
			late, old := r.coming(t, "late"), r.pushed(t, "old", "v1")
			r.waitingTag(t, rsync, "v1", late)
			r.waitingTag(t, rsync, "v2", late)
			r.fails(t, "Device or resource busy", `mv "$R/_tags/v2" "$R/_tags/v3"`)
			r.ok(t, `mv "$R/_tags/v1" "$R/_tags/v3"`)
			r.comes(t, late)
			r.isGone(t, r.dir()+"/_tags/v1")
			r.requireTag(t, "v2", late.manifest)
			r.requireTag(t, "v3", old.manifest)
		}},
	))
}

func TestWaitingTagsAndOtherWriters(t *testing.T) {
	onDirectory(t, serveOptions{}, []mountCase{
		{"a tag that another writer has made stays", func(t *testing.T, r *repo) {
			rsync := newAgentNamed(t, r.mount.dir, "rsync")
			late, other := r.coming(t, "late"), r.pushed(t, "other", "v1")
			r.waitingTag(t, rsync, "v2", late)
			r.ok(t, `cd "$STORE/docker/registry/v2/repositories/$1/_manifests/tags"; cp -r v1 v2`, r.name)
			r.comes(t, late)
			r.requireTag(t, "v2", other.manifest)
		}},
		{"a tag that another writer has moved stays", func(t *testing.T, r *repo) {
			rsync := newAgentNamed(t, r.mount.dir, "rsync")
			late, other := r.coming(t, "late"), r.pushed(t, "other")
			r.pushed(t, "old", "v1")
			r.waitingTag(t, rsync, "v1", late)
			r.ok(t, `printf %s "$3" > `+tagLink+`.new; mv `+tagLink+`.new `+tagLink, r.name, "v1", other.manifest.digest())
			r.comes(t, late)
			r.requireTag(t, "v1", other.manifest)
		}},
		{"a tag that another writer has removed stays so", func(t *testing.T, r *repo) {
			rsync := newAgentNamed(t, r.mount.dir, "rsync")
			late := r.coming(t, "late")
			r.pushed(t, "old", "v1")
			r.waitingTag(t, rsync, "v1", late)
			r.ok(t, `rm -r "$(dirname "$(dirname `+tagLink+`)")"`, r.name, "v1")
			r.comes(t, late)
			r.isGone(t, r.dir()+"/_tags/v1")
		}},
	})
}

// Every failure reaches who makes it, or is found among the errors at once.
func TestTagsWhoseManifestsRsyncDoesNotBring(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"into _tags alone fails", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1", "v2")
			to := r.mount.repo(t)
			to.fails(t, "No such file", `rsync -a "$1/_tags/" "$R/_tags/"`, r.dir())
			to.fails(t, "No such file", `rsync -a "$1/_tags/v1" "$R/_tags/"`, r.dir())
			to.errorsSay(t, "symlink", "/"+to.name+"/_tags/v1", i.manifest.digest())
			require.Empty(t, to.ok(t, `ls -A "$R/_tags"`))
			to.ok(t, `rsync -a "$1/_blobs" "$1/_manifests" "$R/"; rsync -a "$1/_tags/" "$R/_tags/"`, r.dir())
			require.Equal(t, r.tree(t), to.tree(t))
		}},
		{"into a repository is found among the errors", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			old := r.mount.repo(t)
			was := old.pushed(t, "old", "v1")
			for _, to := range []*repo{r.mount.repo(t), old} {
				said := to.ok(t, `cd "$1"; rsync -aR ./_tags "$R/"; cat "$M/.registryfs/errors"`, r.dir())
				require.Contains(t, said, "symlink /"+to.name+"/_tags/v1 manifest "+i.manifest.digest()+" never came")
			}
			old.requireTag(t, "v1", was.manifest)
			to := r.mount.repo(t)
			to.ok(t, `cd "$1"; rsync -aR ./_tags "$R/"; cat "$M/.registryfs/errors"; ! test -L "$R/_tags/v1"`, r.dir())
			to.ok(t, `rsync -a "$1/_blobs" "$1/_manifests" "$R/"`, r.dir())
			require.Empty(t, to.ok(t, `ls -A "$R/_tags"`), "it waits no longer")
		}},
	})
}

// What ends a program's waits needs nobody to look.
func TestTheEndOfRsyncIsNoticed(t *testing.T) {
	t.Parallel()
	r := newMount(t, serveOptions{}).repo(t)
	late := r.coming(t, "late")
	t.Run("while it runs", func(t *testing.T) {
		r.waitingTag(t, newAgentNamed(t, r.mount.dir, "rsync"), "v1", late)
		require.Equal(t, "../_manifests/sha256/"+late.manifest.hex, r.ok(t, `readlink "$R/_tags/v1"`))
	})
	r.until(t, `! test -L "$R/_tags/v1"`)
	r.comes(t, late)
	require.Empty(t, r.ok(t, `ls -A "$R/_tags"`))
}
