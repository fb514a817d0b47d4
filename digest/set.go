package digest

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

var (
	// ErrUnknown says that no digest of a set begins so.
	ErrUnknown = fmt.Errorf("digest: unknown digest: %w", fs.ErrNotExist)
	// ErrAmbiguous says that several digests of a set begin so.
	ErrAmbiguous = fmt.Errorf("digest: ambiguous digest: %w", fs.ErrInvalid)
)

// Set holds digests and finds them by the first digits of their hex. The zero
// value is empty. It is safe for concurrent use.
type Set struct {
	mu      sync.RWMutex
	entries []Digest // in the order of compareHex
}

// Add puts digests into the set. Nothing is added on an error. Many at once
// cost far less than one by one. Errors: those of [Parse].
func (s *Set) Add(digests ...Digest) error {
	for _, d := range digests {
		if _, err := Parse(string(d)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(digests) == 1 {
		if i, found := slices.BinarySearchFunc(s.entries, digests[0], compareHex); !found {
			s.entries = slices.Insert(s.entries, i, digests[0])
		}
		return nil
	}
	s.entries = append(s.entries, digests...)
	slices.SortFunc(s.entries, compareHex)
	s.entries = slices.Compact(s.entries)
	return nil
}

// Remove takes a digest out of the set, if it is there.
func (s *Set) Remove(d Digest) {
	if _, err := Parse(string(d)); err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, found := slices.BinarySearchFunc(s.entries, d, compareHex); found {
		s.entries = slices.Delete(s.entries, i, i+1)
	}
}

// Lookup returns the one digest of the set that short means: the first digits
// of its hex, or all of them, with or without "<algorithm>:" before. Errors:
// [ErrUnknown], [ErrAmbiguous].
func (s *Set) Lookup(short string) (Digest, error) {
	alg, prefix, whole := strings.Cut(short, ":")
	if !whole {
		alg, prefix = "", short
	}
	if prefix == "" || len(short) > MaxLength || !consistsOf(prefix, hexDigits) {
		return "", fmt.Errorf("%w: %.40q", ErrUnknown, short)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	start, _ := slices.BinarySearchFunc(s.entries, prefix, func(d Digest, prefix string) int {
		return cmp.Compare(d.Encoded(), prefix)
	})
	var found Digest
	for _, d := range s.entries[start:] {
		switch {
		case !strings.HasPrefix(d.Encoded(), prefix):
			return found, unknownIfEmpty(found, short)
		case whole && d.Algorithm().String() != alg:
		case found != "":
			return "", fmt.Errorf("%w: %.40q", ErrAmbiguous, short)
		default:
			found = d
		}
	}
	return found, unknownIfEmpty(found, short)
}

func unknownIfEmpty(found Digest, short string) error {
	if found == "" {
		return fmt.Errorf("%w: %.40q", ErrUnknown, short)
	}
	return nil
}

// All returns the digests, in the order of their hex.
func (s *Set) All() []Digest {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.entries)
}

// compareHex orders by hex first: digests of all algorithms that begin alike
// are neighbours.
func compareHex(a, b Digest) int {
	return cmp.Or(cmp.Compare(a.Encoded(), b.Encoded()), cmp.Compare(a, b))
}
