package main

import (
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
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
