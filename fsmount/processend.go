package fsmount

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasEnded reports whether a process that was known is one no longer.
func (p process) hasEnded() bool {
	fields := statOf(uint32(p.id))
	if len(fields) <= startOfProcess || string(fields[startOfProcess]) != p.start {
		return true
	}
	state := fields[0][0]
	return state == 'Z' || state == 'X'
}

// whenEnded calls fn in a goroutine of its own, once a process has ended and
// nothing of it runs. What it returns gives that up. Errors: where that cannot
// be told, and for a process that is gone.
func (p process) whenEnded(fn func()) (stop func(), err error) {
	fd, err := unix.PidfdOpen(p.id, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "pidfd") // waits without a thread
	conn, err := file.SyscallConn()
	if err == nil && p.hasEnded() {
		err = syscall.ESRCH // or the number is another's by now
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	go func() {
		defer file.Close()
		if conn.Read(isReadable) == nil {
			fn()
		}
	}()
	return func() { _ = file.Close() }, nil
}

// isReadable reports whether a descriptor is: that of a process once it has
// ended.
func isReadable(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return n > 0 && err == nil
}
