package filedriver

import (
	"context"
	"crypto/rand"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

func (s *store) GetContent(ctx context.Context, path string) ([]byte, error) {
	content, _, err := s.GetFile(ctx, path, driver.MaxContent)
	return content, err
}

func (s *store) PutContent(_ context.Context, path string, content []byte) error {
	return s.put(path, content, s.replace)
}

// put writes a temporary beside the file and gives it the file's name by a
// call.
func (s *store) put(path string, content []byte, call renaming) error {
	return s.race(func() error {
		dir, name, err := s.makeParent(path)
		if err != nil {
			return err
		}
		defer dir.Close()
		temp, err := s.writeTemp(dir, name, content)
		if err != nil {
			return err
		}
		if err := call(dir, temp, dir, name); err != nil {
			s.discard(dir, temp, 0)
			return err
		}
		return s.sys.SyncDir(dir)
	})
}

// writeTemp makes a durable file with content beside name. On an error there is
// none.
func (s *store) writeTemp(dir *os.File, name string, content []byte) (temp string, err error) {
	temp = tempName(name)
	f, err := s.create(dir, temp)
	if err != nil {
		return "", err
	}
	if _, err = s.sys.WriteAt(f, content, 0); err == nil {
		err = s.sys.Sync(f)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		s.discard(dir, temp, 0)
		return "", err
	}
	return temp, nil
}

// tempName is a new name beside name, in the form that registries ignore.
func tempName(name string) string {
	suffix := "." + rand.Text() + ".tmp"
	return name[:min(len(name), driver.MaxName-len(suffix))] + suffix
}

// create makes a new file that belongs to whom dir belongs to. On an error
// there is none.
func (s *store) create(dir *os.File, name string) (*os.File, error) {
	want, err := inherited(dir, fileBits)
	if err != nil {
		return nil, err
	}
	f, err := s.sys.Open(dir, name, unix.O_CREAT|unix.O_EXCL, want.mode)
	if err != nil {
		return nil, err
	}
	if err := s.own(f, want); err != nil {
		f.Close()
		s.discard(dir, name, 0)
		return nil, err
	}
	return f, nil
}

// discard takes back what a failed operation made. Its own failure only leaves
// something over, which the error of the operation makes known well enough.
func (s *store) discard(dir *os.File, name string, flags int) {
	_ = s.sys.Unlink(dir, name, flags)
}

// race runs an operation, and runs it again when a directory it had opened or
// made was removed before it was done, or was made by others. What fn finds missing for good it
// returns as driver.ErrNotExist.
func (s *store) race(fn func() error) error {
	var err error
	for range maxRaces {
		err = fn()
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, errMade) {
			break
		}
	}
	return s.fault(err)
}
