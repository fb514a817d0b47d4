package fsmount_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// copyAtOnce copies a file to one name of the repository 64 times at once, and
// fails where one of them does. Where the name appears after cp has looked, and
// before it makes it, cp fails on any file system, and has to be called again.
const copyAtOnce = `
	copy() { cp "$1" "$2" 2> "$3" || { grep -q "File exists" "$3" && cp "$1" "$2"; } || { cat "$3" >&2; false; }; }
	for i in $(seq 64); do copy "$1" "$R/$2" "$W/said.$i" & pids="${pids-} $!"; done
	status=0
	for pid in $pids; do wait $pid || status=1; done
	exit $status`

func TestManyWriters(t *testing.T) {
	var cases []mountCase
	for name, size := range map[string]int{"16 KiB": 16 << 10, "4 MiB": 4 << 20} {
		cases = append(cases, mountCase{"64 cp of " + name + " onto one digest name", func(t *testing.T, r *repo) {
			f := r.random(t, "f", size)
			r.ok(t, copyAtOnce, f.path, "_blobs/sha256/"+f.hex)
			r.requireBlob(t, f)
			require.Equal(t, f.hex, r.ok(t, `ls "$R/_blobs/sha256"`))
			r.until(t, `test -z "$(ls "$R/_uploads")"`)
		}}, mountCase{"64 cp of " + name + " onto one alias", func(t *testing.T, r *repo) {
			f := r.random(t, "f", size)
			r.ok(t, copyAtOnce, f.path, "_blobs/layer")
			r.requireBlob(t, f)
			require.Equal(t, "sha256/"+f.hex, r.ok(t, `readlink "$R/_blobs/layer"`))
			r.until(t, `test -z "$(ls "$R/_uploads")"`)
		}})
	}
	onEach(t, serveOptions{}, append(cases,
		mountCase{"many cp of different manifests onto one tag", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "latest"), r.pushed(t, "b")
			r.ok(t, `for i in $(seq 16); do
				cp "$1" "$R/_tags/latest" & pids="${pids-} $!"; cp "$2" "$R/_tags/latest" & pids="$pids $!"; done
				for pid in $pids; do wait $pid; done`, a.manifest.path, b.manifest.path)
			require.Contains(t, []string{a.manifest.hex, b.manifest.hex}, r.ok(t, `sha256sum < "$R/_tags/latest" | cut -c-64`))
			r.ok(t, `cmp "$1" "$R/_manifests/sha256/$2"; cmp "$3" "$R/_manifests/sha256/$4"`, a.manifest.path, a.manifest.hex, b.manifest.path, b.manifest.hex)
		}},
	))
}

func TestReadingWhatIsPushedAgain(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"a slow reader sees the blob, whatever is written to its name", func(t *testing.T, r *repo) {
			f, other := r.random(t, "f", 1<<20), r.random(t, "other", 2<<20)
			r.pushBlobs(t, f)
			r.ok(t, `exec 3< "$R/_blobs/sha256/$1"
				dd bs=1000 count=1 status=none <&3 > "$W/read"
				cp "$2" "$R/_blobs/sha256/$1"
				dd bs=1000 count=100 status=none <&3 >> "$W/read"
				if cp "$3" "$R/_blobs/sha256/$1"; then exit 1; fi
				exec 4> "$R/_blobs/sha256/$1"
				cat <&3 >> "$W/read"
				head -c 3000000 "$3" >&4
				cmp "$W/read" "$2"
				cmp "$R/_blobs/sha256/$1" "$2"`, f.hex, f.path, other.path)
			r.requireBlob(t, f)
		}},
		{"so does one that has mapped it", func(t *testing.T, r *repo) {
			f, other := r.random(t, "f", 1<<20), r.random(t, "other", 1<<20)
			r.pushBlobs(t, f)
			reader := r.start(t, "sh", "-ec", `FSMOUNT_TEST_ROLE=mmap exec "$SELF" "$R/_blobs/sha256/$1"`, "sh", f.hex)
			require.Equal(t, "mapped", reader.line(t))
			r.ok(t, `cp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
			r.fails(t, "Bad message", `cp "$1" "$R/_blobs/sha256/$2"`, other.path, f.hex)
			r.ok(t, `exec 4> "$R/_blobs/sha256/$1"; head -c 500000 "$2" >&4; cmp "$3" "$R/_blobs/sha256/$1"`, f.hex, other.path, f.path)
			_, err := reader.stdin.Write([]byte("\n"))
			require.NoError(t, err)
			require.Equal(t, f.hex, reader.line(t))
		}},
		{"many readers of one blob while it is pushed", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 1<<20)
			r.pushBlobs(t, f)
			got := r.ok(t, `for i in $(seq 16); do
				sha256sum < "$R/_blobs/sha256/$1" & pids="${pids-} $!"; cp "$2" "$R/_blobs/sha256/$1" & pids="$pids $!"; done
				for pid in $pids; do wait $pid; done`, f.hex, f.path)
			require.Equal(t, strings.Repeat(f.hex+"  -\n", 16), got+"\n")
		}},
	})
}
