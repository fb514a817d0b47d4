package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolate runs this program again in mount, process and network namespaces of
// its own, and removes what is left when that has ended. The processes there
// end with their first one, which ends with this one.
func isolate(ctx context.Context, args []string) error {
	if os.Geteuid() != 0 {
		return errors.New("mounting a tmpfs and a loop device needs root")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	scratch, err := os.MkdirTemp("", "registryfs-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{inner, scratch}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL, // when the thread ends that starts it
		Setpgid:    true,            // so that a terminal's signals come here only
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("not finished: %w", errors.Join(context.Cause(ctx), err))
	}
	return nil
}

// furnish makes the namespaces usable and mounts the tmpfs.
func furnish(scratch string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("raise the loopback: %w", err)
	}
	for _, dir := range []string{"fast", "ext4", "disk", "mnt"} {
		if err := os.Mkdir(filepath.Join(scratch, dir), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", filepath.Join(scratch, "fast"), "tmpfs", 0, "size=80%,nr_inodes=0"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return nil
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// ext4Size is the size in bytes of the file system that durable rows write to.
const ext4Size = 2 << 30

// mountExt4 makes a new ext4 on the disk and mounts it. The loop device goes
// with the mount.
func (b *bench) mountExt4(ctx context.Context) (string, error) {
	image, dir := filepath.Join(b.scratch, "disk.img"), filepath.Join(b.scratch, "ext4")
	if isMounted(dir) {
		return dir, nil
	}
	f, err := os.Create(image)
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Truncate(ext4Size), f.Close()); err != nil {
		return "", err
	}
	if err := b.do(ctx, "mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); err != nil {
		return "", err
	}
	return dir, b.do(ctx, "mount", "-o", "loop", image, dir)
}

// isMounted reports whether something is mounted on dir.
func isMounted(dir string) bool {
	var at, above unix.Stat_t
	return unix.Stat(dir, &at) == nil && unix.Stat(filepath.Dir(dir), &above) == nil && at.Dev != above.Dev
}
