package fsmount

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// maxOpenFiles is how many descriptors open files may take, where the
	// process may have that many.
	maxOpenFiles = 1 << 16
	// reservedFiles is how many descriptors are kept back for everything else:
	// listing and looking must go on, and what is open must be closable. A
	// process that may have few keeps half of them.
	reservedFiles = 1024

	readerFiles = 1 // descriptors that a file open for reading takes
	writerFiles = 2 // and one that is written: its directory, too
)

// openFiles counts the descriptors that open files take, so that users who open
// too many are told so, and not everybody who uses the mount.
type openFiles struct {
	max int

	mu   sync.Mutex
	used int
}

func newOpenFiles() *openFiles {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return &openFiles{max: maxOpenFiles}
	}
	return &openFiles{max: openFilesOf(limit.Cur)}
}

// openFilesOf is how many of a process's descriptors open files may take.
func openFilesOf(limit uint64) int {
	return int(min(limit-min(limit/2, reservedFiles), maxOpenFiles))
}

// take counts n more descriptors, unless they are too many. Without a count
// there is no limit.
func (o *openFiles) take(n int) error {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.used+n > o.max {
		return refuse(syscall.EMFILE, "too many files are open in the mount; raise the limit of open files (ulimit -n) of registryfs")
	}
	o.used += n
	return nil
}

// give is for descriptors that have been closed.
func (o *openFiles) give(n int) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.used -= n
}
