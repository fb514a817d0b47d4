package main

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/fsmount"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "4096": 4096, "3k": 3 << 10, "512M": 512 << 20, "4g": 4 << 30, "1T": 1 << 40, "8388607T": 8388607 << 40,
		"9223372036854775807": math.MaxInt64,
		"0":                   -1, "-1": -1, "k": -1, "4GB": -1, "4 G": -1, "1.5G": -1, "x": -1, "8388608T": -1, "9223372036854775808": -1,
	} {
		got, ok := parseSize(text)
		require.Equal(t, want > 0, ok, text)
		if ok {
			require.Equal(t, want, got, text)
		}
	}
	src, err := findMemory("mem:")
	require.NoError(t, err)
	require.Positive(t, src.capacity)
	require.Less(t, src.capacity, fsmount.MemoryAvailable())
}

// statfs is the size of a mount and what is free of it, in bytes.
func statfs(t *testing.T, mnt string) (size, free int64) {
	t.Helper()
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(mnt, &st))
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize
}

// A registry in memory that is full says so, has nothing that was not
// acknowledged, and takes again what fits once there is room.
func TestFullMemory(t *testing.T) {
	const capacity, half = 8 << 20, 5 << 20
	mnt, in := mountPoint(t), t.TempDir()
	startServer(t, "mem:8M", mnt)
	size, _ := statfs(t, mnt)
	require.EqualValues(t, capacity, size)
	require.Contains(t, shell(t, `mkdir -p "$1/team/app"; mount`, mnt), "mem:8M on "+mnt)
	app := filepath.Join(mnt, "team/app")
	file := func(name string, seed byte, size int64) (path, hex string) {
		path = filepath.Join(in, name)
		return path, fill(t, path, seed, size)
	}
	small, smallHex := file("small", 1, 1000)
	shell(t, `cp "$1" "$2/_blobs/sha256/"$3`, small, app, smallHex)
	has := func(blobs ...string) {
		t.Helper()
		shell(t, `cd "$1/_blobs/sha256"; test "$(ls | wc -l)" = "$2"
			for f in *; do echo "$f  $f"; done | sha256sum --quiet --strict -c -; test -z "$(ls ../../_uploads)"`, app, itoa(len(blobs)))
	}
	_, before := statfs(t, mnt)
	isFree := func() {
		t.Helper()
		require.Eventually(t, func() bool { _, free := statfs(t, mnt); return free == before }, patience, time.Millisecond)
	}

	big, bigHex := file("big", 2, 12<<20)
	for _, script := range []string{
		`cp "$1" "_blobs/sha256/$2"`, `cp "$1" _blobs/big`, `dd if="$1" of=_blobs/big bs=1M conv=fsync`, `cat "$1" >_blobs/big`,
	} {
		refuses(t, mnt, "No space left on device", script, big, bigHex)
		has(smallHex)
		isFree()
	}

	first, firstHex := file("first", 3, half)
	second, secondHex := file("second", 4, half)
	shell(t, `cp "$1" "$2/_blobs/sha256/$3"`, first, app, firstHex)
	refuses(t, mnt, "No space left on device", `cp "$1" "_blobs/sha256/$2"`, second, secondHex)
	has(smallHex, firstHex)
	_, free := statfs(t, mnt)
	require.InDelta(t, before-half, free, 64<<10)
}

// Removing an upload makes room for another.
func TestRemovalFreesMemory(t *testing.T) {
	const half = 5 << 20
	mnt, in := mountPoint(t), t.TempDir()
	startServer(t, "mem:8M", mnt)
	app, layer := filepath.Join(mnt, "team/app"), filepath.Join(in, "layer")
	hex := fill(t, layer, 1, half)
	shell(t, `mkdir -p "$1"; cp "$2" "$1/_blobs/"`, app, "/etc/hostname")
	_, before := statfs(t, mnt)

	writer := exec.Command("sh", "-c", `exec cat "$2" - >"$1/_blobs/layer"`, "sh", app, layer)
	_, err := writer.StdinPipe() // never ends
	require.NoError(t, err)
	require.NoError(t, writer.Start())
	t.Cleanup(func() { _ = writer.Process.Kill(); _ = writer.Wait() })
	shell(t, `until [ "$(stat -c %s "$1"/_uploads/* || :)" = "$2" ]; do sleep 0.01; done`, app, itoa(half))
	require.NoError(t, writer.Process.Kill())
	_ = writer.Wait()
	refuses(t, mnt, "No space left on device", `cp "$1" "_blobs/sha256/$2"`, layer, hex)
	shell(t, `until rm "$1"/_uploads/*; do sleep 0.01; done`, app) // once it is released
	_, free := statfs(t, mnt)
	require.InDelta(t, before, free, 16<<10)
	shell(t, `cp "$1" "$2/_blobs/sha256/$3"; sha256sum --quiet --strict -c - <<-end
		$3  $2/_blobs/sha256/$3
		end`, layer, app, hex)
}

// The daemon takes little more memory than what it holds, however much of that
// came and went.
func TestMemoryOfMemoryIsBounded(t *testing.T) {
	const capacity, size = 256 << 20, 200 << 20
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	mnt, layer := mountPoint(t), filepath.Join(t.TempDir(), "layer")
	s := startPlainServer(t, "mem:256M", mnt)
	hex := fill(t, layer, 1, size)
	shell(t, `mkdir -p "$1/team/app"`, mnt)
	app := filepath.Join(mnt, "team/app")
	measureUpTo(t, s, "cp in", capacity*5/4+memSlack+residentLimit, func() {
		for range rounds {
			refuses(t, mnt, "No space left on device", `cat "$1" "$1" >_blobs/big`, layer)
		}
		shell(t, `cp "$1" "$2/_blobs/sha256/$3"`, layer, app, hex)
	})
	require.NoError(t, os.Remove(layer))
	shell(t, `sha256sum --quiet --strict -c - <<-end
		$2  $1/_blobs/sha256/$2
		end`, app, hex)
}
