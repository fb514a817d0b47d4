package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Of several that start at the same moment one mounts.
func TestConcurrentStarts(t *testing.T) {
	const starts = 8
	store, mnt := newStore(t), mountPoint(t)
	for _, isDead := range []bool{false, true} {
		if isDead { // they find a dead mount
			s := startServer(t, store, mnt)
			require.NoError(t, s.Process.Kill())
			_ = s.Wait()
		}
		var wg sync.WaitGroup
		var ended [starts]result
		for i := range starts {
			wg.Go(func() {
				cmd := exec.Command("timeout", "60", program, "mount", "--daemon", store, mnt)
				var said strings.Builder
				cmd.Stderr = &said
				_ = cmd.Run()
				ended[i] = result{status: cmd.ProcessState.ExitCode(), stderr: said.String()}
			})
		}
		wg.Wait()
		won := 0
		for _, r := range ended {
			if r.status == exitOK {
				won++
				continue
			}
			require.Equal(t, exitFailed, r.status, r.stderr)
			require.Contains(t, r.stderr, "is a registryfs mount already")
		}
		require.Equal(t, 1, won)
		require.NotEmpty(t, shell(t, `cat "$1/.registryfs/version"`, mnt))
		require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
		require.False(t, isMounted(t, mnt), "nothing lies below")
	}
}

// Who found a dead mount does not detach the one that lives there since.
func TestStartBesideAnother(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	s := startServer(t, store, mnt)
	require.NoError(t, s.Process.Kill())
	_ = s.Wait()

	above, err := os.Open(filepath.Dir(mnt))
	require.NoError(t, err)
	defer above.Close()
	require.NoError(t, unix.Flock(int(above.Fd()), unix.LOCK_EX))
	var late strings.Builder
	cmd := exec.Command("timeout", "60", program, "mount", store, mnt)
	cmd.Stderr = &late
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	require.Eventually(t, func() bool { return isAwaited(t, above) }, patience, time.Millisecond)

	require.NoError(t, exec.Command("fusermount3", "-uz", "--", mnt).Run())
	startServer(t, store, mnt)
	require.NoError(t, above.Close())
	require.Error(t, cmd.Wait())
	require.Contains(t, late.String(), "is a registryfs mount already")
	require.NotEmpty(t, shell(t, `cat "$1/.registryfs/version"`, mnt))
}

// isAwaited reports whether somebody waits for a lock of f.
func isAwaited(t *testing.T, f *os.File) bool {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(int(f.Fd()), &st))
	locks, err := os.ReadFile("/proc/locks")
	require.NoError(t, err)
	for line := range strings.Lines(string(locks)) {
		if strings.Contains(line, "->") && strings.Contains(line, fmt.Sprintf(":%d ", st.Ino)) {
			return true
		}
	}
	return false
}
