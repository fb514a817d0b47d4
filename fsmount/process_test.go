package fsmount

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestThreadGroup(t *testing.T) {
	require.Equal(t, os.Getpid(), threadGroup(uint32(os.Getpid())))
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		require.Equal(t, os.Getpid(), threadGroup(uint32(unix.Gettid())))
	}()
	<-done
	child := exec.Command("sleep", "60")
	require.NoError(t, child.Start())
	pid := child.Process.Pid
	require.Equal(t, pid, threadGroup(uint32(pid)))
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	require.Zero(t, threadGroup(uint32(pid)), "a process that is gone")
	require.Zero(t, threadGroup(0))
}

func TestCommandOf(t *testing.T) {
	child := exec.Command("sleep", "60")
	require.NoError(t, child.Start())
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	await(t, func() bool { return commandOf(uint32(child.Process.Pid)) == "sleep" })
	require.Empty(t, commandOf(0))
}

// await waits for something to be so.
func await(t *testing.T, isSo func() bool) {
	t.Helper()
	require.Eventually(t, isSo, time.Minute, time.Millisecond)
}

func TestIsDying(t *testing.T) {
	require.False(t, isDying(0))
	require.False(t, isDying(uint32(os.Getpid())))
	for _, tc := range []struct {
		script string
		signal syscall.Signal
		want   bool
	}{
		{"exec sleep 60", syscall.SIGKILL, true},
		{"exec sleep 60", syscall.SIGINT, true},
		{"exec sleep 60", syscall.SIGTERM, true},
		{"trap 'exit 3' TERM; echo; while :; do sleep 0.01; done", syscall.SIGTERM, false},
	} {
		t.Run(fmt.Sprint(tc.script, " ", tc.signal), func(t *testing.T) {
			child := exec.Command("sh", "-c", tc.script)
			out, err := child.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, child.Start())
			if strings.HasPrefix(tc.script, "trap") {
				_, err := out.Read(make([]byte, 1))
				require.NoError(t, err)
			}
			require.False(t, isDying(uint32(child.Process.Pid)))
			require.NoError(t, child.Process.Signal(tc.signal))
			// Nobody has waited for it: it is a zombie, and its flags remain.
			var info unix.Siginfo
			require.NoError(t, ignoreEINTR(func() error {
				return unix.Waitid(unix.P_PID, child.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
			}))
			require.Equal(t, tc.want, isDying(uint32(child.Process.Pid)))
			_ = child.Wait()
		})
	}
	// The command may hold anything.
	odd := filepath.Join(t.TempDir(), "a) R 1 (b")
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(sleep, odd))
	child := exec.Command(odd, "60")
	require.NoError(t, child.Start())
	require.False(t, isDying(uint32(child.Process.Pid)))
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
}

func ignoreEINTR(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

func TestIsCreatingAnew(t *testing.T) {
	require.False(t, isCreatingAnew(0))
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	child := exec.Command("cat", fifo) // waits in openat(2), without O_CREAT
	require.NoError(t, child.Start())
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	tid := uint32(child.Process.Pid)
	await(t, func() bool {
		call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", tid))
		return strings.HasPrefix(string(call), fmt.Sprint(syscall.SYS_OPENAT, " 0xffffff9c"))
	})
	require.False(t, isCreatingAnew(tid))
	require.False(t, isCreatingAnew(uint32(os.Getpid())))

	require.True(t, isOpening(tid))
	require.True(t, isOpening(0), "it is not known")
	asleep := exec.Command("sleep", "60")
	require.NoError(t, asleep.Start())
	defer func() {
		_ = asleep.Process.Kill()
		_ = asleep.Wait()
	}()
	await(t, func() bool { return !isOpening(uint32(asleep.Process.Pid)) })
}

func TestTheEndOfAProcess(t *testing.T) {
	start := func() (*exec.Cmd, process) {
		child := exec.Command("sleep", "60")
		require.NoError(t, child.Start())
		t.Cleanup(func() {
			_ = child.Process.Kill()
			_ = child.Wait()
		})
		return child, processOf(uint32(child.Process.Pid))
	}
	child, p := start()
	require.False(t, p.hasEnded())
	ended := make(chan struct{})
	_, err := p.whenEnded(func() { close(ended) })
	require.NoError(t, err)
	other, q := start()
	stop, err := q.whenEnded(func() { t.Error("that was given up") })
	require.NoError(t, err)
	stop()
	require.NoError(t, other.Process.Kill())
	require.Error(t, other.Wait())
	select {
	case <-ended:
		require.Fail(t, "it has not ended")
	default:
	}
	require.NoError(t, child.Process.Kill())
	<-ended // nobody has waited for it: it is a zombie
	require.True(t, p.hasEnded())
	require.True(t, q.hasEnded())
	_, err = q.whenEnded(func() { t.Error("it has ended before") })
	require.ErrorIs(t, err, syscall.ESRCH)
	require.True(t, process{p.id, p.start + "0"}.hasEnded(), "another that had its number")
}
