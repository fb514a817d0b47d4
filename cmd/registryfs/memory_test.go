package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// residentLimit is the memory in bytes that the daemon may have resident,
	// its program included, whatever the size of what is copied.
	residentLimit = 64 << 20

	bigLayer      = 2 << 30   // bytes
	bigLayerShort = 256 << 20 // bytes, in short runs
	manyLayers    = 16        // copied at the same time

	// bigPatience bounds the copies of the big layer on a slow, busy machine.
	bigPatience = 10 * time.Minute
)

// A layer many times the size of the limit goes in and out within it.
func TestMemoryIsBounded(t *testing.T) {
	size := int64(bigLayer)
	if testing.Short() {
		size = bigLayerShort
	}
	store, mnt := newStore(t), mountPoint(t)
	s := startPlainServer(t, store, mnt)
	dir := publicDir(t)
	layer := filepath.Join(dir, "layer")
	sum := fill(t, layer, 0, size)
	blob := filepath.Join(mnt, "team/big/_blobs/sha256", sum)

	shell(t, `mkdir -p "$1"`, filepath.Join(mnt, "team/big"))
	out := filepath.Join(dir, "out")
	long := func(name string, args ...string) result {
		r := executeWithin(t, bigPatience, name, args...)
		require.Zero(t, r.status, r.stderr)
		return r
	}
	measure(t, s, "cp in", func() { long("cp", layer, blob) })
	measure(t, s, "cp out", func() { long("cp", blob, out) })
	long("cmp", layer, out)
	require.NoError(t, os.Remove(out))
	require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, mnt))

	// The first reader of a mount verifies.
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	s = startPlainServer(t, store, mnt)
	measure(t, s, "verify, and out", func() { require.Contains(t, long("sha256sum", blob).stdout, sum+"  ") })
}

// Many layers at once stay within the same limit.
func TestMemoryIsBoundedForManyCopies(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	s := startPlainServer(t, store, mnt)
	in, out := t.TempDir(), t.TempDir()
	for i := range manyLayers {
		temp := filepath.Join(in, "layer")
		sum := fill(t, temp, byte(i+1), bigLayerShort/manyLayers)
		require.NoError(t, os.Rename(temp, filepath.Join(in, sum)))
	}
	const each = `
		pids=
		for f in "$1"/*; do
			cp "$f" "$2/" & pids="$pids $!"
		done
		for pid in $pids; do wait "$pid"; done
	`
	blobs := filepath.Join(mnt, "team/many/_blobs/sha256")
	shell(t, `mkdir -p "$1"`, filepath.Join(mnt, "team/many"))
	measure(t, s, "cp in", func() { shell(t, each, in, blobs) })
	measure(t, s, "cp out", func() { shell(t, each, blobs, out) })
	shell(t, `diff -r "$1" "$2"`, in, out)
}

// startPlainServer serves a mount without the race detector, which needs
// memory of its own.
func startPlainServer(t *testing.T, args ...string) *server {
	t.Helper()
	return startServerBy(t, exec.Command(plainProgram(t), append([]string{"mount"}, args...)...))
}

// plainProgram is the program without the race detector.
func plainProgram(t *testing.T) string {
	t.Helper()
	plain := filepath.Join(t.TempDir(), "registryfs")
	out, err := exec.Command("go", "build", "-o", plain, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return plain
}

// measure requires that a server stays below the limit while do runs.
func measure(t *testing.T, s *server, what string, do func()) {
	t.Helper()
	measureUpTo(t, s, what, residentLimit, do)
}

func measureUpTo(t *testing.T, s *server, what string, limit int64, do func()) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", s.Process.Pid)
	// 5 sets the peak to what is resident now.
	require.NoError(t, os.WriteFile(proc+"clear_refs", []byte("5"), 0))
	do()
	status, err := os.ReadFile(proc + "status")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(status), "VmHWM:")
	require.True(t, found)
	kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	require.NoError(t, err)
	t.Logf("%s: %d MiB at most", what, kib>>10)
	require.Less(t, kib<<10, limit, what)
}

// fill writes a file that does not compress and returns its digest in hex.
func fill(t *testing.T, name string, seed byte, size int64) string {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, sum), rand.NewChaCha8([32]byte{seed}), size)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return hex.EncodeToString(sum.Sum(nil))
}
