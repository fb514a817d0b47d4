package main

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// looking lists and looks for everything in $1 over and over, so that the
// kernel has it: what is there, and that $2… are not.
const looking = `
	cd "$1"; shift
	while :; do
		ls . team team/app/_tags team/app/_blobs/sha256 team/app/_manifests/sha256 team/new > /dev/null 2>&1 || :
		ls -l team/app/_tags > /dev/null
		for path; do test -e "$path" || :; done
	done`

// What a stock registry does in the same directory is in the mount within a
// second, whatever the kernel has from before, and however often it is looked
// at meanwhile.
func TestSeenWithinASecond(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, first, second := startPeer(t, store), makeLayout(t, "first"), makeLayout(t, "second")
	p.push(t, first, "team/app", "v1")
	p.push(t, first, "team/app", "gone")
	startServer(t, store, mnt)

	blob := second.blobs[0]
	watched := []string{
		"team/new", "team/new/_tags/v1", "team/app/_tags/v2", "team/app/_tags/latest",
		"team/app/_manifests/sha256/" + second.root, "team/app/_blobs/sha256/" + blob, "team/app/_blobs/sha256:" + blob,
	}
	look := exec.Command("sh", append([]string{"-euc", looking, "sh", mnt}, watched...)...)
	require.NoError(t, look.Start())
	defer func() {
		_ = look.Process.Kill()
		_ = look.Wait()
	}()
	_, content := p.get(t, "team/app/manifests/v1", http.StatusOK)
	for range 3 {
		// The pause is the promise itself, and what the kernel's ticks and a busy
		// machine add.
		seen := shell(t, `sleep 1.1; cd "$1"; ls -d team/* team/app/_tags/*; readlink team/app/_tags/v1`, mnt)
		require.Contains(t, seen, first.root)
		require.NotContains(t, seen, "new")
	}

	p.push(t, second, "team/new", "v1")
	p.push(t, second, "team/app", "v2")
	require.NoError(t, p.retag("team/app", "latest", "application/vnd.oci.image.index.v1+json", content))
	p.push(t, second, "team/app", "v1")
	shell(t, `sleep 1.1; cd "$1"; root=$2; shift 2
		for path; do test -e "$path" || { echo "no $path"; exit 1; }; done
		for tag in v1 v2; do test "$(readlink team/app/_tags/$tag)" = "../_manifests/sha256/$root"; done
		test "$(echo $(ls team))" = "app new"
		test "$(echo $(ls team/app/_tags))" = "gone latest v1 v2"
		ls team/app/_manifests/sha256 | grep -q "$root"`, append([]string{mnt, second.root}, watched...)...)
	listed := strings.Fields(shell(t, `ls "$1"`, filepath.Join(mnt, "team/app/_blobs/sha256")))
	require.Subset(t, listed, second.blobs)
}
