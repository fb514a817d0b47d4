package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A mount is its owner's alone; with --allow-other the modes decide.
func TestOtherUsers(t *testing.T) {
	needRoot(t)
	store := newStore(t)
	fillStore(t, store)
	const read = `exec setpriv --reuid 65534 --regid 65534 --clear-groups cat "$1/team/app/_tags/v1"`
	for flags, allowed := range map[string]bool{"": false, "allow_other": true, "allow_other,umask=027": false} {
		mnt := mountPoint(t)
		s := startServer(t, "-o", flags, store, mnt)
		r := execute(t, "sh", "-euc", read, "sh", mnt)
		if allowed {
			require.Zero(t, r.status, "%s: %s", flags, r.stderr)
		} else {
			require.Contains(t, r.stderr, "Permission denied", flags)
		}
		r = execute(t, "sh", "-euc", `exec setpriv --reuid 65534 --regid 65534 --clear-groups ln -s v1 "$1/team/app/_tags/v2"`, "sh", mnt)
		require.Contains(t, r.stderr, "Permission denied", flags)
		require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
		status, _ := s.end(t)
		require.Equal(t, exitOK, status)
	}
}
