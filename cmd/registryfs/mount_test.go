package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMountInForeground(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	s := startServer(t, store, mnt)
	require.Equal(t, "registryfs: mounted "+store+" on "+mnt+"\n", s.ready)
	m, err := mountAt(mnt)
	require.NoError(t, err)
	require.Equal(t, fsType, m.FSType)
	require.Equal(t, store, m.Source)
	require.Contains(t, shell(t, `cat "$1/.registryfs/version"`, mnt), version())

	r := registryfs(t, "unmount", mnt)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Empty(t, r.stderr)
	require.False(t, isMounted(t, mnt))
	status, rest := s.end(t)
	require.Equal(t, exitOK, status)
	require.Empty(t, rest, "one line in all")
}

func TestMountMakesARegistryOnDemand(t *testing.T) {
	empty := publicDir(t)
	for _, source := range []string{empty, filepath.Join(empty, "a/b/new")} {
		mnt := mountPoint(t)
		if source != empty {
			require.NoError(t, os.RemoveAll(filepath.Join(empty, "docker")))
		}
		r := registryfs(t, "mount", source, mnt, "--create", "--daemon")
		require.Equal(t, exitOK, r.status, r.stderr)
		require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
		require.DirExists(t, filepath.Join(source, storeDir, "blobs"))
		require.DirExists(t, filepath.Join(source, storeDir, "repositories"))

		r = registryfs(t, "mount", "--daemon", source, mnt)
		require.Equal(t, exitOK, r.status, "it is a registry from then on: %s", r.stderr)
		require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	}
}

// Flags hold wherever they stand, and however they are written.
func TestFlagsReachTheMount(t *testing.T) {
	for _, line := range []string{
		"--daemon --read-only --uid 5 --gid 6 --umask 027 mem: MNT",
		"mem: MNT --daemon --read-only --uid 5 --gid 6 --umask 027",
		"mem: --daemon --uid=5 MNT --gid=6 -o ro,umask=0027",
		"mem: MNT -o defaults,rw,noatime,_netdev,x-systemd.automount,read_only,uid=5,gid=6,umask=27,daemon",
	} {
		mnt := mountPoint(t)
		args := strings.Fields("mount " + strings.ReplaceAll(line, "MNT", mnt))
		r := registryfs(t, args...)
		require.Equal(t, exitOK, r.status, r.stderr)
		require.Equal(t, "5 6 750", shell(t, `stat -c '%u %g %a' "$1"`, mnt), line)
		r = execute(t, "timeout", "20", "mkdir", mnt+"/team")
		require.NotZero(t, r.status, line)
		require.Contains(t, r.stderr, "Read-only file system", line)
		require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	}
}

// mount(8) itself, with the program as its helper.
func TestMountHelper(t *testing.T) {
	r := elsewhere(t, `
		mkdir "$2/sbin" "$2/mnt"; cp -a /usr/sbin/. "$2/sbin"; mount --bind "$2/sbin" /usr/sbin
		cp "$1" /usr/sbin/mount.registryfs
		mount -t registryfs mem: "$2/mnt" -o rw,nofail,noatime,_netdev,uid=5
		stat -c %u "$2/mnt"
		"$1" unmount "$2/mnt"
		echo "mem: $2/mnt registryfs ro,umask=077,x-systemd.automount 0 0" >"$2/fstab"
		mount -T "$2/fstab" "$2/mnt"
		stat -c %a "$2/mnt"
		"$1" unmount "$2/mnt"
		! mount -t registryfs mem: "$2/missing" -o rw`)
	require.Zero(t, r.status, r.stderr)
	require.Equal(t, "5\n700\n", r.stdout)
	require.Contains(t, r.stderr, "mkdir -p")
}

func TestReadOnlyMountChangesNothing(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	picture := `cd "$1"; find . -printf '%p %T@ %C@ %A@ %m %s\n' | sort`
	// Reading a directory may set its access time, so that is done with first.
	shell(t, picture, store)
	before := shell(t, picture, store)
	require.Equal(t, exitOK, registryfs(t, "mount", store, mnt, "--read-only", "--daemon").status)
	shell(t, `find "$1"`, mnt)
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	require.Equal(t, before, shell(t, picture, store))
}

func TestLiveMountIsRefused(t *testing.T) {
	mnt := mountPoint(t)
	require.Equal(t, exitOK, registryfs(t, "mount", "mem:", mnt, "--daemon").status)
	for _, flags := range [][]string{nil, {"--daemon"}} {
		r := registryfs(t, append([]string{"mount", "mem:", mnt}, flags...)...)
		require.Equal(t, exitFailed, r.status)
		require.Contains(t, r.stderr, "registryfs unmount "+mnt)
	}
	link := filepath.Join(filepath.Dir(mnt), "link")
	require.NoError(t, os.Symlink(mnt, link))
	require.Equal(t, exitFailed, registryfs(t, "mount", "mem:", link).status)
	require.Equal(t, exitOK, registryfs(t, "unmount", link+"/").status)
	require.False(t, isMounted(t, mnt))
}

func TestDeadMountIsCleared(t *testing.T) {
	mnt := mountPoint(t)
	s := startServer(t, "mem:", mnt)
	require.NoError(t, s.Process.Kill())
	status, _ := s.end(t)
	require.NotZero(t, status)
	require.True(t, isMounted(t, mnt), "what a daemon leaves that is killed")
	r := execute(t, "timeout", "20", "ls", mnt)
	require.Contains(t, r.stderr, "not connected")

	r = registryfs(t, "mount", "mem:", mnt, "--daemon")
	require.Equal(t, exitOK, r.status, r.stderr)
	require.NotEmpty(t, shell(t, `cat "$1/.registryfs/version"`, mnt))
	r = registryfs(t, "unmount", mnt)
	require.Equal(t, exitOK, r.status, r.stderr)
	m, err := mountAt(mnt)
	require.NoError(t, err)
	require.Nil(t, m, "nothing lies below")
}

func TestDeadMountIsUnmounted(t *testing.T) {
	mnt := mountPoint(t)
	s := startServer(t, "mem:", mnt)
	require.NoError(t, s.Process.Kill())
	_, _ = s.end(t)
	r := registryfs(t, "unmount", mnt)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Empty(t, r.stderr)
	require.False(t, isMounted(t, mnt))
}

func TestLogFileAndFormat(t *testing.T) {
	mnt, logFile := mountPoint(t), filepath.Join(t.TempDir(), "log")
	s := startServer(t, "mem:", mnt, "--log-file", logFile, "--log-format", "json", "--log-level", "info")
	require.NoError(t, s.Process.Signal(syscall.SIGTERM))
	status, rest := s.end(t)
	require.Equal(t, exitOK, status)
	require.Empty(t, rest)
	text, err := os.ReadFile(logFile)
	require.NoError(t, err)
	var found bool
	for line := range strings.Lines(string(text)) {
		var record struct{ Msg, Signal string }
		require.NoError(t, json.Unmarshal([]byte(line), &record), line)
		found = found || record.Msg == "unmounting" && record.Signal == "terminated"
	}
	require.True(t, found, "%s", text)
}

func TestSignalEndsTheMount(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		mnt := mountPoint(t)
		s := startServer(t, "mem:", mnt)
		require.NoError(t, s.Process.Signal(sig))
		status, rest := s.end(t)
		require.Equal(t, exitOK, status, rest)
		require.Empty(t, rest)
		require.False(t, isMounted(t, mnt))
	}
}

// holdOpen starts a process that has written "first" to a file of the mount and
// keeps it open. release lets it write "second", close the file, and end.
func holdOpen(t *testing.T, mnt string) (release func() (failed bool)) {
	t.Helper()
	// A shell's own redirections would send a FLUSH after each command.
	cmd := exec.Command("sh", "-euc", `mkdir -p "$1/team/app"; exec cat >"$1/team/app/_blobs/held"`, "sh", mnt)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err = io.WriteString(in, "first\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/1", cmd.Process.Pid))
		return bytes.HasPrefix(info, []byte("pos:\t6\n"))
	}, patience, 10*time.Millisecond, "it has written")
	return func() bool {
		_, _ = io.WriteString(in, "second\n")
		require.NoError(t, in.Close())
		return cmd.Wait() != nil
	}
}

func TestSignalServesWhatIsOpen(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	s := startServer(t, store, mnt)
	release := holdOpen(t, mnt)
	require.NoError(t, s.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { return !isMounted(t, mnt) }, patience, 10*time.Millisecond, "detached at once")
	require.False(t, release(), "the writer fails")
	status, rest := s.end(t)
	require.Equal(t, exitOK, status, rest)

	blob := filepath.Join(store, storeDir, "blobs")
	require.Equal(t, "first\nsecond", shell(t, `find "$1" -name data -exec cat {} +`, blob))
}

func TestDrainTimeoutEndsTheMount(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	s := startServer(t, store, mnt, "--drain-timeout", "100ms")
	release := holdOpen(t, mnt)
	require.NoError(t, s.Process.Signal(syscall.SIGTERM))
	status, rest := s.end(t)
	require.Equal(t, exitOK, status, rest)
	require.Contains(t, rest, "still open")
	require.True(t, release(), "the writer learns of it")
	require.Equal(t, "first", shell(t, `find "$1" -path '*_uploads*' -name data -exec cat {} +`, store), "kept as an upload")
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	mnt := mountPoint(t)
	s := startServer(t, newStore(t), mnt, "--drain-timeout", "1h")
	release := holdOpen(t, mnt)
	require.NoError(t, s.Process.Signal(syscall.SIGINT))
	require.Eventually(t, func() bool { return !isMounted(t, mnt) }, patience, 10*time.Millisecond)
	require.NoError(t, s.Process.Signal(syscall.SIGINT))
	status, rest := s.end(t)
	require.Equal(t, exitFailed, status)
	require.Contains(t, rest, "second signal")
	require.True(t, release())
}
