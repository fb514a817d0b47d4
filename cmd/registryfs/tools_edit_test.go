package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// umociVersion is as the README has it.
const umociVersion = "0.4.7"

// umoci edits images where they are: it makes one, adds layers, tags,
// configures, unpacks, removes and collects garbage.
func TestUmociEditsInTheMount(t *testing.T) {
	box := newToolbox(t)
	store, mnt := newPeerStore(t), mountPoint(t)
	stock := startPeer(t, store)
	startServer(t, store, mnt, "--allow-delete")
	require.Contains(t, box.run(t, `umoci --version`), umociVersion)
	for name, d := range map[string]*ociDir{"on files": box.onFiles(t), "in the mount": box.inMount(t, mnt, "team/edited")} {
		t.Run(name, func(t *testing.T) {
			if d.mnt == "" {
				box.run(t, `umoci init --layout "$1"`, d.dir)
			}
			work := t.TempDir()
			box.run(t, `cd "$2"; echo one >first.txt
				umoci new --image "$1:base"
				umoci tag --image "$1:base" v1
				umoci insert --image "$1:v1" first.txt /first.txt
				umoci config --image "$1:v1" --config.cmd /bin/one
				umoci tag --image "$1:v1" v2`, d.dir, work)
			before := d.tags(t)
			require.Equal(t, before["v1"], before["v2"])

			box.run(t, `cd "$2"; umoci unpack --image "$1:v2" bundle
				echo two >bundle/rootfs/second.txt; rm bundle/rootfs/first.txt
				umoci repack --image "$1:v2" bundle
				umoci unpack --image "$1:v2" again
				test "$(ls again/rootfs)" = second.txt; test "$(cat again/rootfs/second.txt)" = two`, d.dir, work)
			after := d.tags(t)
			require.Equal(t, before["v1"], after["v1"])
			require.NotEqual(t, before["v2"], after["v2"])
			require.Contains(t, box.run(t, `umoci stat --image "$1:v2"`, d.dir), "LAYER")

			box.run(t, `umoci rm --image "$1:base"; umoci gc --layout "$1"`, d.dir)
			require.Equal(t, "v1\nv2", box.run(t, `umoci ls --layout "$1"`, d.dir))
			require.Equal(t, "one", box.run(t, `cd "$2"; umoci unpack --image "$1:v1" first; cat first/rootfs/first.txt`, d.dir, work))
			if d.mnt == "" {
				return
			}
			for _, tag := range []string{"v1", "v2"} {
				hex := strings.TrimPrefix(after[tag], "sha256:")
				served := stock.fetch(t, d.repo, tag)
				require.Equal(t, hex, served.root)
				checkMounted(t, mnt, d.repo, tag, served)
			}
		})
	}
}

// Two tools collect garbage after they write, and neither knows images in
// Docker's formats: on files, umoci gc deletes their layers.
func TestCollectorsLeaveDockerImages(t *testing.T) {
	box := newToolbox(t)
	store, mnt := newPeerStore(t), mountPoint(t)
	stock := startPeer(t, store)
	startServer(t, store, mnt, "--allow-delete")
	image, list, other := makeImage(t, "docker", dockerFormats), makeIndex(t, "list", dockerFormats), makeImage(t, "other", ociFormats)
	regctl := toolNamed(t, "regctl")
	for name, d := range map[string]*ociDir{"on files": box.onFiles(t), "in the mount": box.inMount(t, mnt, "team/docker")} {
		t.Run(name, func(t *testing.T) {
			d.push(t, regctl, image, "v1")
			d.push(t, regctl, list, "v2")
			d.push(t, regctl, other, "v3")
			box.run(t, `umoci rm --image "$1:v3"; umoci gc --layout "$1"`, d.dir)
			if d.mnt == "" {
				left := strings.Fields(shell(t, `ls "$1/blobs/sha256"`, d.dir))
				require.NotSubset(t, left, image.blobs, "what this test is about")
				return
			}
			box.run(t, regctl.untag, d.dir, "v2") // and collects garbage too
			d.push(t, regctl, list, "v2")
			d.check(t, "v1", image.image)
			d.check(t, "v2", list.image)
			require.NotContains(t, d.tags(t), "v3")
			stock.checkServes(t, d.repo, "v1", image.image)
			stock.checkServes(t, d.repo, "v2", list.image)
		})
	}
}

func toolNamed(t *testing.T, name string) ociTool {
	t.Helper()
	for _, tool := range ociTools {
		if tool.name == name {
			return tool
		}
	}
	require.FailNow(t, "no such tool", name)
	return ociTool{}
}

// Versions as the README has them.
const (
	buildahVersion = "1.28.2"
	podmanVersion  = "4.3.1"
)

// containerFlags let buildah and podman work for root without a daemon, with a
// storage of their own.
const containerFlags = `C="--root $W/root --runroot $W/run --storage-driver vfs"; `

// buildah runs an image from the mount, changes it, and pushes the result;
// podman pulls and pushes. Of these versions both make a name of the path that
// an image is read from (containers/common#1630), in which "_oci" cannot stand,
// so they read by a symlink.
func TestContainersFromTheMount(t *testing.T) {
	box := newToolbox(t)
	store, mnt := newPeerStore(t), mountPoint(t)
	stock := startPeer(t, store)
	startServer(t, store, mnt)
	d := box.inMount(t, mnt, "team/run")
	work := publicDir(t)
	app := filepath.Join(work, "app")
	require.NoError(t, os.Symlink(d.dir, app))
	hello := filepath.Join(work, "hello")
	require.NoError(t, os.MkdirAll(filepath.Join(hello, "bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(work, "hello.go"), []byte("package main\n\nfunc main() { println(\"hello from a layer\") }\n"), 0o644))
	shell(t, `CGO_ENABLED=0 go build -o "$1/bin/hello" "$2"`, hello, filepath.Join(work, "hello.go"))
	box.run(t, `umoci new --image "$1:v1"; umoci insert --image "$1:v1" "$2" /; umoci config --image "$1:v1" --config.cmd /bin/hello`, d.dir, hello)

	flags := "W=" + work + "; " + containerFlags
	require.Contains(t, box.run(t, `buildah --version`), buildahVersion)
	require.Equal(t, "hello from a layer", box.run(t, flags+`
		c=$(buildah $C from -q "oci:$2:v1")
		buildah $C run --isolation chroot "$c" /bin/hello 2>&1
		buildah $C config --label made=here "$c"
		buildah $C commit -q "$c" "oci:$1:v2" >/dev/null`, d.dir, app))
	require.Contains(t, box.run(t, `podman --version`), podmanVersion)
	box.run(t, flags+`podman $C push -q "$(podman $C pull -q "oci:$2:v2")" "oci:$1:v3"`, d.dir, app)
	require.Equal(t, "v1\nv2\nv3", shell(t, `ls "$1"`, filepath.Join(mnt, d.repo, "_tags")))
	for _, tag := range []string{"v1", "v2", "v3"} {
		checkMounted(t, mnt, d.repo, tag, stock.fetch(t, d.repo, tag))
		require.Equal(t, "/bin/hello", shell(t, `jq -r '.config.Cmd[0]' "$1"`, filepath.Join(mnt, d.repo, "_images", tag, "linux-amd64/config.json")))
	}
	require.Equal(t, "here", shell(t, `jq -r .config.Labels.made "$1"`, filepath.Join(mnt, d.repo, "_images/v3/linux-amd64/config.json")))
	if testing.Short() {
		return
	}
	// A container of its own needs what not every machine has.
	require.Equal(t, "hello from a layer", box.run(t, flags+`
		podman $C --cgroup-manager cgroupfs --runtime runc run --rm --quiet --network=none \
			--ulimit nofile=1024:1024 --ulimit nproc=1000:1000 "oci:$1:v3" 2>&1 | tail -n 1`, app))
}
