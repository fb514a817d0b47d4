package filedriver

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Permission bits that are taken from the parent directory.
const (
	fileBits = 0o666
	dirBits  = 0o2777 // with setgid, which hands the group on
)

// ownership is whom a file belongs to and what they may do.
type ownership struct {
	uid, gid uint32
	mode     uint32
}

// inherited is what something new in dir is to have.
func inherited(dir *os.File, bits uint32) (ownership, error) {
	st, err := fstat(dir)
	return ownership{st.Uid, st.Gid, st.Mode & bits}, err
}

// own gives a new file or directory its owner and mode, as far as it does not
// have them and the process may.
func (s *store) own(f *os.File, want ownership) error {
	st, err := fstat(f)
	if err != nil {
		return err
	}
	if st.Mode&0o7777 != want.mode {
		if err := s.sys.Chmod(f, want.mode); err != nil {
			return err
		}
	}
	if st.Uid == want.uid && st.Gid == want.gid {
		return nil
	}
	err = s.sys.Chown(f, int(want.uid), int(want.gid))
	if !errors.Is(err, unix.EPERM) || os.Geteuid() == 0 {
		return err
	}
	if st.Gid == want.gid {
		return nil
	}
	// Others may still hand a file to a group that they are in.
	if err := s.sys.Chown(f, -1, int(want.gid)); !errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}
