package main

import (
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDaemonIsGoneAfterUnmount(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	t.Chdir(filepath.Dir(store))
	r := registryfs(t, "mount", filepath.Base(store), mnt, "--daemon")
	require.Equal(t, result{status: exitOK}, r)
	require.True(t, isMounted(t, mnt))
	require.NotEmpty(t, shell(t, `cat "$1/.registryfs/version"`, mnt))

	m, err := mountAt(mnt)
	require.NoError(t, err)
	require.Equal(t, store, m.Source)
	daemons := findDaemons(m)
	require.Len(t, daemons, 1)
	defer unix.Close(daemons[0].fd)
	require.False(t, ended(t, daemons[0]))

	r = registryfs(t, "unmount", mnt)
	require.Equal(t, result{status: exitOK}, r)
	require.True(t, ended(t, daemons[0]), "unmount returned before the daemon was gone")
	require.False(t, isMounted(t, mnt))
}

// ended tells whether a process has ended, without waiting.
func ended(t *testing.T, d daemon) bool {
	t.Helper()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}, 0)
	require.NoError(t, err)
	return n > 0
}

func TestDaemonKeepsNoDirectoryBusy(t *testing.T) {
	mnt := mountPoint(t)
	r := execute(t, "env", "-C", filepath.Dir(mnt), program, "mount", "mem:", "mnt", "--daemon")
	require.Equal(t, result{status: exitOK}, r)
	m, err := mountAt(mnt)
	require.NoError(t, err)
	conn, err := net.Dial("unix", beaconName(m, 0))
	require.NoError(t, err)
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		require.NoError(t, err)
		require.Equal(t, "/", shell(t, `readlink "/proc/$1/cwd"`, strconv.Itoa(int(peer.Pid))))
		sid, err := unix.Getsid(int(peer.Pid))
		require.NoError(t, err)
		require.Equal(t, int(peer.Pid), sid, "a session of its own")
	}))
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
}

func TestUnmountRefusesABusyMount(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	require.Equal(t, exitOK, registryfs(t, "mount", store, mnt, "--daemon").status)
	release := holdOpen(t, mnt)
	r := registryfs(t, "unmount", mnt)
	require.Equal(t, exitFailed, r.status)
	require.Contains(t, r.stderr, "is busy: cat (pid")
	require.Contains(t, r.stderr, "a file open")
	require.Equal(t, 1, strings.Count(r.stderr, "\n"))
	require.True(t, isMounted(t, mnt))

	require.False(t, release(), "the writer fails")
	require.Equal(t, result{status: exitOK}, registryfs(t, "unmount", mnt))
	require.Equal(t, "first\nsecond", shell(t, `find "$1" -name data -exec cat {} +`, filepath.Join(store, storeDir, "blobs")))
}

func TestUnmountNamesAShellInside(t *testing.T) {
	mnt := mountPoint(t)
	require.Equal(t, exitOK, registryfs(t, "mount", "mem:", mnt, "--daemon").status)
	inside := exec.Command("sh", "-c", `cd "$1" && echo in && read line`, "sh", mnt)
	out, err := inside.StdoutPipe()
	require.NoError(t, err)
	in, err := inside.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, inside.Start())
	_, err = out.Read(make([]byte, 2))
	require.NoError(t, err)
	r := registryfs(t, "unmount", mnt)
	require.Equal(t, exitFailed, r.status)
	require.Contains(t, r.stderr, "sh (pid "+strconv.Itoa(inside.Process.Pid)+") has its working directory there")
	require.NoError(t, in.Close())
	_ = inside.Wait()
	require.Equal(t, result{status: exitOK}, registryfs(t, "unmount", mnt))
}

// Anyone can listen where a daemon would: who unmounts must not wait for them.
func TestForeignBeacon(t *testing.T) {
	needRoot(t)
	mnt := mountPoint(t)
	s := startServer(t, "mem:", mnt)
	m, err := mountAt(mnt)
	require.NoError(t, err)

	l, err := listenAs(65534, beaconName(m, 1))
	require.NoError(t, err)
	defer l.Close()
	ds := findDaemons(m)
	require.Len(t, ds, 1, "the daemon alone")
	unix.Close(ds[0].fd)

	theirs := *m
	theirs.VFSOptions = strings.ReplaceAll(m.VFSOptions, "user_id=0", "user_id=65534")
	ds = findDaemons(&theirs)
	require.Len(t, ds, 2, "the mount of that user is another matter")
	for _, d := range ds {
		unix.Close(d.fd)
	}

	require.Equal(t, result{status: exitOK}, registryfs(t, "unmount", mnt))
	status, _ := s.end(t)
	require.Equal(t, exitOK, status)
}

// listenAs listens with another effective user: of this thread only, which the
// raw system call allows.
func listenAs(uid uintptr, name string) (net.Listener, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uid, keep); errno != 0 {
		return nil, errno
	}
	l, err := net.Listen("unix", name)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, 0, keep); errno != 0 {
		panic(errno) // a thread of the wrong user must not go on
	}
	return l, err
}

// A device number is given out again while its last daemon still works.
func TestBeaconOfAReusedDevice(t *testing.T) {
	mnt := mountPoint(t)
	s := startServer(t, "mem:", mnt)
	m, err := mountAt(mnt)
	require.NoError(t, err)
	second, err := lightBeacon(m)
	require.NoError(t, err)
	ds := findDaemons(m)
	require.Len(t, ds, 2, "both are found")
	for _, d := range ds {
		unix.Close(d.fd)
	}
	require.NoError(t, second.Close())
	ds = findDaemons(m)
	require.Len(t, ds, 1)
	unix.Close(ds[0].fd)
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	status, _ := s.end(t)
	require.Equal(t, exitOK, status)
	_, err = lightBeacon(nil)
	require.Error(t, err, "not mounted")
}
