package storage

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"syscall"

	"registryfs/driver"
)

// Other registries make nothing durable that they store, and a mount need not.
// What a name leads to that is to last must be durable before the name is: once
// for each version of a file, unless this process has seen to it when it wrote
// it.

// maxSettled bounds the files that are known to be durable.
const maxSettled = 1 << 17

// settled remembers which version of a file is durable, with its name, or cannot
// be made so: the kernel says so once, and the next sync would succeed without
// the bytes. It keeps no more of path and version than hashes.
type settled struct {
	seed maphash.Seed

	mu    sync.Mutex
	files map[uint64]settledFile // by path
}

type settledFile struct {
	version uint64
	lost    error // nil: it is durable
}

func newSettled() *settled {
	return &settled{seed: maphash.MakeSeed(), files: map[uint64]settledFile{}}
}

// add records that a file is durable.
func (s *settled) add(info driver.FileInfo) { s.record(info, nil) }

func (s *settled) record(info driver.FileInfo, lost error) {
	if info.Version == "" {
		return
	}
	p := maphash.String(s.seed, info.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.files[p]; !known && len(s.files) >= maxSettled {
		for other := range s.files { // any: the cost is one more sync
			delete(s.files, other)
			break
		}
	}
	s.files[p] = settledFile{maphash.String(s.seed, info.Version), lost}
}

// find returns what is known of a version of a file, if anything is.
func (s *settled) find(info driver.FileInfo) (file settledFile, isKnown bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, isKnown = s.files[maphash.String(s.seed, info.Path)]
	return file, isKnown && info.Version != "" && file.version == maphash.String(s.seed, info.Version)
}

// sync makes a file durable, with its name, whoever stored it.
func (s *settled) sync(ctx context.Context, d driver.Driver, p string) error {
	info, err := d.Stat(ctx, p)
	if err != nil {
		return err
	}
	if file, isKnown := s.find(info); isKnown {
		return file.lost
	}
	if err = driver.Sync(ctx, d, p); err == nil || isOfDisk(err) {
		s.record(info, err)
	}
	return err
}

// isOfDisk reports an error with which a disk does not take what was written.
func isOfDisk(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// settleLink makes a link durable. One that has gone is looked for by who needs
// it.
func (r *registry) settleLink(ctx context.Context, p string) error {
	return ignore(r.blobs.settled.sync(ctx, r.driver, p))
}

// settleNeeds makes durable what a name will lead to. Content that is missing or
// damaged is not made so by its name.
func (r *registry) settleNeeds(ctx context.Context, needs []need) error {
	for _, n := range needs {
		if err := r.settleContent(ctx, n.canonical); err != nil && !isAbsent(err) {
			return err
		}
		if err := r.settleLink(ctx, linkPath(n.set.dir, n.digest)); err != nil {
			return err
		}
	}
	return nil
}
