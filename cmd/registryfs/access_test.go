package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What keeps a command from changing a store is told at once, with what can be
// done about it, by that command.
func TestStoreCannotBeChanged(t *testing.T) {
	const (
		store    = "mkdir -p $2/s/" + storeDir + "/blobs $2/s/" + storeDir + "/repositories/app/_layers $2/mnt;"
		readOnly = store + "mount --bind -r $2/s $2/s;"
		theirs   = store + "chown -R 65534 $2/s/docker;"
		made     = "mkdir -p $2/s/" + storeDir + "/blobs $2/s/" + storeDir + "/repositories/app/_layers;"
		other    = store + "mount -t tmpfs tmpfs $2/s/docker;" + made
		bound    = store + "mkdir $2/docker; mount --bind $2/docker $2/s/docker;" + made
		ours     = store + "mkdir $2/s/registryfs; mount -t tmpfs tmpfs $2/s/registryfs;"
	)
	commands := map[string]string{ // and what can be done instead
		"mount $2/s $2/mnt":   "mount it with --read-only",
		"gc --offline $2/s":   "with --dry-run",
		"rm $2/s app":         "",
		"check --repair $2/s": "without --repair",
		"purge-uploads $2/s":  "with --dry-run",
	}
	for command, instead := range commands {
		for _, tc := range []struct{ name, script, says string }{
			{"read-only media", readOnly + "exec $1 ", "/s is on read-only media: "},
			{"not ours", theirs + "nobody $1 ", "/s cannot be written: "},
			{"other file system", other + "exec $1 ", "/s/docker/registry/v2 is not in the file system of "},
			{"other mount", bound + "exec $1 ", "/s/docker/registry/v2 is not in the file system of "},
			{"other file system beside", ours + "exec $1 ", "/s/registryfs is not in the file system of "},
		} {
			if strings.HasPrefix(tc.name, "other") && strings.HasPrefix(command, "purge") {
				continue // it moves nothing
			}
			t.Run(tc.name+"/"+command, func(t *testing.T) {
				r := elsewhere(t, tc.script+command)
				require.Equal(t, exitFailed, r.status, r.stderr)
				require.Empty(t, r.stdout)
				require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
				require.Contains(t, r.stderr, tc.says)
				switch tc.name {
				case "read-only media":
					require.Contains(t, r.stderr, instead)
					require.NotContains(t, r.stderr, "owner")
				case "not ours":
					require.Contains(t, r.stderr, instead)
					require.Contains(t, r.stderr, "run registryfs as its owner, user 0, or as root")
				default:
					require.Contains(t, r.stderr, "mount the disk on ")
				}
				if command != "mount $2/s $2/mnt" {
					require.NotContains(t, r.stderr, "--read-only")
				}
			})
		}
	}
	for _, script := range []string{readOnly, other, bound, ours} {
		r := elsewhere(t, script+"$1 check $2/s; $1 gc --dry-run $2/s; $1 purge-uploads --dry-run $2/s;"+
			"$1 mount --daemon --read-only $2/s $2/mnt; ls $2/mnt; $1 unmount $2/mnt")
		require.Equal(t, exitOK, r.status, r.stderr)
		require.Contains(t, r.stdout, "app")
	}
}
