package memdriver

import (
	"context"
	"sync"
	"syscall"

	"registryfs/driver"
)

const (
	// DefaultCapacity is the capacity in bytes of a store that is made without
	// the option.
	DefaultCapacity = 1 << 30
	// nodeSize is what a file or a directory counts for, in bytes, beside the
	// content: its nodes, its name, and the tables that they are in.
	nodeSize = 1 << 10
)

// room is what a store holds, against what it may.
type room struct {
	capacity int64

	mu   sync.Mutex
	used int64
}

// take counts n bytes more: all of them, or ENOSPC.
func (r *room) take(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > r.capacity-r.used {
		return syscall.ENOSPC
	}
	r.used += n
	return nil
}

func (r *room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
}

// Space counts bytes alone: there is no bound of its own on files.
func (s *store) Space(context.Context) (driver.Space, error) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return driver.Space{Bytes: uint64(s.room.capacity), BytesFree: uint64(s.room.capacity - s.room.used)}, nil
}
