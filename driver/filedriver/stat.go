package filedriver

import (
	"context"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

func (s *store) Stat(_ context.Context, path string) (driver.FileInfo, error) {
	fd, err := openBeneath(s.root, path, unix.O_PATH, 0)
	if err != nil {
		return driver.FileInfo{}, s.fault(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return driver.FileInfo{}, s.fault(err)
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind != unix.S_IFREG && kind != unix.S_IFDIR:
		return driver.FileInfo{}, s.fault(errNotRegular)
	case path == "/" && st.Nlink == 0:
		return driver.FileInfo{}, ErrRootGone
	}
	return fileInfo(path, st), nil
}

func fileInfo(path string, st unix.Stat_t) driver.FileInfo {
	info := driver.FileInfo{
		Path:    path,
		ModTime: time.Unix(st.Mtim.Unix()),
		IsDir:   isDir(st),
		Version: version(st),
	}
	if !info.IsDir {
		info.Size = st.Size
	}
	return info
}

// version is inode number, size and the times of the last change of content
// and of attributes, in nanoseconds: nobody can set the last back.
func version(st unix.Stat_t) string {
	const base = 36
	v := make([]byte, 0, 64)
	v = strconv.AppendUint(v, st.Ino, base)
	v = append(v, '.')
	v = strconv.AppendInt(v, st.Size, base)
	v = append(v, '.')
	v = strconv.AppendInt(v, st.Mtim.Nano(), base)
	v = append(v, '.')
	v = strconv.AppendInt(v, st.Ctim.Nano(), base)
	return string(v)
}

func (s *store) Space(context.Context) (driver.Space, error) {
	defer runtime.KeepAlive(s)
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(int(s.root.Fd()), &st) })
	if err != nil {
		return driver.Space{}, s.fault(err)
	}
	block := uint64(st.Frsize)
	if block == 0 {
		block = uint64(st.Bsize)
	}
	return driver.Space{
		Bytes:     st.Blocks * block,
		BytesFree: st.Bavail * block,
		Files:     st.Files,
		FilesFree: st.Ffree,
	}, nil
}
