package memdriver

import (
	"io"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"registryfs/driver"
)

// chunkSize is the size in bytes of the pieces that content is kept in. Bytes
// are copied only while a chunk grows to this size, never when a file grows.
const chunkSize = 256 << 10

// content is the bytes of one file. A chunk may be missing, or shorter than its
// place: what it lacks below size is zeros.
type content struct {
	id      uint64 // tells apart the contents that one path had
	writing bool   // a writer has it open; under the store's lock
	room    *room
	users   atomic.Int32 // its name, and who has it open: while there are any it takes room

	mu      sync.RWMutex
	chunks  map[int64][]byte // by place
	size    int64
	modTime time.Time
	changes uint64
}

var (
	_ io.ReaderAt = (*content)(nil)
	_ io.WriterAt = (*content)(nil)
)

// lastID counts all contents of the process, which makes a Version unique.
var lastID atomic.Uint64

// newContent returns content that one user has.
func newContent(r *room) *content {
	c := &content{id: lastID.Add(1), room: r, chunks: make(map[int64][]byte), modTime: now()}
	c.users.Store(1)
	return c
}

// retain adds a user. It is for who has found the content under the store's
// lock, where its name has it.
func (c *content) retain() *content {
	c.users.Add(1)
	return c
}

// release takes a user away, and with the last the room that the bytes take.
func (c *content) release() {
	if c.users.Add(-1) > 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, chunk := range c.chunks {
		c.room.give(int64(len(chunk)))
	}
}

func (c *content) info(path string) driver.FileInfo {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return driver.FileInfo{
		Path:    path,
		Size:    c.size,
		ModTime: c.modTime,
		Version: strconv.FormatUint(c.id, 36) + "-" + strconv.FormatUint(c.changes, 36),
	}
}

// bytes returns a copy of all.
func (c *content) bytes() ([]byte, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.size > driver.MaxContent {
		return nil, driver.ErrTooLarge
	}
	p := make([]byte, c.size)
	c.read(p, 0)
	return p, nil
}

func (c *content) ReadAt(p []byte, offset int64) (int, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if offset >= c.size {
		return 0, io.EOF
	}
	if left := c.size - offset; int64(len(p)) > left {
		return c.read(p[:left], offset), io.EOF
	}
	return c.read(p, offset), nil
}

// read fills p, which does not go past the end.
func (c *content) read(p []byte, offset int64) int {
	n := 0
	for n < len(p) {
		i, at := place(offset + int64(n))
		part := p[n:min(len(p), n+chunkSize-at)]
		copied := 0
		if chunk := c.chunks[i]; at < len(chunk) {
			copied = copy(part, chunk[at:])
		}
		clear(part[copied:])
		n += len(part)
	}
	return n
}

// WriteAt is ENOSPC at the first piece for which there is no room.
func (c *content) WriteAt(p []byte, offset int64) (int, error) {
	if offset > math.MaxInt64-int64(len(p)) {
		return 0, driver.ErrTooLarge
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var n int
	var err error
	for n < len(p) {
		i, at := place(offset + int64(n))
		part := p[n:min(len(p), n+chunkSize-at)]
		chunk := c.chunks[i]
		if err = c.room.take(int64(max(at+len(part)-len(chunk), 0))); err != nil {
			break
		}
		if len(chunk) < at {
			chunk = append(chunk, make([]byte, at-len(chunk))...)
		}
		over := copy(chunk[at:], part)
		c.chunks[i] = append(chunk, part[over:]...)
		n += len(part)
	}
	if n > 0 {
		c.size = max(c.size, offset+int64(n))
	}
	c.changed()
	return n, err
}

func (c *content) truncate(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, at := place(size)
	for i, chunk := range c.chunks {
		switch {
		case i > last || i == last && at == 0:
			c.room.give(int64(len(chunk)))
			delete(c.chunks, i)
		case i == last && at < len(chunk):
			c.room.give(int64(len(chunk) - at))
			c.chunks[i] = slices.Clone(chunk[:at])
		}
	}
	c.size = size
	c.changed()
}

func (c *content) length() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.size
}

func (c *content) changed() {
	c.changes++
	c.modTime = now()
}

// place is the chunk that offset is in, and where in it.
func place(offset int64) (chunk int64, at int) {
	return offset / chunkSize, int(offset % chunkSize)
}
