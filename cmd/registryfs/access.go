package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// oursDir is what registryfs keeps in a storage directory beside the registry.
const oursDir = "registryfs"

// checkReadable tests what every use of a store needs, so that the answer comes
// now and not from a tree full of errors.
func checkReadable(dir string) error {
	for _, sub := range []string{"", "blobs", "repositories"} {
		path := filepath.Join(dir, storeDir, sub)
		if _, err := readNames(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sourceError(path, err)
		}
	}
	return nil
}

// checkWritable tests what whoever changes a store needs. instead is what can be
// done where it cannot be changed, and may be empty.
func (s source) checkWritable(instead string) error {
	if s.dir == "" || s.make {
		return nil
	}
	if instead != "" {
		instead += ", or "
	}
	ours := filepath.Join(s.dir, oursDir)
	if unix.Access(ours, unix.F_OK) != nil {
		ours = s.dir // where it will be made
	}
	store := filepath.Join(s.dir, storeDir)
	for _, path := range []string{ours, store, filepath.Join(store, "blobs"), filepath.Join(store, "repositories")} {
		switch err := unix.Access(path, unix.W_OK); {
		case errors.Is(err, unix.EROFS):
			return fmt.Errorf("%s is on read-only media: %smake that writable", path, instead)
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("%s cannot be written: %s%s", path, instead, asOwner(path))
		}
	}
	return nil
}

// checkMovable is checkWritable for who also moves things: between the registry
// and what registryfs keeps beside it nothing may be mounted.
func (s source) checkMovable(instead string) error {
	if err := s.checkWritable(instead); err != nil || s.dir == "" || s.make {
		return err
	}
	root, err := placeOf(s.dir)
	if err != nil {
		return sourceError(s.dir, err)
	}
	for _, sub := range []string{storeDir, storeDir + "/blobs", storeDir + "/repositories", oursDir} {
		path := filepath.Join(s.dir, sub)
		place, err := placeOf(path)
		if err == nil && place != root {
			return fmt.Errorf("%s is not in the file system of %s, and nothing can be moved between the two: "+
				"mount the disk on %s, with all that is in there", path, s.dir, s.dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sourceError(path, err)
		}
	}
	return nil
}

// place is where a directory is: files are moved within one place only.
type place struct {
	major, minor uint32
	mount        uint64 // 0 before Linux 5.8
}

func placeOf(path string) (place, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st); err != nil {
		return place{}, err
	}
	return place{st.Dev_major, st.Dev_minor, st.Mnt_id}, nil
}

func sourceError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s cannot be read: %s", path, asOwner(path))
	}
	return fmt.Errorf("%s cannot be read: %w", path, err)
}

// asOwner is the remedy where permission is denied.
func asOwner(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return "run registryfs as the registry's user, or as root"
	}
	return fmt.Sprintf("run registryfs as its owner, user %d, or as root", st.Uid)
}
