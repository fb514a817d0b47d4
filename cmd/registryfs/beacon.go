package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A beacon is how registryfs unmount finds the daemon of a mount, to wait for
// its end. The daemon listens on an abstract Unix socket named after the
// mount's device number; whoever connects learns the daemon's process from the
// kernel. Nothing is sent, and no connection is ever accepted.
//
// An abstract socket leaves no file behind, cannot outlive its process as a
// pidfile does, and costs the mounted tree no entry. The other trace from a
// mount to its daemon, fuse_connection in /proc/<pid>/fdinfo, is newer than
// the kernels of current distributions.
//
// Device numbers are given out again while a daemon that has been unmounted
// still finishes its work, so each number has several names.

// beaconSlots is how many daemons of one device number are told apart.
const beaconSlots = 16

func beaconName(m *mountinfo.Info, slot int) string {
	return fmt.Sprintf("@registryfs/%d:%d/%d", m.Major, m.Minor, slot)
}

// lightBeacon makes this process known as the daemon of a mount until it ends,
// or closes the result. m may be nil: a mount that is gone already.
func lightBeacon(m *mountinfo.Info) (io.Closer, error) {
	if m == nil {
		return nil, errors.New("unmounted already")
	}
	var err error
	for slot := range beaconSlots {
		var l net.Listener
		if l, err = net.Listen("unix", beaconName(m, slot)); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// daemon is a process that serves, or served, a mount: a pidfd.
type daemon struct{ fd int }

// findDaemons returns the daemons of a mount, as far as they can be seen from
// this process's network and pid namespaces.
func findDaemons(m *mountinfo.Info) []daemon {
	var ds []daemon
	for slot := range beaconSlots {
		conn, err := net.Dial("unix", beaconName(m, slot))
		if err != nil {
			continue
		}
		if d, ok := identify(conn.(*net.UnixConn), m); ok {
			ds = append(ds, d)
		}
		conn.Close()
	}
	return ds
}

// identify returns the process at the other end of conn, if it belongs to root
// or to the user who mounted m: anyone may listen on an abstract socket.
func identify(conn *net.UnixConn, m *mountinfo.Info) (daemon, bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return daemon{}, false
	}
	pidfd := -1
	_ = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil || peer.Pid <= 0 {
			return
		}
		owner := slices.Contains(strings.Split(m.VFSOptions, ","), fmt.Sprintf("user_id=%d", peer.Uid))
		if !owner && peer.Uid != 0 {
			return
		}
		if pidfd, err = unix.PidfdOpen(int(peer.Pid), 0); err != nil {
			return
		}
		// The socket still stands, so the number was not another process's.
		if _, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_DONTWAIT); err != unix.EAGAIN {
			unix.Close(pidfd)
			pidfd = -1
		}
	})
	return daemon{pidfd}, pidfd >= 0
}

// wait returns when the process has ended.
func (d daemon) wait() error {
	defer unix.Close(d.fd)
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
}
