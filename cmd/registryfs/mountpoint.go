package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const (
	// fsType is how mounts of registryfs appear in /proc/self/mountinfo.
	fsType = "fuse.registryfs"
	// maxSymlinks is how many symlinks a path may lead through, as the kernel
	// has it.
	maxSymlinks = 40
	// maxStacked is how many dead mounts are cleared from one mount point.
	maxStacked = 16
)

// resolve returns path as mountinfo would write it: absolute and without
// symlinks. What is missing at its end stays as it is. The last element need
// not answer: it may be a dead mount, so it is only asked for a link's target.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range maxSymlinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if errors.Is(err, fs.ErrNotExist) {
			dir, err = resolve(filepath.Dir(path))
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", &fs.PathError{Op: "resolve", Path: path, Err: syscall.ELOOP}
}

// mountAt returns the topmost mount at a resolved path, or nil.
func mountAt(path string) (*mountinfo.Info, error) {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != path, false
	})
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	return mounts[len(mounts)-1], nil
}

// findMountPoint checks that a registry can be mounted on arg and returns it
// resolved. A mount of ours whose daemon died is cleared away.
func findMountPoint(ctx context.Context, arg string, src source) (string, error) {
	if arg == "" {
		return "", errors.New("MOUNTPOINT is empty: name a directory")
	}
	dir, err := resolve(arg)
	if err != nil {
		return "", err
	}
	if err := clearDead(ctx, dir); err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s does not exist: make the mount point first, mkdir -p %s", arg, arg)
	case errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir():
		return "", fmt.Errorf("%s is not a directory: name a directory to mount on", arg)
	case err != nil:
		return "", fmt.Errorf("%s cannot be mounted on: %w", arg, err)
	}
	// Mounted over itself, the registry would ask itself for its own files.
	if src.dir != "" && (beneath(src.dir, dir) || beneath(dir, src.dir)) {
		return "", fmt.Errorf("%s and %s lie one inside the other: mount on a directory outside of SOURCE, and not above it",
			src.dir, dir)
	}
	return dir, nil
}

// lockDirectory keeps others of us away from a directory until the result is
// closed. One that may be mounted on but not read is not locked.
func lockDirectory(dir string) (io.Closer, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return f, nil
		}
		if err != unix.EINTR {
			f.Close()
			return nil, &fs.PathError{Op: "lock", Path: dir, Err: err}
		}
	}
}

// beneath tells whether path is dir or lies in it.
func beneath(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// clearDead detaches dead mounts of ours from dir, and refuses any other mount.
func clearDead(ctx context.Context, dir string) error {
	for range maxStacked {
		m, err := mountAt(dir)
		if err != nil {
			return fmt.Errorf("list mounts: %w", err)
		}
		if m == nil {
			return nil
		}
		dead := isDead(dir)
		switch {
		case !dead && m.FSType == fsType:
			return fmt.Errorf("%s is a registryfs mount already (of %s): end it with registryfs unmount %s", dir, m.Source, dir)
		case !dead:
			return fmt.Errorf("%s is a mount point already (%s): unmount it, or mount on a directory in it", dir, m.FSType)
		case m.FSType != fsType:
			return fmt.Errorf("%s is a dead mount (%s): clear it with fusermount3 -uz %s", dir, m.FSType, dir)
		}
		if err := detachDead(ctx, dir); err != nil {
			return fmt.Errorf("%s is a dead mount that cannot be cleared: %w", dir, err)
		}
	}
	return fmt.Errorf("%s has more than %d dead mounts: clear them with umount -l", dir, maxStacked)
}

// isDead reports whether nobody serves the mount at dir. Unlike stat, statfs is
// never answered from the kernel's cache.
func isDead(dir string) bool {
	var st unix.Statfs_t
	return errors.Is(unix.Statfs(dir, &st), unix.ENOTCONN)
}

// detachDead detaches the mount at dir if it is still dead. Another of us may
// be about to do the same and then to mount, and a mount that lives now would be
// detached instead. A dead mount cannot be opened, so the directory above is
// what they lock; only for this moment, since others mount there too.
func detachDead(ctx context.Context, dir string) error {
	lock, err := lockDirectory(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer lock.Close()
	m, err := mountAt(dir)
	if err != nil || m == nil || !isDead(dir) {
		return err
	}
	return fusermount(ctx, "-uz", dir)
}

// fusermount runs fusermount3, the set-user-ID program that mounts and
// unmounts for everyone; what it says becomes the error.
func fusermount(ctx context.Context, flag, dir string) error {
	out, err := exec.CommandContext(ctx, fusermountProgram, flag, "--", dir).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return errNoFusermount
	}
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return errors.New(text)
	}
	return err
}
