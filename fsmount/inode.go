package fsmount

import (
	"hash/fnv"
	"sync"

	"registryfs/digest"
)

// Inode numbers. Those of blobs are allocated, never derived from the digest:
// tar and rsync take two files of one number for hard links of each other, so
// they must not collide. Everything else has one link and may be derived from
// its name. cp -a copies the entries of a directory in the order of their
// numbers, which the classes make the order of the views.
const (
	inodeRoot       = 1
	inodeClassShift = 48
	inodeDerived    = 1<<inodeClassShift - 1
)

type inodeClass uint64

const (
	classControl inodeClass = iota + 1
	classView               // + view
	classRepo    = classView + inodeClass(viewImages) + 1
	classLink    = classRepo + 1
	classUpload  = classRepo + 2
	classImage   = classRepo + 3
)

// derivedInode is the number of what has that name.
func derivedInode(class inodeClass, name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return uint64(class)<<inodeClassShift | h.Sum64()&inodeDerived
}

// maxInodes is how many blobs keep their numbers at least: those that were asked
// for last, out of at most twice as many.
const maxInodes = 1 << 17

// inodes allocates numbers for content and for files being written. A blob
// keeps its number in every view and repository, until so many others have been
// asked for that it is forgotten, and gets another when it comes again: to tar
// it is then another file, but no number is ever that of two.
type inodes struct {
	max int

	mu     sync.Mutex
	last   uint64
	recent map[digest.Digest]uint64 // asked for since old was begun
	old    map[digest.Digest]uint64
}

func newInodes() *inodes {
	return &inodes{max: maxInodes, last: inodeRoot, recent: map[digest.Digest]uint64{}}
}

// next is a number that nothing else has.
func (i *inodes) next() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last++
	return i.last
}

// of is the number of a blob.
func (i *inodes) of(d digest.Digest) uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if n, ok := i.recent[d]; ok {
		return n
	}
	n, ok := i.old[d]
	if !ok {
		i.last++
		n = i.last
	}
	if len(i.recent) >= i.max {
		i.old, i.recent = i.recent, map[digest.Digest]uint64{}
	}
	i.recent[d] = n
	return n
}
