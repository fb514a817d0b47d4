package storage

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"registryfs/digest"
	"registryfs/driver"
)

// A lease says to a collection in another process that an exclusive user of the
// store relies on a digest: on its link, wherever one is, and on its content.
// It is taken before the user looks whether the digest is there. The collection
// moves what it sweeps aside, and looks for a lease after that. So one of the
// two sees the other: the user that something is missing, which it brings back,
// or the collection the lease, and brings it back itself.
//
// Leases lie in /registryfs/leases, a file for each period:
//
//	<stamp>.<kind>.<id>   bits of a Bloom filter, leaseSize bytes
//
// A filter takes no more room than that, nor memory, however much is leased; that
// it may take a digest for leased that is not only keeps garbage. A lease holds
// for a period at least, by the uptime, and until two have passed since its file
// was made: also when its process has died, since clients come back. What is open
// for reading needs none: the file stays until it is closed. Nor do uploads, which
// are no content before they are committed.
type leases struct {
	registry *registry
	sets     [2]leaseSet // by leaseKind
	mu       sync.Mutex
	off      atomic.Bool // they could not be written: see giveUp
}

// leaseKind says why something is leased.
type leaseKind int

const (
	// leaseSeen is for what somebody was told to be there, and may reference
	// next; the trash is there for who takes longer.
	leaseSeen leaseKind = iota
	// leaseNamed is for what a link, a manifest or a tag is about to name. No
	// collection goes on for longer on what it knows.
	leaseNamed
)

var leaseKinds = [2]struct {
	name   string
	period time.Duration
}{{"seen", time.Hour}, {"named", 24 * time.Hour}}

const (
	// leaseSize is 2^23 bits: with a hundred thousand digests one in five
	// million others is taken for leased, with a million one in forty.
	leaseSize = 1 << 20
	// leaseHashes is how many bits stand for a digest.
	leaseHashes = 4
)

// leaseSet is the leases of a kind that are taken now.
type leaseSet struct {
	mu     sync.Mutex
	writer driver.RandomWriter
	bits   []byte // what is in the file
	began  stamp
}

// begin makes the files of both kinds.
func (l *leases) begin(ctx context.Context) error {
	for kind := range l.sets {
		if err := l.sets[kind].rotate(ctx, l.registry, leaseKind(kind)); err != nil {
			return errors.Join(err, l.end())
		}
	}
	return nil
}

// end closes the files; what was leased stays so for a while.
func (l *leases) end() error {
	var failed []error
	for kind := range l.sets {
		s := &l.sets[kind]
		s.mu.Lock()
		if s.writer != nil {
			failed = append(failed, s.writer.Close())
			s.writer = nil
		}
		s.mu.Unlock()
	}
	return errors.Join(failed...)
}

// lease leases digests, where anybody wants to know. Where that fails the mark
// is taken away, so that nobody collects any more.
func (r *registry) lease(ctx context.Context, kind leaseKind, digests ...digest.Digest) error {
	l := r.leases.Load()
	if l == nil || l.off.Load() {
		return nil
	}
	for _, d := range digests {
		if !isDigest(d) {
			continue
		}
		if err := l.sets[kind].take(ctx, r, kind, d); err != nil {
			return l.giveUp(ctx, err)
		}
	}
	return nil
}

// isDigest reports whether anything can be there by a name: a caller may ask for
// what is no digest, and of a link it may not be known where it leads.
func isDigest(d digest.Digest) bool {
	_, err := digest.Parse(d.String())
	return err == nil
}

// giveUp takes the mark away.
func (l *leases) giveUp(ctx context.Context, why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off.Load() {
		return nil
	}
	if err := ignore(l.registry.driver.Delete(context.WithoutCancel(ctx), layoutMark)); err != nil {
		return fmt.Errorf("lease: %w", errors.Join(why, err))
	}
	l.off.Store(true)
	l.registry.log.Warn("garbage cannot be collected beside this mount any more", "reason", why)
	return nil
}

// take leases a digest.
func (s *leaseSet) take(ctx context.Context, r *registry, kind leaseKind, d digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil {
		return driver.ErrClosed
	}
	if r.now().since(s.began) >= leaseKinds[kind].period {
		if err := s.rotate(context.WithoutCancel(ctx), r, kind); err != nil {
			return err
		}
	}
	for _, bit := range leaseBitsOf(d) {
		if s.bits[bit.at]&bit.mask != 0 {
			continue
		}
		with := s.bits[bit.at] | bit.mask
		if _, err := s.writer.WriteAt([]byte{with}, bit.at); err != nil {
			return err
		}
		s.bits[bit.at] = with
	}
	return nil
}

// rotate begins the file of a new period, and removes files that nobody needs.
// The caller holds mu, or is alone.
func (s *leaseSet) rotate(ctx context.Context, r *registry, kind leaseKind) error {
	now := r.now()
	p := path.Join(layoutLeases, now.String()+"."+leaseKinds[kind].name+"."+uuid.NewString())
	w, err := r.driver.Writer(ctx, p, false)
	if err != nil {
		return err
	}
	random, ok := w.(driver.RandomWriter)
	if !ok {
		return errors.Join(fmt.Errorf("%w: leases in this kind of store", ErrUnsupported), w.Cancel(ctx))
	}
	if err := random.Truncate(leaseSize); err != nil {
		return errors.Join(err, w.Cancel(ctx))
	}
	old := s.writer
	s.writer, s.bits, s.began = random, make([]byte, leaseSize), now
	if old != nil {
		if err := old.Close(); err != nil {
			return err
		}
	}
	return r.dropLeases(ctx)
}

// leaseBit is a place in a filter.
type leaseBit struct {
	at   int64
	mask byte
}

// leaseBitsOf is the places of a digest, which is a hash already.
func leaseBitsOf(d digest.Digest) (bits [leaseHashes]leaseBit) {
	var sum [4 * leaseHashes]byte
	_, _ = hex.Decode(sum[:], []byte(d.Encoded())[:2*len(sum)])
	for i := range bits {
		place := binary.BigEndian.Uint32(sum[4*i:]) % (8 * leaseSize)
		bits[i] = leaseBit{int64(place / 8), 1 << (place % 8)}
	}
	return bits
}

// leaseFiles is the files of leases that hold.
func (r *registry) leaseFiles(ctx context.Context) (live, expired []string, err error) {
	files, err := r.driver.List(ctx, layoutLeases)
	if err != nil {
		return nil, nil, ignore(err)
	}
	now := r.now()
	for _, file := range files {
		text, rest, _ := strings.Cut(path.Base(file), ".")
		began, ok := parseStamp(text)
		for _, kind := range leaseKinds {
			if !ok || !strings.HasPrefix(rest, kind.name+".") {
				continue
			}
			if now.since(began) < 2*kind.period {
				live = append(live, file)
			} else {
				expired = append(expired, file)
			}
		}
	}
	return live, expired, nil
}

// isLeased reports whether any of some digests is leased, by anybody.
func (r *registry) isLeased(ctx context.Context, digests ...digest.Digest) (bool, error) {
	files, _, err := r.leaseFiles(ctx)
	if err != nil {
		return false, err
	}
	for _, file := range files {
		f, err := driver.OpenAt(ctx, r.driver, file)
		if errors.Is(err, driver.ErrNotExist) {
			continue // it has just expired
		}
		if err != nil {
			return false, err
		}
		for _, d := range digests {
			if !isDigest(d) {
				continue
			}
			if has, err := hasLease(f, d); has || err != nil {
				return has, errors.Join(err, f.Close())
			}
		}
		if err := f.Close(); err != nil {
			return false, err
		}
	}
	return false, nil
}

// hasLease reports whether a filter has a digest. One that cannot be read whole
// may have it.
func hasLease(f driver.File, d digest.Digest) (bool, error) {
	for _, bit := range leaseBitsOf(d) {
		var p [1]byte
		if n, err := f.ReadAt(p[:], bit.at); n == 0 {
			return false, err
		}
		if p[0]&bit.mask == 0 {
			return false, nil
		}
	}
	return true, nil
}

// dropLeases removes the files of leases that do not hold any more.
func (r *registry) dropLeases(ctx context.Context) error {
	_, expired, err := r.leaseFiles(ctx)
	for _, file := range expired {
		if err := ignore(r.driver.Delete(ctx, file)); err != nil {
			return err
		}
	}
	return err
}
