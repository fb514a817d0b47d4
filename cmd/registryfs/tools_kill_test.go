package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// killPoint is a moment at which a tool is killed: as it makes one of these
// calls on a file of the layout.
type killPoint struct{ file, calls string }

// A push that is killed leaves the repository as it was, or, where it had
// written its index, as it should be; and it can be done again.
func TestPushesThatAreKilled(t *testing.T) {
	box := newToolbox(t)
	store, mnt := newPeerStore(t), mountPoint(t)
	stock := startPeer(t, store)
	startServer(t, store, mnt)
	kept, made := makeImage(t, "kept", ociFormats), makeIndex(t, "killed", ociFormats)
	killed := func(name, prepare, push string, want *layout, picture func(*ociDir, *testing.T) string) {
		t.Run(name, func(t *testing.T) {
			d := box.inMount(t, mnt, "killed/"+name)
			d.push(t, toolNamed(t, "skopeo"), kept, "v1")
			if prepare != "" {
				box.run(t, prepare, made.dir, d.dir, "v2")
			}
			before := picture(d, t)
			untouched := 0
			for _, at := range killPoints(made) {
				script := `strace -f -qq -o /dev/null -P "$2/` + at.file + `" -e trace=` + at.calls +
					` -e inject=` + at.calls + `:signal=KILL:when=1 ` + push
				r := execute(t, "sh", "-euc", box.script(t, script), "sh", made.dir, d.dir, "v2")
				if d.tags(t)["v2"] == "" {
					require.NotZero(t, r.status, "%v", at)
					require.Equal(t, before, picture(d, t), "%v", at)
					untouched++
					continue
				}
				d.check(t, "v2", want.image)
				shell(t, `rm "$1"`, filepath.Join(mnt, d.repo, "_tags/v2"))
				before = picture(d, t) // the manifests stay
			}
			t.Logf("%d of %d kills came before the index was written", untouched, len(killPoints(made)))
			require.Positive(t, untouched)
			box.run(t, push, made.dir, d.dir, "v2")
			d.check(t, "v1", kept.image)
			d.check(t, "v2", want.image)
			stock.checkServes(t, d.repo, "v2", want.image)
		})
	}
	for _, tool := range ociTools {
		// Only the last command of a script is the tool itself.
		i := strings.LastIndexByte(tool.push, '\n')
		picture := (*ociDir).picture
		if tool.gradual {
			picture = (*ociDir).tagsPicture
		}
		killed(tool.name, tool.push[:max(i, 0)], strings.TrimSpace(tool.push[i+1:]), made, picture)
	}
	killed("umoci", "", `umoci tag --image "$2:v1" "$3"`, kept, (*ociDir).picture)
}

// killPoints are the moments of a push of an image.
func killPoints(made *layout) []killPoint {
	const blobs = "blobs/sha256/"
	points := []killPoint{
		{blobs + made.blobs[0], "renameat,write"},
		{blobs + made.root, "renameat,write"},
		{"index.json", "write"},
		{"index.json", "close"},
		{"index.json", "renameat"},
	}
	if testing.Short() {
		return points
	}
	for _, hex := range append(made.manifests, made.blobs...) {
		points = append(points, killPoint{blobs + hex, "newfstatat"}, killPoint{blobs + hex, "openat"}, killPoint{blobs + hex, "close"},
			killPoint{blobs + hex, "renameat,write"})
	}
	return append(points, killPoint{"index.json", "openat"}, killPoint{"index.json", "newfstatat"}, killPoint{"oci-layout", "write"})
}

// picture is all of a repository that a user sees, but for blobs that are there
// and nothing names.
func (d *ociDir) picture(t *testing.T) string {
	t.Helper()
	return d.tagsPicture(t) + shell(t, `cd "$1"; ls -A _manifests/sha256 _oci/blobs/sha256; cat _oci/index.json`, filepath.Join(d.mnt, d.repo))
}

// tagsPicture is the part of it that tools change last.
func (d *ociDir) tagsPicture(t *testing.T) string {
	t.Helper()
	return shell(t, `ls -l "$1"`, filepath.Join(d.mnt, d.repo, "_tags"))
}
