package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What skopeo pushes through a stock registry is in the mount, whatever the
// format, byte for byte.
func TestPushedThroughTheRegistry(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, made := startPeer(t, store), makeLayout(t, "pushed")
	p.push(t, made, "team/app", "v1")
	startServer(t, store, mnt)

	checkMounted(t, mnt, "team/app", "v1", made.image)
	checkListed(t, mnt, "team/app", made.image)
	for view, parts := range map[string][]string{"_manifests": made.manifests, "_blobs": made.blobs} {
		for _, hex := range parts {
			shell(t, `cmp "$1" "$2"`, made.file(hex), filepath.Join(mnt, "team/app", view, "sha256", hex))
		}
	}

	// Pushed while the mount stands, and in Docker's formats.
	p.push(t, made, "team/docker", "v1", "--format", "v2s2")
	docker := p.fetch(t, "team/docker", "v1")
	require.Len(t, docker.manifests, 1+len(platforms))
	require.NotEqual(t, made.root, docker.root, "it is another document")
	checkMounted(t, mnt, "team/docker", "v1", docker)
	checkListed(t, mnt, "team/docker", docker)
	types := shell(t, `cat "$1"/_manifests/sha256/* | grep -o 'vnd.docker.distribution.manifest[a-z.0-9]*'`, filepath.Join(mnt, "team/docker"))
	require.Contains(t, types, "manifest.list.v2")
	require.Contains(t, types, "manifest.v2")

	require.Equal(t, "team/app\nteam/docker", shell(t, `cd "$1"; ls -d */*`, mnt))
}

// What cp writes into the mount is pulled by skopeo from a stock registry,
// which can go on in the repositories that the mount made.
func TestCopiedIntoTheMount(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, first, second := startPeer(t, store), makeLayout(t, "first"), makeLayout(t, "second")
	startServer(t, store, mnt)
	copyIn(t, first, mnt, "made/here", "v1")
	p.checkPulled(t, "made/here", "v1", first)
	require.Equal(t, []string{"v1"}, p.tags(t, "made/here"))
	_, catalog := p.get(t, "_catalog", http.StatusOK)
	require.JSONEq(t, `{"repositories":["made/here"]}`, string(catalog))

	uid, gid := peerIDs(t)
	require.Empty(t, shell(t, `find "$1/docker" ! -user "$2" -o ! -group "$3"`, store, itoa(uid), itoa(gid)),
		"everything belongs to the registry's user")

	// The registry adds an image, adds a tag to ours and moves our tag.
	p.push(t, second, "made/here", "v2")
	checkMounted(t, mnt, "made/here", "v2", second.image)
	checkListed(t, mnt, "made/here", merge(first.image, second.image))
	p.push(t, first, "made/here", "again")
	checkMounted(t, mnt, "made/here", "again", first.image)
	p.push(t, second, "made/here", "v1")
	awaitTag(t, mnt, "made/here", "v1", second.root)
	p.checkPulled(t, "made/here", "v1", second)

	// And the mount goes on where the registry has been.
	shell(t, `cd "$1"; mkdir -p next; ln -s ../../here/_tags/again next/_tags/v1`, filepath.Join(mnt, "made"))
	p.checkPulled(t, "made/next", "v1", first)
	p.push(t, second, "made/next", "v2")
	checkMounted(t, mnt, "made/next", "v2", second.image)
}

// An image is pushed by names of the user's own choice as well, and by cp onto
// a tag.
func TestPushedByAnyNames(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, made := startPeer(t, store), makeLayout(t, "names")
	startServer(t, store, mnt)
	dir := filepath.Join(mnt, "team/names")
	shell(t, `mkdir -p "$1"`, dir)
	for i, hex := range made.blobs {
		shell(t, `cp "$1" "$2/_blobs/part$3.bin"`, made.file(hex), dir, itoa(i))
	}
	for i, hex := range made.manifests {
		if hex != made.root {
			shell(t, `cp "$1" "$2/_manifests/platform$3.json"`, made.file(hex), dir, itoa(i))
		}
	}
	shell(t, `cp "$1" "$2/_tags/v1"`, made.file(made.root), dir)
	checkMounted(t, mnt, "team/names", "v1", made.image)
	p.checkPulled(t, "team/names", "v1", made)
}

// Tags that one side moves, makes or removes are so on the other.
func TestTagsAreShared(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, a, b := startPeer(t, store), makeLayout(t, "a"), makeLayout(t, "b")
	p.push(t, a, "team/app", "v1")
	p.push(t, b, "team/app", "v2")
	startServer(t, store, mnt)
	tags := filepath.Join(mnt, "team/app/_tags")
	require.Equal(t, "v1\nv2", shell(t, `ls "$1"`, tags))
	resp, manifest := p.get(t, "team/app/manifests/v2", http.StatusOK)
	mediaType := resp.Header.Get("Content-Type")

	// Each side has looked at what the other changes next. The registry reads
	// a tag from the disk each time; the mount may keep it for a second.
	checkMounted(t, mnt, "team/app", "v1", a.image)
	require.NoError(t, p.retag("team/app", "v1", mediaType, manifest))
	awaitTag(t, mnt, "team/app", "v1", b.root)
	checkMounted(t, mnt, "team/app", "v1", b.image)
	shell(t, `ln -sfn "../_manifests/sha256/$2" "$1/v1"`, tags, a.root)
	require.Equal(t, a.root, p.tagged(t, "team/app", "v1"))

	shell(t, `ln -s v2 "$1/v3"`, tags)
	require.Equal(t, []string{"v1", "v2", "v3"}, p.tags(t, "team/app"))
	require.NoError(t, p.retag("team/app", "v4", mediaType, manifest))
	awaitList(t, tags, "v1 v2 v3 v4")
	shell(t, `mv "$1/v4" "$1/v5"`, tags)
	require.Equal(t, []string{"v1", "v2", "v3", "v5"}, p.tags(t, "team/app"))

	shell(t, `rm "$1/v3"`, tags)
	require.Equal(t, []string{"v1", "v2", "v5"}, p.tags(t, "team/app"))
	p.get(t, "team/app/manifests/v3", http.StatusNotFound)

	// The registry removes a manifest with all its tags.
	gone, _, err := p.do(http.MethodDelete, "team/app/manifests/sha256:"+b.root, "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, gone.StatusCode)
	awaitList(t, tags, "v1")
	shell(t, `while [ -L "$1/v2" ] || [ -e "$1/../_manifests/sha256/$2" ]; do :; done`, tags, b.root)
	checkMounted(t, mnt, "team/app", "v1", a.image)
}

// awaitTag waits until the mount shows a tag's new value.
func awaitTag(t *testing.T, mnt, repo, tag, hex string) {
	t.Helper()
	shell(t, `until [ "$(readlink "$1")" = "../_manifests/sha256/$2" ]; do :; done`, filepath.Join(mnt, repo, "_tags", tag), hex)
}

// awaitList waits until a directory lists exactly these names.
func awaitList(t *testing.T, dir, names string) {
	t.Helper()
	shell(t, `until [ "$(echo $(ls "$1"))" = "$2" ]; do :; done`, dir, names)
}

// readTag reads $1/_tags/$2 over and over, $3 times. It must be one of the
// manifests $4 and $5, whole, and listed; and be each of them at some time.
const readTag = `
	cd "$1/_tags"
	a=0 b=0
	while [ $((a + b)) -lt "$3" ]; do
		sum=$(sha256sum < "$2")
		case ${sum%% *} in
		"$4") a=$((a + 1)) ;;
		"$5") b=$((b + 1)) ;;
		*) echo "after $a + $b reads: $sum"; exit 1 ;;
		esac
		[ "$(ls | grep -cx "$2")" = 1 ] || { echo "after $a + $b reads it is not listed"; exit 1; }
	done
	[ $a -gt 0 ] && [ $b -gt 0 ] || { echo "it did not move: $a + $b"; exit 1; }
`

const tagReads = 400

// A stock registry rewrites the file that holds a tag's value in place.
func TestRegistryRetagsWhileTheTagIsRead(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, a, b := startPeer(t, store), makeLayout(t, "a"), makeLayout(t, "b")
	p.push(t, a, "team/app", "moving")
	p.push(t, b, "team/app", "other")
	startServer(t, store, mnt)
	resp, first := p.get(t, "team/app/manifests/moving", http.StatusOK)
	_, second := p.get(t, "team/app/manifests/other", http.StatusOK)
	mediaType := resp.Header.Get("Content-Type")

	stop, ended := make(chan struct{}), make(chan error, 1)
	moves := 0
	go func() {
		for {
			for _, manifest := range [][]byte{second, first} {
				if err := p.retag("team/app", "moving", mediaType, manifest); err != nil {
					ended <- err
					return
				}
				moves++
			}
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
		}
	}()
	r := execute(t, "sh", "-euc", readTag, "sh", filepath.Join(mnt, "team/app"), "moving", itoa(tagReads), a.root, b.root)
	close(stop)
	require.NoError(t, <-ended)
	require.Zero(t, r.status, "%s%s", r.stdout, r.stderr)
	t.Logf("%d reads while the registry moved the tag %d times", tagReads, moves)
}

// Two shells retag while a third reads.
func TestShellsRetagWhileTheTagIsRead(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, a, b := startPeer(t, store), makeLayout(t, "a"), makeLayout(t, "b")
	p.push(t, a, "team/app", "moving")
	p.push(t, b, "team/app", "other")
	startServer(t, store, mnt)
	stop := filepath.Join(t.TempDir(), "stop")
	out := shell(t, `
		retag() {
			n=0
			until [ -e "$stop" ]; do
				ln -sfn "../_manifests/sha256/$1" "$tag"
				n=$((n + 1))
			done
			echo "moved $n times"
		}
		stop=$6 tag=$1/_tags/$2
		retag "$4" & first=$!
		retag "$5" & second=$!
		status=0
		( `+readTag+` ) || status=$?
		touch "$stop"
		wait $first
		wait $second
		exit $status
	`, filepath.Join(mnt, "team/app"), "moving", itoa(tagReads), a.root, b.root, stop)
	require.Equal(t, 2, strings.Count(out, "moved"), out)
	last := p.tagged(t, "team/app", "moving")
	require.Contains(t, []string{a.root, b.root}, last)
	awaitTag(t, mnt, "team/app", "moving", last)
	require.Equal(t, []string{"moving", "other"}, p.tags(t, "team/app"), "no temporary is left")
	t.Log(out)
}

// The stock registry's collector takes nothing that is referenced from a store
// that both have written to.
func TestRegistryCollectsGarbage(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, theirs, ours := startPeer(t, store), makeLayout(t, "theirs"), makeLayout(t, "ours")
	s := startServer(t, store, mnt)
	p.push(t, theirs, "team/theirs", "v1")
	p.push(t, theirs, "team/docker", "v1", "--format", "v2s2")
	docker := p.fetch(t, "team/docker", "v1")
	copyIn(t, ours, mnt, "team/ours", "v1")
	shell(t, `cd "$1"
		mkdir promoted waiting
		ln -s ../../theirs/_tags/v1 promoted/_tags/v1
		ln -s ../../docker/_tags/v1 promoted/_tags/docker
		ln -s v1 ours/_tags/v2
		ln -sfn v1 ours/_tags/v2
		rm ours/_tags/v1
		echo unreferenced > ours/_blobs/garbage
	`, filepath.Join(mnt, "team"))
	garbage := filepath.Base(shell(t, `readlink "$1/team/ours/_blobs/garbage"`, mnt))
	blob := filepath.Join(store, storeDir, "blobs/sha256", garbage[:2], garbage, "data")
	require.FileExists(t, blob)
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	status, _ := s.end(t)
	require.Equal(t, exitOK, status)
	p.stop(t)

	p.collectGarbage(t)
	require.NoFileExists(t, blob, "the collector works")

	startServer(t, store, mnt)
	checkMounted(t, mnt, "team/theirs", "v1", theirs.image)
	checkMounted(t, mnt, "team/docker", "v1", docker)
	checkMounted(t, mnt, "team/ours", "v2", ours.image)
	checkMounted(t, mnt, "team/promoted", "v1", theirs.image)
	checkMounted(t, mnt, "team/promoted", "docker", docker)
	p.start(t)
	p.checkPulled(t, "team/theirs", "v1", theirs)
	p.checkPulled(t, "team/ours", "v2", ours)
	p.checkPulled(t, "team/promoted", "v1", theirs)

	// What the collector took can be pushed again.
	shell(t, `cp "$1" "$2/team/ours/_blobs/again"; cat "$2/team/ours/_blobs/again"`, writeFile(t, "unreferenced\n"), mnt)
	require.FileExists(t, blob)
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
	return name
}

func itoa(n int) string { return strconv.Itoa(n) }
