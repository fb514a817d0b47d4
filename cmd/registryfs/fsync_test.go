package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// With --fsync=none a mount syncs nothing, whatever is asked of it.
func TestFsync(t *testing.T) {
	made := makeLayout(t, "synced")
	for _, mode := range []string{"always", "none"} {
		t.Run(mode, func(t *testing.T) {
			store, mnt, calls := newStore(t), mountPoint(t), filepath.Join(t.TempDir(), "calls")
			s := startServerBy(t, exec.Command("strace", "-f", "-qq", "-o", calls, "-e", "signal=none",
				"-e", "trace=fsync,fdatasync,sync_file_range,syncfs,sync,msync",
				program, "mount", "--fsync", mode, store, mnt))
			copyIn(t, made, mnt, "team/app", "v1")
			shell(t, `cd "$1/team/app"
				ln -sfn v1 _tags/v2
				rm _tags/v1
				dd if=/dev/zero of=_blobs/zeros bs=4096 count=1 conv=fsync 2>/dev/null
			`, mnt)
			require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
			status, _ := s.end(t)
			require.Equal(t, exitOK, status)
			made, err := os.ReadFile(calls)
			require.NoError(t, err)
			if mode == "none" {
				require.Empty(t, string(made))
				return
			}
			require.Greater(t, strings.Count(string(made), "fsync("), 20)
		})
	}
}
