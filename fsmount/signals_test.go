package fsmount_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// signalled works in a directory of blobs while signals that it handles come
// all the time, as those of a timer or of children do to other programs. None
// of its calls may be ended by one.
func signalled(args []string) error {
	const (
		rounds = 30
		half   = 1 << 20 // bytes
	)
	runtime.LockOSThread()
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, unix.SIGUSR1)
	var over atomic.Bool
	pid, tid := unix.Getpid(), unix.Gettid()
	go func() {
		for !over.Load() {
			_ = unix.Tgkill(pid, tid, unix.SIGUSR1)
			<-handled
		}
	}()
	defer over.Store(true)

	blobs := args[0]
	scratch, other := filepath.Join(blobs, ".scratch"), filepath.Join(blobs, ".other")
	for n := range rounds {
		name := filepath.Join(blobs, fmt.Sprintf("layer%d", n))
		// The second half first: closing hashes all of it.
		content := make([]byte, half)
		content[0] = byte(n)
		fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("round %d: open: %w", n, err)
		}
		if err := errors.Join(write(fd, content, half), write(fd, content, 0)); err != nil {
			return fmt.Errorf("round %d: write: %w", n, err)
		}
		if err := unix.Fsync(fd); err != nil {
			return fmt.Errorf("round %d: fsync: %w", n, err)
		}
		if err := unix.Close(fd); err != nil {
			return fmt.Errorf("round %d: close: %w", n, err)
		}
		if fd, err = unix.Open(scratch, unix.O_WRONLY|unix.O_CREAT, 0o600); err != nil {
			return fmt.Errorf("round %d: open scratch: %w", n, err)
		}
		for _, op := range []struct {
			name string
			call func() error
		}{
			{"truncate", func() error { return unix.Ftruncate(fd, int64(n+1)) }},
			{"close scratch", func() error { return unix.Close(fd) }},
			{"rename", func() error { return unix.Rename(scratch, other) }},
			{"unlink", func() error { return unix.Unlink(other) }},
			{"symlink", func() error { return unix.Symlink(filepath.Base(name), name+".again") }},
			{"unlink alias", func() error { return unix.Unlink(name + ".again") }},
		} {
			if err := op.call(); err != nil {
				return fmt.Errorf("round %d: %s: %w", n, op.name, err)
			}
		}
	}
	return nil
}

// write writes all of p; write(2) itself may be ended after a part.
func write(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, off)
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func TestSignalsThatAreHandled(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"end no call", func(t *testing.T, r *repo) {
			r.ok(t, `FSMOUNT_TEST_ROLE=signalled "$SELF" "$R/_blobs"`)
			require.Equal(t, "30", r.ok(t, `ls "$R/_blobs/sha256" | wc -l`))
			r.until(t, `test -z "$(ls "$R/_uploads")"`)
		}},
	})
}
