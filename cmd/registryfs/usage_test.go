package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHelpAndVersion(t *testing.T) {
	for _, args := range []string{"help", "--help", "-h", "--help mount", "help mount", "mount --help", "mount SRC MNT --help", "help unmount", "help purge-uploads", "purge-uploads SRC --help", "unmount -h", "unmount MNT -h"} {
		r := registryfs(t, strings.Fields(args)...)
		require.Equal(t, exitOK, r.status, args)
		require.Contains(t, r.stdout, "USAGE", args)
		require.Empty(t, r.stderr, args)
	}
	for _, args := range []string{"version", "--version"} {
		r := registryfs(t, args)
		require.Equal(t, exitOK, r.status, args)
		require.Contains(t, r.stdout, "registryfs", args)
		require.Empty(t, r.stderr, args)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, tc := range []struct{ args, says string }{
		{"", "a command is missing"},
		{"remount", `unknown command "remount"`},
		{"--bogus", "-bogus"},
		{"help remount", `unknown command "remount"`},
		{"help mount unmount", "one command"},
		{"version 1", "no arguments"},
		{"mount", "SOURCE and MOUNTPOINT"},
		{"mount mem:", "SOURCE and MOUNTPOINT"},
		{"mount mem: /mnt third", `"third"`},
		{"mount mem: /mnt --bogus", "-bogus"},
		{"mount --bogus mem: /mnt", "-bogus"},
		{"mount mem: /mnt -o ro,bogus", `"bogus"`},
		{"mount mem: /mnt --uid", "needs a value"},
		{"mount mem: /mnt --umask=rwx", "octal"},
		{"mount mem: /mnt --allow-url=(", "--allow-url"},
		{"mount mem: /mnt -o deny_url=(", "--deny-url"},
		{"mount mem: /mnt --signing-key=", "--signing-key"},
		{"purge-uploads", "SOURCE"},
		{"purge-uploads /a /b", "SOURCE"},
		{"purge-uploads /a --older-than week", "--older-than"},
		{"purge-uploads /a --older-than -1h", "--older-than"},
		{"purge-uploads /a --older-than 876001h", "--older-than"},
		{"purge-uploads /a --older-than", "needs a value"},
		{"purge-uploads /a -o ro", "-o"},
		{"unmount", "MOUNTPOINT"},
		{"unmount /a /b", "MOUNTPOINT"},
		{"unmount /a -l", "-l"},
	} {
		r := registryfs(t, strings.Fields(tc.args)...)
		require.Equal(t, exitUsage, r.status, tc.args)
		require.Contains(t, r.stderr, tc.says, tc.args)
		require.Empty(t, r.stdout, tc.args)
	}
}

// failures run in a directory of their own, which holds a file, an empty
// directory, a directory of something else, a store, and a mount point.
func TestFailuresNameTheRemedy(t *testing.T) {
	dir := publicDir(t)
	t.Cleanup(func() { detach(t, filepath.Join(dir, "mnt")) })
	for _, sub := range []string{
		"empty", "disk/lost+found", "full/photos", "mnt",
		"store/" + storeDir + "/blobs", "store/" + storeDir + "/repositories/team/app", "deep/srv/" + storeDir + "/blobs",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	require.NoError(t, os.Symlink("store", filepath.Join(dir, "link")))

	for _, tc := range []struct{ args, says string }{
		{"mount missing mnt", "--create"},
		{"mount missing mnt --read-only", "--create"},
		{"mount empty mnt", "--create"},
		{"mount disk mnt", "--create"},
		{"mount full mnt", "empty directory and --create"},
		{"mount full mnt --create", "empty directory and --create"},
		{"mount file mnt", "is not a directory"},
		{"mount file/x mnt", "not a directory"},
		{"mount store/docker mnt", "did you mean DIR/store?"},
		{"mount store/docker/registry mnt --create", "did you mean DIR/store?"},
		{"mount store/docker/registry/v2 mnt", "did you mean DIR/store?"},
		{"mount store/docker/registry/v2/repositories/team mnt", "did you mean DIR/store?"},
		{"mount link/docker mnt", "did you mean DIR/store?"},
		{"mount deep mnt --create", "did you mean DIR/deep/srv?"},
		{"mount s3://bucket/prefix mnt", "not supported yet"},
		{"mount https://example.com mnt", "not supported yet"},
		{"mount ftp://example.com mnt", "unknown kind of source"},
		{"mount mem:x mnt", "./mem:x"},
		{"mount mem:0 mnt", "mem:4G"},
		{"mount mem:1 mnt", "no space left on device"},
		{"mount mem: missing", "mkdir -p missing"},
		{"mount mem: file", "is not a directory"},
		{"mount mem: /proc", "is a mount point already"},
		{"mount store store", "one inside the other"},
		{"mount store store/docker", "one inside the other"},
		{"mount store .", "one inside the other"},
		{"mount link store/docker", "one inside the other"},
		{"mount new mnt --create --log-file /missing/log", "--log-file"},
		{"mount mnt/new mnt --create", "one inside the other"},
		{"mount mnt/new/er mnt --create", "one inside the other"},
		{"mount store mnt --signing-key missing", "does not exist"},
		{"mount store mnt --signing-key file", "must hold a private key"},
		{"mount new mnt --create --signing-key file", "must hold a private key"},
		{"purge-uploads missing", "does not exist"},
		{"purge-uploads empty --dry-run", "is empty"},
		{"purge-uploads store/docker", "did you mean DIR/store?"},
		{"purge-uploads mem:", "ends with its mount"},
		{"unmount mnt", "is not a mount point"},
		{"unmount missing", "is not a mount point"},
		{"unmount /proc", "use umount"},
	} {
		for _, daemon := range []bool{false, true} {
			args := strings.Fields(tc.args)
			if daemon && args[0] == "mount" {
				args = append(args, "--daemon")
			}
			r := execute(t, "env", append([]string{"-C", dir, program}, args...)...)
			require.Equal(t, exitFailed, r.status, args)
			require.Contains(t, r.stderr, strings.ReplaceAll(tc.says, "DIR", dir), args)
			require.Equal(t, 1, strings.Count(r.stderr, "\n"), "%q: one line: %s", args, r.stderr)
			require.Empty(t, r.stdout, args)
		}
	}
	for _, name := range []string{"missing", "new", "mnt/new"} {
		require.NoDirExists(t, filepath.Join(dir, name), "a refused mount makes nothing")
	}
	entries, err := os.ReadDir(filepath.Join(dir, "empty"))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// elsewhere runs a script in a mount namespace of its own: another machine, as
// far as files go. $1 is the program, $2 a directory for everyone.
func elsewhere(t *testing.T, script string) result {
	t.Helper()
	return elsewhereOn(t, script, "")
}

// elsewhereOn is elsewhere with a store, $3.
func elsewhereOn(t *testing.T, script, store string) result {
	t.Helper()
	needRoot(t)
	const nobody = "nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups -- \"$@\"; }\n"
	return execute(t, "unshare", "--mount", "--propagation", "private",
		"sh", "-euc", nobody+script, "sh", program, publicDir(t), store)
}

func TestFailuresOfTheMachine(t *testing.T) {
	const (
		newDev = "mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/null c 1 3; mkdir -m 777 $2/mnt;"
		fuse   = "mknod -m 666 /dev/fuse c 10 229;"
		noconf = "echo '# user_allow_other' > $2/conf; mount --bind $2/conf /etc/fuse.conf;"
		conf   = "echo 'user_allow_other' > $2/conf; mount --bind $2/conf /etc/fuse.conf;"
		// A daemon of its own mount namespace has to be ended in there.
		tryNobody = "chown 65534 $2/mnt; nobody $1 mount mem: $2/mnt --daemon"
		store     = "mkdir -p $2/s/" + storeDir + "/blobs $2/s/" + storeDir + "/repositories;"
	)
	for _, tc := range []struct{ name, script, says string }{
		{"no fusermount3", "PATH=/nowhere; mkdir() { :; }; exec $1 mount mem: $2", "install the package fuse3"},
		{"no device", newDev + "exec $1 mount mem: $2/mnt", "--device /dev/fuse --cap-add SYS_ADMIN"},
		{"no device, daemon", newDev + "exec $1 mount mem: $2/mnt --daemon", "--device /dev/fuse --cap-add SYS_ADMIN"},
		{"device forbidden", newDev + "mknod -m 600 /dev/fuse c 10 229;" + tryNobody, "0666"},
		{"no right to mount", newDev + fuse + "exec setpriv --bounding-set -sys_admin $1 mount mem: $2/mnt", "--cap-add SYS_ADMIN"},
		{"other users", newDev + fuse + noconf + tryNobody + " --allow-other", "user_allow_other"},
		{"other users, no file", newDev + fuse + "mount --bind /dev/null /etc/fuse.conf;" + tryNobody + " -o allow_other", "user_allow_other"},
		{"foreign mount point", newDev + fuse + "chmod 755 $2/mnt; nobody $1 mount mem: $2/mnt", "write access"},
		{"unreadable source", store + "chmod 700 $2/s; mkdir $2/mnt; nobody $1 mount $2/s $2/mnt", "as its owner, user 0, or as root"},
		{"unreadable store", store + "chmod 700 $2/s/" + storeDir + "; mkdir $2/mnt; nobody $1 mount $2/s $2/mnt -o ro", "as its owner, user 0, or as root"},
		{"unreadable blobs", store + "chmod 700 $2/s/" + storeDir + "/blobs; mkdir $2/mnt; nobody $1 mount $2/s $2/mnt -o ro", "as its owner, user 0, or as root"},
		{"unwritable store", store + "mkdir $2/mnt; nobody $1 mount $2/s $2/mnt", "--read-only"},
		{"read-only media", store + "mkdir $2/mnt; mount --bind -r $2/s $2/s; exec $1 mount $2/s $2/mnt", "--read-only"},
		{"no place to create", newDev + fuse + "chown 65534 $2/mnt; nobody $1 mount $2/new $2/mnt --create", "permission denied"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := elsewhere(t, tc.script)
			require.Equal(t, exitFailed, r.status, r.stderr)
			require.Contains(t, r.stderr, tc.says)
			require.Equal(t, 1, strings.Count(r.stderr, "\n"), "one line: %s", r.stderr)
		})
	}

	// What those refusals ask for helps.
	for _, tc := range []struct{ name, script string }{
		{"read-only media", store + "mkdir $2/mnt; mount --bind -r $2/s $2/s; $1 mount $2/s $2/mnt --daemon -o ro; ls $2/mnt; $1 unmount $2/mnt"},
		{"unwritable store", newDev + fuse + "chown 65534 $2/mnt;" + store + "nobody $1 mount $2/s $2/mnt --read-only --daemon; nobody ls $2/mnt; nobody $1 unmount $2/mnt"},
		{"other users", newDev + fuse + conf + tryNobody + " --allow-other; ls $2/mnt; nobody $1 unmount $2/mnt"},
	} {
		t.Run(tc.name+" with the remedy", func(t *testing.T) {
			r := elsewhere(t, tc.script)
			require.Equal(t, exitOK, r.status, r.stderr)
			require.Empty(t, r.stderr)
		})
	}
}
