package fsmount_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/driver/filedriver"
	"registryfs/fsmount"
	"registryfs/storage"
)

// TestLoadLeavesNothing serves a mount in this process, to count what a load
// leaves in it. It runs alone.
func TestLoadLeavesNothing(t *testing.T) {
	store, dir := t.TempDir(), filepath.Join(t.TempDir(), "mnt")
	require.NoError(t, os.Mkdir(dir, 0o755))
	d, err := filedriver.New(store, filedriver.Options{})
	require.NoError(t, err)
	reg, err := storage.Open(t.Context(), d, storage.Options{Create: true, AllowDelete: true})
	require.NoError(t, err)
	m, err := fsmount.New(dir, reg, fsmount.Options{Source: "test", AllowDelete: true})
	require.NoError(t, err)
	r := (&mounted{dir: dir, store: store}).named(t, "team/app")
	defer func() {
		r.ok(t, `fusermount3 -u "$M"`)
		require.NoError(t, m.Wait())
	}()

	i, f := r.image(t, "image"), r.random(t, "f", 1<<20)
	load := func(times string) {
		r.ok(t, `mkdir -p "$R"`)
		r.pushBlobs(t, i.blobs()...)
		r.ok(t, `for n in $(seq "$3"); do (
				cp "$1" "$R/_tags/v$n"; ln -sfn "v$n" "$R/_tags/latest"; cat "$R/_tags/latest"
				cp "$2" "$R/_blobs/layer$n"; cmp "$2" "$R/_blobs/layer$n"; ls -l "$R/_blobs"
				cp "$2" "$R/_blobs/.scratch$n"; cat "$R/_blobs/.scratch$n"; rm "$R/_blobs/.scratch$n"
				! cp "$2" "$R/_blobs/sha256/$4"; ! cat "$R/_blobs/sha256/$4"; ! echo nonsense > "$R/_tags/bad"
				exec 3<"$R/_blobs/layer$n" 4>"$R/_blobs/held$n"; echo "held $n" >&4
				timeout -s KILL 0.02 sh -c 'cat "$0" - >"$R/_blobs/killed"' "$2" </dev/zero
				rm "$R/_tags/v$n"
			) > "$W/said$n" 2>&1 & done
			wait
			while [ "$(ls "$R/_uploads")" ]; do # what was killed is released a moment later
				rm -f "$R"/_uploads/* || sleep 0.01
			done`, i.manifest.path, f.path, times,
			"0000000000000000000000000000000000000000000000000000000000000000")
	}
	count := func() (goroutines, descriptors int) {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return runtime.NumGoroutine(), len(entries)
	}
	load("2")
	goroutines, descriptors := count()
	load("20")
	g, n := count()
	for deadline := time.Now().Add(patience); g > goroutines || n > descriptors; g, n = count() {
		require.True(t, time.Now().Before(deadline), "%d goroutines and %d descriptors, were %d and %d", g, n, goroutines, descriptors)
		time.Sleep(10 * time.Millisecond)
	}
}
