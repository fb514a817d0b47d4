package storage

import (
	"context"
	"hash/maphash"
	"sync"

	"registryfs/driver"
)

// Other registries make nothing durable that they store, and a mount need not.
// What a name leads to that is to last must be durable before the name is: once
// for each version of a file, unless this process has seen to it when it wrote
// it.

// maxSettled bounds the files that are known to be durable.
const maxSettled = 1 << 17

// settled remembers which version of a file is durable, with its name. It keeps
// no more of path and version than hashes.
type settled struct {
	seed maphash.Seed

	mu       sync.Mutex
	versions map[uint64]uint64 // by path
}

func newSettled() *settled {
	return &settled{seed: maphash.MakeSeed(), versions: map[uint64]uint64{}}
}

// add records that a file is durable.
func (s *settled) add(info driver.FileInfo) {
	if info.Version == "" {
		return
	}
	p, version := maphash.String(s.seed, info.Path), maphash.String(s.seed, info.Version)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.versions[p]; !known && len(s.versions) >= maxSettled {
		for other := range s.versions { // any: the cost is one more sync
			delete(s.versions, other)
			break
		}
	}
	s.versions[p] = version
}

func (s *settled) has(info driver.FileInfo) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	version, known := s.versions[maphash.String(s.seed, info.Path)]
	return known && info.Version != "" && version == maphash.String(s.seed, info.Version)
}

// sync makes a file durable, with its name, whoever stored it.
func (s *settled) sync(ctx context.Context, d driver.Driver, p string) error {
	info, err := d.Stat(ctx, p)
	if err != nil || s.has(info) {
		return err
	}
	if err := driver.Sync(ctx, d, p); err != nil {
		return err
	}
	s.add(info)
	return nil
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
