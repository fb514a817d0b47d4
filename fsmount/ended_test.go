package fsmount_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// However the kernel ends a mount while files are open and a file is being
// published: that is done as a whole, what was open is kept, and the server has
// not failed.
func TestEndsWhileFilesAreOpen(t *testing.T) {
	const connection = `c=/sys/fs/fuse/connections/$(awk -v m="$M" '$5 == m {sub(".*:", "", $3); print $3}' /proc/self/mountinfo)
		test -d "$c" || mount -t fusectl none /sys/fs/fuse/connections
		`
	for name, c := range map[string]struct {
		script string
		aborts bool // the connection
	}{
		"fusermount3 -uz":           {script: `fusermount3 -uz "$M"`},
		"umount -l":                 {script: `umount -l "$M"`},
		"umount -fl":                {script: `umount -fl "$M"`, aborts: true},
		"the connection is aborted": {script: connection + `echo 1 > "$c/abort"`, aborts: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := troubled(t, serveOptions{})
			blob, open := r.random(t, "blob", 300_000), r.random(t, "open", 300_000)
			content, err := open.content()
			require.NoError(t, err)
			cp, feed, id := r.blockedCopy(t, "_blobs/open", content[:200_000])
			writer := r.begin(t, `^movenew `, `cp "$1" "$R/_blobs/sha256/$2"`, blob.path, blob.hex)
			r.ok(t, c.script)
			if c.aborts {
				require.False(t, writer.finish(t).Success())
				require.Contains(t, writer.stderr.String(), "Software caused connection abort")
			}
			r.calm(t)
			if !c.aborts {
				require.True(t, writer.finish(t).Success(), "%s", writer.stderr)
			}
			if _, err = feed.Write(content[200_000:]); !c.aborts {
				require.NoError(t, err)
			}
			require.NoError(t, feed.Close())
			require.Equal(t, !c.aborts, cp.finish(t).Success())
			r.mount.wait(t)
			require.Zero(t, r.mount.server.ProcessState.ExitCode(), "%s", r.mount.stderr)

			r.sh(t, `fusermount3 -uzq "$M"`)
			r.mount = r.mount.again(t, serveOptions{Trouble: r.trouble})
			r.requireBlob(t, blob) // it was on its way
			if c.aborts {
				r.ok(t, `cmp -n 200000 "$R/_uploads/$1" "$2"; rm "$R/_uploads/$1"`, id, open.path)
			} else {
				r.requireBlob(t, open)
			}
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		})
	}
}
