package fsmount_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stored is where the store keeps the content of a file.
func (f file) stored() string {
	return fmt.Sprintf("docker/registry/v2/blobs/sha256/%s/%s/data", f.hex[:2], f.hex)
}

func TestCorruptContent(t *testing.T) {
	onDirectory(t, serveOptions{}, []mountCase{
		{"is an I/O error before the first byte, is named, and is healed by a push", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 2_000_000)
			r.pushBlobs(t, f)
			r.requireBlob(t, f)
			r.ok(t, `printf X | dd of="$STORE/$1" bs=1 seek=1999999 conv=notrunc status=none`, f.stored())
			for range 2 {
				got := r.sh(t, `cat "$R/_blobs/sha256/$1"`, f.hex)
				require.Equal(t, 1, got.status)
				require.Contains(t, got.stderr, "Input/output error")
				require.Empty(t, got.stdout)
			}
			r.errorsSay(t, " open /"+r.name+"/_blobs/sha256/"+f.hex+" ", f.stored())
			require.Equal(t, f.hex, r.ok(t, `ls "$R/_blobs/sha256"`))
			require.Equal(t, "2000000", r.ok(t, `stat -c %s "$R/_blobs/sha256/$1"`, f.hex))
			r.ok(t, `cp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
			r.requireBlob(t, f)
			r.ok(t, `cmp "$1" "$STORE/$2"; find "$STORE/registryfs/quarantine" -name "$3*" | grep .`, f.path, f.stored(), f.hex)
		}},
		{"is not what somebody reads who has it open", func(t *testing.T, r *repo) {
			for _, size := range []int{10_000, 1_000_000} {
				f := r.random(t, "f", size)
				r.pushBlobs(t, f)
				r.ok(t, `exec 3< "$R/_blobs/sha256/$1"; printf X | dd of="$STORE/$2" bs=1 seek=5 conv=notrunc status=none
					if cat <&3 > "$W/out"; then cmp "$W/out" "$3"; else test ! -s "$W/out"; fi`, f.hex, f.stored(), f.path)
				r.fails(t, "Input/output error", `cat "$R/_blobs/sha256/$1"`, f.hex)
			}
		}},
		{"that is too short, too long or missing", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 10_000)
			for _, damage := range []string{`truncate -s 9999`, `truncate -s 10001`, `truncate -s 0`} {
				r.pushBlobs(t, f)
				r.ok(t, damage+` "$STORE/$1"`, f.stored())
				r.fails(t, "Input/output error", `cat "$R/_blobs/sha256/$1"`, f.hex)
			}
			r.pushBlobs(t, f)
			r.requireBlob(t, f)
			r.ok(t, `rm "$STORE/$1"`, f.stored())
			r.fails(t, "No such file", `cat "$R/_blobs/sha256/$1"`, f.hex)
			r.pushBlobs(t, f)
			r.requireBlob(t, f)
		}},
		{"of a manifest is found through its tag", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			r.ok(t, `printf X | dd of="$STORE/$1" bs=1 seek=5 conv=notrunc status=none`, i.manifest.stored())
			r.fails(t, "Input/output error", `cat "$R/_tags/v1"`)
			r.ok(t, `ls -l "$R/_tags"; cp "$1" "$R/_tags/v1"`, i.manifest.path)
			r.requireTag(t, "v1", i.manifest)
		}},
		{"in a manifest that no program understands is no corruption", func(t *testing.T, r *repo) {
			f := r.file(t, "odd", []byte("no manifest at all"))
			r.ok(t, `mkdir -p "$(dirname "$STORE/$1")"; cp "$2" "$STORE/$1"
				link="$STORE/docker/registry/v2/repositories/$3/_manifests/revisions/sha256/$4"; mkdir -p "$link"; printf %s "sha256:$4" > "$link/link"`,
				f.stored(), f.path, r.name, f.hex)
			r.ok(t, `cmp "$1" "$R/_manifests/sha256/$2"; ln -s "sha256:$2" "$R/_tags/odd"; cmp "$1" "$R/_tags/odd"`, f.path, f.hex)
		}},
		{"in a tag's link leaves the tag replaceable", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			r.ok(t, `printf nonsense > "$STORE/docker/registry/v2/repositories/$1/_manifests/tags/v1/current/link"`, r.name)
			r.fails(t, "Input/output error", `cat "$R/_tags/v1"`)
			r.errorsSay(t, "/"+r.name+"/_tags/v1", "current/link")
			r.ok(t, `ls "$R/_tags"; ln -sfn "$1" "$R/_tags/v1"`, i.manifest.digest())
			r.requireTag(t, "v1", i.manifest)
		}},
	})
}

// readByServer is how many bytes the server has read so far.
func (m *mounted) readByServer(t *testing.T) int {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", m.server.Process.Pid))
	require.NoError(t, err)
	line, _, _ := strings.Cut(strings.TrimPrefix(string(content), "rchar: "), "\n")
	n, err := strconv.Atoi(line)
	require.NoError(t, err)
	return n
}

func TestVerdictIsRemembered(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	m := newMount(t, serveOptions{Store: t.TempDir()})
	r := m.repo(t)
	f := r.random(t, "f", size)
	r.pushBlobs(t, f)
	m.stop(t)
	m = m.again(t, serveOptions{})
	r.mount = m

	before := m.readByServer(t)
	r.ok(t, `head -c 1 "$R/_blobs/sha256/$1" > "$W/byte"`, f.hex)
	verified := m.readByServer(t)
	require.GreaterOrEqual(t, verified-before, size, "the first open reads all of it")
	r.ok(t, `head -c 1 "$R/_blobs/sha256/$1" > "$W/byte"`, f.hex)
	require.Less(t, m.readByServer(t)-verified, size, "the second does not")
	r.ok(t, `touch "$STORE/$1"; head -c 1 "$R/_blobs/sha256/$2" > "$W/byte"`, f.stored(), f.hex)
	require.GreaterOrEqual(t, m.readByServer(t)-verified, size, "after a change behind the mount it does again")
}
