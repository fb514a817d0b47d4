package fsmount_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// fsx is a file under random reads and writes in every way there is, and what
// it must hold. It is named after the program of Apple and NeXT that does the
// same to disks.
type fsx struct {
	*rand.Rand
	path string
	fds  []int // open on the same bytes
	want []byte
	said []string // the last calls, for who asks why

	reopens, maps bool // what the kind of file allows
}

const (
	fsxMost   = 300_000 // bytes of the file
	fsxWrite  = 70_000  // bytes of one call at most
	fsxMemory = 40      // calls that are told of at a failure
)

// runFSX does so many random things to a file and prints the digest that it
// must have in the end:
//
//	fsx PATH KIND SEED CALLS
//
// KIND is "name" for a file that is begun under a name and published by
// closing, "scratch" for one that can be closed and opened again, "upload" for
// one that is there already, empty.
func runFSX(args []string) error {
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	calls, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	x := &fsx{
		Rand:    rand.New(rand.NewPCG(seed, 0)),
		path:    args[0],
		reopens: args[1] != "name",
		maps:    args[1] != "upload",
	}
	flags := unix.O_RDWR
	if args[1] != "upload" {
		flags |= unix.O_CREAT | unix.O_EXCL
	}
	if err := x.open(flags); err != nil {
		return err
	}
	if err := x.run(calls); err != nil {
		for _, call := range x.said {
			fmt.Fprintln(os.Stderr, call)
		}
		return err
	}
	for _, fd := range x.fds {
		if err := unix.Close(fd); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	fmt.Printf("%x\n", sha256.Sum256(x.want))
	return nil
}

func (x *fsx) run(calls int) error {
	kinds := []func() error{
		x.write, x.write, x.write, x.append, x.writeAfterSeek, x.writev, x.truncate, x.truncate, x.extend,
		x.read, x.read, x.readAfterSeek, x.mapPrivate, x.mapShared, x.sync, x.copyWithin, x.flush,
		x.nothing, x.refused, x.another,
	}
	for n := range calls {
		if err := kinds[x.IntN(len(kinds))](); err != nil {
			return fmt.Errorf("call %d: %w", n, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(x.fd(), &st); err != nil {
			return fmt.Errorf("call %d: stat: %w", n, err)
		}
		if st.Size != int64(len(x.want)) {
			return fmt.Errorf("call %d: the size is %d, not %d", n, st.Size, len(x.want))
		}
	}
	got := make([]byte, len(x.want)+1)
	n, err := readFull(x.fd(), got, 0)
	if err != nil {
		return err
	}
	return x.compare("at the end", got[:n], x.want)
}

func (x *fsx) open(flags int) error {
	fd, err := again(func() (int, error) { return unix.Open(x.path, flags|unix.O_CLOEXEC, 0o600) })
	if err != nil {
		return fmt.Errorf("open %s: %w", x.path, err)
	}
	x.fds = append(x.fds, fd)
	return nil
}

// fd is any of the descriptors.
func (x *fsx) fd() int { return x.fds[x.IntN(len(x.fds))] }

func (x *fsx) say(format string, args ...any) {
	x.said = append(x.said, fmt.Sprintf(format, args...))
	x.said = x.said[max(0, len(x.said)-fsxMemory):]
}

// content is random bytes, at times none.
func (x *fsx) content() []byte {
	p := make([]byte, x.IntN(x.pick(2, 100, 5000, fsxWrite)))
	for i := range p {
		p[i] = byte(x.Uint32())
	}
	return p
}

func (x *fsx) pick(of ...int) int { return of[x.IntN(len(of))] }

// offset is a place in the file, at times at its start, its end or beyond.
func (x *fsx) offset() int {
	switch x.IntN(8) {
	case 0:
		return 0
	case 1:
		return len(x.want)
	case 2:
		return min(len(x.want)+x.IntN(10_000), fsxMost)
	case 3:
		return x.IntN(len(x.want)+1) &^ (os.Getpagesize() - 1)
	}
	return x.IntN(len(x.want) + 1)
}

// put is what a write does to what the file must hold.
func (x *fsx) put(p []byte, off int) {
	if len(p) == 0 {
		return
	}
	x.resize(max(len(x.want), off+len(p)))
	copy(x.want[off:], p)
}

func (x *fsx) resize(size int) {
	if size <= len(x.want) {
		x.want = x.want[:size:size]
		return
	}
	x.want = append(x.want, make([]byte, size-len(x.want))...)
}

// wrote takes a call that wrote p at off, or did not.
func (x *fsx) wrote(call string, n int, err error, p []byte, off int) error {
	x.say("%s %d at %d", call, len(p), off)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("%s of %d at %d: %w", call, len(p), off, err)
	}
	x.put(p, off)
	return nil
}

func (x *fsx) write() error {
	p, off := x.content(), x.offset()
	n, err := unix.Pwrite(x.fd(), p, int64(off))
	return x.wrote("pwrite", n, err, p, off)
}

func (x *fsx) writeAfterSeek() error {
	p, off, fd := x.content(), x.offset(), x.fd()
	if _, err := unix.Seek(fd, int64(off), io.SeekStart); err != nil {
		return err
	}
	n, err := unix.Write(fd, p)
	return x.wrote("write", n, err, p, off)
}

func (x *fsx) writev() error {
	a, b, off := x.content(), x.content(), x.offset()
	n, err := unix.Pwritev(x.fd(), [][]byte{a, b}, int64(off))
	return x.wrote("pwritev", n, err, append(a, b...), off)
}

func (x *fsx) append() error {
	p, fd := x.content(), x.fd()
	if len(x.want) > fsxMost {
		return x.truncate()
	}
	// On one descriptor, as a program that turns O_APPEND on for itself.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND); err != nil {
		return err
	}
	n, err := unix.Write(fd, p)
	if err := x.wrote("append", n, err, p, len(x.want)); err != nil {
		return err
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0)
	return err
}

func (x *fsx) truncate() error { return x.setSize(x.IntN(len(x.want) + 1)) }

func (x *fsx) extend() error {
	return x.setSize(min(len(x.want)+x.IntN(20_000), fsxMost))
}

func (x *fsx) setSize(size int) error {
	x.say("ftruncate to %d", size)
	if err := unix.Ftruncate(x.fd(), int64(size)); err != nil {
		return fmt.Errorf("truncate to %d: %w", size, err)
	}
	x.resize(size)
	return nil
}

func (x *fsx) read() error {
	off := x.offset()
	p := make([]byte, x.IntN(fsxWrite))
	n, err := readFull(x.fd(), p, int64(off))
	if err != nil {
		return fmt.Errorf("read at %d: %w", off, err)
	}
	x.say("pread %d at %d", len(p), off)
	return x.compare(fmt.Sprintf("pread of %d at %d", len(p), off), p[:n], x.part(off, len(p)))
}

func (x *fsx) readAfterSeek() error {
	off, fd := x.offset(), x.fd()
	if _, err := unix.Seek(fd, int64(off), io.SeekStart); err != nil {
		return err
	}
	p := make([]byte, x.IntN(fsxWrite))
	n, err := unix.Read(fd, p)
	if err != nil {
		return fmt.Errorf("read at %d: %w", off, err)
	}
	return x.compare(fmt.Sprintf("read of %d at %d", len(p), off), p[:n], x.part(off, len(p)))
}

// part is what a read must give.
func (x *fsx) part(off, size int) []byte {
	off = min(off, len(x.want))
	return x.want[off:min(off+size, len(x.want))]
}

func (x *fsx) compare(what string, got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	return fmt.Errorf("%s: got %d bytes, want %d; they differ from %d on", what, len(got), len(want), at)
}

func (x *fsx) mapPrivate() error { return x.mapped(unix.MAP_PRIVATE) }

// mapShared maps for reading. A file whose bytes bypass the page cache, since
// others change them, cannot be mapped so.
func (x *fsx) mapShared() error {
	if x.maps {
		return x.mapped(unix.MAP_SHARED)
	}
	if len(x.want) == 0 {
		return nil
	}
	_, err := unix.Mmap(x.fd(), 0, len(x.want), unix.PROT_READ, unix.MAP_SHARED)
	if !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("mmap: %w, want ENODEV", err)
	}
	return nil
}

func (x *fsx) mapped(flags int) error {
	if len(x.want) == 0 {
		return nil
	}
	x.say("mmap")
	p, err := unix.Mmap(x.fd(), 0, len(x.want), unix.PROT_READ, flags)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	return errors.Join(x.compare("mmap", p, x.want), unix.Munmap(p))
}

func (x *fsx) sync() error {
	x.say("fsync")
	if x.IntN(2) == 0 {
		return unix.Fdatasync(x.fd())
	}
	return unix.Fsync(x.fd())
}

// copyWithin copies with copy_file_range(2), which the kernel does itself.
func (x *fsx) copyWithin() error {
	from, to := int64(x.offset()), int64(x.offset())
	part := bytes.Clone(x.part(int(from), x.IntN(10_000)))
	if len(part) == 0 || from < to+int64(len(part)) && to < from+int64(len(part)) {
		return nil // nothing, or onto itself
	}
	done := 0
	for done < len(part) {
		n, err := unix.CopyFileRange(x.fd(), &from, x.fd(), &to, len(part)-done, 0)
		if err != nil {
			return fmt.Errorf("copy_file_range: %w", err)
		}
		if n == 0 {
			return errors.New("copy_file_range ends too soon")
		}
		done += n
	}
	return x.wrote("copy_file_range", done, nil, part, int(to)-done)
}

// flush closes a duplicate of a descriptor, which publishes a file under its
// name and ends nothing.
func (x *fsx) flush() error {
	x.say("dup, close")
	fd, err := unix.Dup(x.fd())
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func (x *fsx) nothing() error {
	if n, err := unix.Pwrite(x.fd(), nil, int64(x.offset())); n != 0 || err != nil {
		return fmt.Errorf("pwrite of nothing: %d, %w", n, err)
	}
	n, err := unix.Pread(x.fd(), make([]byte, 10), int64(len(x.want)))
	if n != 0 || err != nil {
		return fmt.Errorf("read at the end: %d, %w", n, err)
	}
	return nil
}

// refused is what an upload cannot do, and must not pretend to.
func (x *fsx) refused() error {
	for _, mode := range []uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_ZERO_RANGE} {
		if err := unix.Fallocate(x.fd(), mode, 0, 1000); !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("fallocate %#x: %w, want EOPNOTSUPP", mode, err)
		}
	}
	return nil
}

// another closes a descriptor or opens one more.
func (x *fsx) another() error {
	const most = 4
	switch {
	case !x.reopens:
		return nil
	case len(x.fds) < most && x.maps && x.IntN(2) == 0:
		x.say("open")
		return x.open(unix.O_RDWR)
	case len(x.fds) > 1 || !x.maps:
		i := x.IntN(len(x.fds))
		x.say("close")
		err := unix.Close(x.fds[i])
		x.fds = append(x.fds[:i], x.fds[i+1:]...)
		if err == nil && len(x.fds) == 0 {
			err = x.open(unix.O_RDWR)
		}
		return err
	}
	return nil
}

// readFull reads until p is full or the file ends.
func readFull(fd int, p []byte, off int64) (int, error) {
	n, err := io.ReadFull(io.NewSectionReader(preader(fd), off, int64(len(p))), p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

// preader is a descriptor that is read with pread(2).
type preader int

func (fd preader) ReadAt(p []byte, off int64) (int, error) {
	n, err := again(func() (int, error) { return unix.Pread(int(fd), p, off) })
	if err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return max(n, 0), err
}
