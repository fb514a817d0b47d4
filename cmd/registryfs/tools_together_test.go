package main

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tools take turns on one repository: each finds what the others left, moves
// their tags, and pulls what the one before has pushed.
func TestToolsInTurn(t *testing.T) {
	rounds := 2
	if testing.Short() {
		rounds = 1
	}
	box := newToolbox(t)
	store, mnt := newPeerStore(t), mountPoint(t)
	stock := startPeer(t, store)
	startServer(t, store, mnt)
	d := box.inMount(t, mnt, "team/turns")
	want := map[string]*layout{}
	for round := range rounds {
		for i, tool := range ociTools {
			made := makeImage(t, fmt.Sprint(tool.name, round), ociFormats)
			own := fmt.Sprintf("%s-%d", tool.name, round)
			d.push(t, tool, made, own)
			d.push(t, tool, made, "shared")
			want[own], want["shared"] = made, made
			box.run(t, `umoci tag --image "$1:shared" "$2"; umoci tag --image "$1:shared" umoci`, d.dir, "umoci-"+own)
			want["umoci-"+own], want["umoci"] = made, made
			if tool.untag != "" {
				box.run(t, tool.untag, d.dir, "umoci")
				delete(want, "umoci")
			}
			require.Equal(t, roots(want), d.tags(t), tool.name)
			next := ociTools[(i+1)%len(ociTools)]
			d.checkPulled(t, next, "shared", made)
		}
	}
	for tag, made := range want {
		d.check(t, tag, made.image)
		stock.checkServes(t, d.repo, tag, made.image)
	}
}

// roots is what tags should name.
func roots(tagged map[string]*layout) map[string]string {
	digests := map[string]string{}
	for tag, made := range tagged {
		digests[tag] = "sha256:" + made.root
	}
	return digests
}

const (
	// parallelPushes is how many tools push at once.
	parallelPushes = 8
	// roundsTogether is how many rounds of that one repository sees.
	roundsTogether = 10
)

// Tools push to one repository at once, and nothing is lost. On files most of
// it is.
func TestToolsPushAtOnce(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 2
	}
	box := newToolbox(t)
	store, mnt := newPeerStore(t), mountPoint(t)
	stock := startPeer(t, store)
	startServer(t, store, mnt)

	files := box.onFiles(t)
	shell(t, `umoci init --layout "$1"`, files.dir)
	_ = files.pushAtOnce(t, 0)
	t.Logf("on files %d of %d tags are left", len(files.tags(t)), parallelPushes)

	for first := 0; first < rounds; first += roundsTogether {
		d := box.inMount(t, mnt, fmt.Sprintf("team/parallel%d", first))
		want := map[string]string{}
		for round := first; round < min(first+roundsTogether, rounds); round++ {
			pushed := d.pushAtOnce(t, round)
			got := d.tags(t)
			for tag, root := range pushed {
				if root == "" { // umoci's own
					root = got[tag]
					require.NotEmpty(t, root, "%s is lost", tag)
				}
				want[tag] = root
			}
			require.Equal(t, want, got, "round %d", round)
		}
		require.Equal(t, slices.Sorted(maps.Keys(want)), stock.tags(t, d.repo))
		for _, tag := range slices.Sorted(maps.Keys(want)) {
			served := stock.fetch(t, d.repo, tag)
			require.Equal(t, want[tag], "sha256:"+served.root)
			d.checkFiles(t, served)
		}
		require.Empty(t, shell(t, `ls -A "$1/$2/_uploads"`, mnt, d.repo))
	}
}

// pushAtOnce pushes an image with each tool twice, but for umoci, which makes
// one, and returns the digests of their tags.
func (d *ociDir) pushAtOnce(t *testing.T, round int) map[string]string {
	t.Helper()
	pushed := map[string]string{}
	var scripts []string
	for i := range parallelPushes - 1 {
		tool := ociTools[i%len(ociTools)]
		tag := fmt.Sprintf("r%d-%d-%s", round, i, tool.name)
		made := makeImage(t, tag, ociFormats)
		pushed[tag] = "sha256:" + made.root
		scripts = append(scripts, fmt.Sprintf("set -- %q %q %q\n%s", made.dir, d.dir, tag, tool.push))
	}
	tag := fmt.Sprintf("r%d-umoci", round)
	pushed[tag] = ""
	scripts = append(scripts, fmt.Sprintf("umoci new --image %q", d.dir+":"+tag))

	ctx, cancel := context.WithTimeout(t.Context(), parallelPushes*patience)
	defer cancel()
	ended := make(chan error)
	for _, script := range scripts {
		cmd := exec.CommandContext(ctx, "sh", "-euc", "exec 2>&1\n"+d.box.script(t, script))
		cmd.WaitDelay = patience
		go func() {
			out, err := cmd.Output()
			if err != nil {
				err = fmt.Errorf("%w: %s\n%s", err, script, out)
			}
			ended <- err
		}()
	}
	var failed []string
	for range scripts {
		if err := <-ended; err != nil {
			failed = append(failed, err.Error())
		}
	}
	if d.mnt != "" { // on files they get into each other's way
		require.Empty(t, strings.Join(failed, "\n"))
	}
	return pushed
}
