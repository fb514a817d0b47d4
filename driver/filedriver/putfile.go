package filedriver

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

func (s *store) PutFile(_ context.Context, path string, content []byte) (driver.Written, error) {
	var written driver.Written
	err := s.put(path, content, func(from *os.File, oldName string, to *os.File, newName string) error {
		made, err := lstat(from, oldName)
		if err != nil {
			return err
		}
		if written, err = s.replaceKnown(from, oldName, to, newName); err != nil {
			return err
		}
		// Renaming changes the version. A file that somebody has put there or
		// changed since is another, or has another time.
		if now, err := lstat(to, newName); err == nil && now.Ino == made.Ino && now.Mtim == made.Mtim {
			written.Version = version(now)
		}
		return nil
	})
	if err != nil {
		return driver.Written{}, err
	}
	return written, nil
}

// replaceKnown is replace, and says what it replaced.
func (s *store) replaceKnown(from *os.File, oldName string, to *os.File, newName string) (driver.Written, error) {
	err := s.sys.Rename(from, oldName, to, newName, unix.RENAME_NOREPLACE)
	switch {
	case err == nil:
		return driver.Written{IsNew: true}, nil
	case !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL):
		return driver.Written{}, err
	}
	var written driver.Written
	if old, err := lstat(to, newName); err == nil && old.Mode&unix.S_IFMT == unix.S_IFREG {
		written.Replaced = version(old)
	}
	return written, s.replace(from, oldName, to, newName)
}
