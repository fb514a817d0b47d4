package loop

import (
	"bytes"
	"sync"
	"syscall"
)

// maxListings bounds the bytes of all listings that are being read. One alone
// may be longer.
const maxListings = 64 << 20

// listings counts the bytes of listings.
type listings struct {
	max int

	mu   sync.Mutex
	size int
}

func (ls *listings) take(n int) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.size > 0 && ls.size+n > ls.max {
		return syscall.ENOMEM
	}
	ls.size += n
	return nil
}

func (ls *listings) give(n int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.size -= n
}

// encoded is a listing as the kernel reads it, shared by the handles that have
// read the same.
type encoded struct {
	bytes []byte
	users int // guarded by the listing of the directory
}

// hold is for a handle that begins to read a listing: the one that others read
// already, where that is the same. It is ENOMEM where there are too many.
func (l *listing) hold(all []byte, in *listings) (*encoded, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.read == nil || !bytes.Equal(l.read.bytes, all) {
		if err := in.take(len(all)); err != nil {
			return nil, err
		}
		l.read = &encoded{bytes: all}
	}
	l.read.users++
	return l.read, nil
}

// drop ends what hold began.
func (l *listing) drop(e *encoded, in *listings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.users--; e.users > 0 {
		return
	}
	in.give(len(e.bytes))
	if l.read == e {
		l.read = nil
	}
}
