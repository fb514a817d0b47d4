package storage

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
)

const (
	// MaxResident is the size in bytes of the largest blob that is read whole
	// when it is opened: most manifests and configurations are smaller.
	MaxResident = 64 << 10
	// maxResidentMemory bounds the bytes of all of them that are open.
	maxResidentMemory = 32 << 20
)

// resident is a small blob open for reading. What was verified is what is read:
// its bytes, in memory.
type resident struct {
	descriptor Descriptor
	content    atomic.Pointer[[]byte] // nil after Close
	memory     *atomic.Int64          // of all that are open
}

var _ Blob = (*resident)(nil)

// openResident is openObserved for small content. What must be opened as a file
// is driver.ErrTooLarge.
func (b *blobs) openResident(ctx context.Context, o Observer, names []digest.Digest) (Blob, error) {
	d := names[0]
	content, info, err := driver.GetFile(ctx, b.driver, blobPath(d), MaxResident)
	if err != nil {
		return nil, contentError(err)
	}
	for _, name := range names {
		if !digest.Matches(name, content) {
			return nil, fmt.Errorf("%w: %s holds %s", ErrCorrupt, info.Path, digest.FromBytes(content))
		}
	}
	size := int64(len(content))
	if b.resident.Add(size) > maxResidentMemory {
		b.resident.Add(-size)
		return nil, driver.ErrTooLarge
	}
	b.verify.setGood(d, info.Version)
	if o != nil {
		o.Verifying(content, 0)
		o.Verified(nil)
	}
	r := &resident{
		descriptor: Descriptor{MediaType: manifest.MediaTypeOctetStream, Digest: d, Size: size},
		memory:     &b.resident,
	}
	r.content.Store(&content)
	return r, nil
}

func (r *resident) Descriptor() Descriptor { return r.descriptor }

func (r *resident) ReadAt(p []byte, off int64) (int, error) {
	content := r.content.Load()
	switch {
	case content == nil:
		clear(p)
		return 0, fs.ErrClosed
	case off < 0:
		return 0, fmt.Errorf("read at %d: %w", off, fs.ErrInvalid)
	case off >= int64(len(*content)):
		return 0, io.EOF
	}
	n := copy(p, (*content)[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *resident) Close() error {
	if content := r.content.Swap(nil); content != nil {
		r.memory.Add(-int64(len(*content)))
		return nil
	}
	return fs.ErrClosed
}
