package memdriver

import (
	"context"
	"io"
	"sync"

	"registryfs/driver"
)

// alone is the number of holders of a lock that is not shared.
const alone = -1

func (s *store) Lock(_ context.Context, path string, shared bool) (io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.root.find(path)
	switch {
	case err != nil:
		return nil, err
	case !n.isDir():
		return nil, driver.ErrInvalidPath
	case s.locks[path] == alone, s.locks[path] > 0 && !shared:
		return nil, driver.ErrBusy
	case shared:
		s.locks[path]++
	default:
		s.locks[path] = alone
	}
	return &lock{store: s, path: path}, nil
}

// lock is one holding of a lock.
type lock struct {
	store *store
	path  string
	once  sync.Once
}

func (l *lock) Close() error {
	l.once.Do(func() {
		l.store.mu.Lock()
		defer l.store.mu.Unlock()
		if l.store.locks[l.path] > 1 {
			l.store.locks[l.path]--
		} else {
			delete(l.store.locks, l.path)
		}
	})
	return nil
}
