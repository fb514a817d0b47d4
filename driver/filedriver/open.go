package filedriver

import (
	"errors"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// resolve keeps the kernel beneath the directory it starts from and off every
// symlink.
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// errNotRegular says that something other than a regular file or a directory
// stands in a path.
var errNotRegular = errors.New("neither a regular file nor a directory")

// openBeneath opens name, absolute or one name, below dir.
func openBeneath(dir *os.File, name string, flags int, mode uint32) (int, error) {
	defer runtime.KeepAlive(dir)
	rel := strings.TrimPrefix(name, "/")
	if rel == "" {
		rel = "."
	}
	how := &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Mode:    uint64(mode),
		Resolve: resolve,
	}
	return openRetry(func() (int, error) { return unix.Openat2(int(dir.Fd()), rel, how) })
}

// openQuiet is openBeneath for reading, without a trace in the access time
// where the caller may do so.
func openQuiet(dir *os.File, name string, flags int) (int, error) {
	fd, err := openBeneath(dir, name, flags|unix.O_RDONLY|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		return openBeneath(dir, name, flags|unix.O_RDONLY, 0)
	}
	return fd, err
}

// openDir opens a directory, to read it, to sync it and to work in it.
func openDir(dir *os.File, name string) (*os.File, error) {
	fd, err := openQuiet(dir, name, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path.Join(dir.Name(), name)), nil
}

// openFile opens a regular file. O_NONBLOCK is for a FIFO in its place.
func openFile(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	fd, err := openBeneath(dir, name, flags|unix.O_NONBLOCK, mode)
	if err != nil {
		return nil, err
	}
	return regular(fd, path.Join(dir.Name(), name))
}

// openRead opens a regular file for reading.
func (s *store) openRead(name string) (*os.File, error) {
	fd, err := openQuiet(s.root, name, unix.O_NONBLOCK)
	if err != nil {
		return nil, s.fault(err)
	}
	f, err := regular(fd, name)
	return f, s.fault(err)
}

// regular makes a file of fd, which it closes if it is something else.
func regular(fd int, name string) (*os.File, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNotRegular
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// fstat is what the kernel knows of an open file.
func fstat(f *os.File) (unix.Stat_t, error) {
	defer runtime.KeepAlive(f)
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) })
	return st, err
}

// lstat describes what name is in dir, be it a symlink.
func lstat(dir *os.File, name string) (unix.Stat_t, error) {
	defer runtime.KeepAlive(dir)
	var st unix.Stat_t
	err := retry(func() error {
		return unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, err
}

// openParent opens the directory that path is in, and returns the last
// component.
func (s *store) openParent(name string) (*os.File, string, error) {
	parent, base := path.Split(name)
	dir, err := openDir(s.root, path.Clean(parent))
	return dir, base, err
}

func isDir(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
