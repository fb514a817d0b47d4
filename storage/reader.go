package storage

import (
	"context"
	"fmt"
	"sync/atomic"

	"registryfs/digest"
	"registryfs/driver"
)

// reader is a verified blob open for reading. It trusts a read only when the
// file is, after the read, the version that was verified.
type reader struct {
	descriptor Descriptor
	names      []digest.Digest // all that the content must match
	file       driver.File
	version    atomic.Pointer[string]
}

var _ Blob = (*reader)(nil)

func (r *reader) Descriptor() Descriptor { return r.descriptor }

func (r *reader) Close() error { return r.file.Close() }

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	n, readErr := r.file.ReadAt(p, off)
	info, err := r.file.Stat()
	if err != nil {
		clear(p)
		return 0, err
	}
	if info.Version == "" || info.Version != *r.version.Load() {
		clear(p)
		return r.readChanged(p, off, info)
	}
	return n, readErr
}

// readChanged serves a read of a file that is not the version it was: renamed
// (which is harmless), or tampered with. It verifies the file again and reads
// once more.
func (r *reader) readChanged(p []byte, off int64, info driver.FileInfo) (int, error) {
	for _, d := range r.names {
		if err := hashFile(context.Background(), d, r.file, info); err != nil {
			return 0, err
		}
	}
	n, readErr := r.file.ReadAt(p, off)
	after, err := r.file.Stat()
	if err == nil && after.Version != info.Version {
		err = fmt.Errorf("%w: %s changes while it is read", ErrCorrupt, info.Path)
	}
	if err != nil {
		clear(p)
		return 0, err
	}
	r.version.Store(&info.Version)
	return n, readErr
}
