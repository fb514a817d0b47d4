package fsmount

import (
	"io/fs"

	"bazil.org/fuse"
)

func (f *fileSystem) fileAttr(a *fuse.Attr, inode uint64, size int64) {
	f.owned(a, inode, 0o644)
	a.Size = uint64(size)
	a.Blocks = (a.Size + 511) / 512
}

func (f *fileSystem) dirAttr(a *fuse.Attr, inode uint64) {
	f.owned(a, inode, fs.ModeDir|0o755)
	a.Valid = f.options.AttrTimeout
}

func (f *fileSystem) linkAttr(a *fuse.Attr, inode uint64, size int) {
	f.owned(a, inode, 0)
	a.Mode = fs.ModeSymlink | 0o777
	a.Size = uint64(size)
}

func (f *fileSystem) owned(a *fuse.Attr, inode uint64, mode fs.FileMode) {
	a.Inode = inode
	a.Mode = mode &^ (f.options.Umask & fs.ModePerm)
	a.Uid, a.Gid = f.options.UID, f.options.GID
	a.Nlink = 1
	a.BlockSize = copyBuffer
	a.Atime, a.Mtime, a.Ctime = f.mounted, f.mounted, f.mounted
}

// listing begins a directory with its own two names.
func listing(self, parent uint64) []fuse.Dirent {
	return []fuse.Dirent{
		{Inode: self, Type: fuse.DT_Dir, Name: "."},
		{Inode: parent, Type: fuse.DT_Dir, Name: ".."},
	}
}
