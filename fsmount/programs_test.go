package fsmount_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dirents prints what getdents(2) says of a directory, before anybody has
// asked for an entry: type, inode number and name, a line each.
func dirents(args []string) error {
	dir, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer dir.Close()
	names := map[byte]string{unix.DT_DIR: "dir", unix.DT_REG: "file", unix.DT_LNK: "link"}
	for buf := make([]byte, 64<<10); ; {
		n, err := unix.Getdents(int(dir.Fd()), buf)
		if n <= 0 {
			return err
		}
		// struct linux_dirent64: inode 8, offset 8, length 2, type 1, name.
		for rest := buf[:n]; len(rest) > 0; {
			length := binary.NativeEndian.Uint16(rest[16:])
			name := unix.ByteSliceToString(rest[19:length])
			fmt.Println(names[rest[18]], binary.NativeEndian.Uint64(rest), name)
			rest = rest[length:]
		}
	}
}

// truncate calls truncate(2), which opens nothing, unlike truncate(1).
func truncate(args []string) error {
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	return os.Truncate(args[0], size)
}

// twoThreads writes a file that it opens on one thread and closes on another.
func twoThreads(args []string) error {
	runtime.LockOSThread()
	opener := unix.Gettid()
	fd, err := again(func() (int, error) { return unix.Open(args[0], unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o644) })
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte(args[1])); err != nil {
		return err
	}
	closed := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == opener {
			closed <- errors.New("both on one thread")
			return
		}
		closed <- unix.Close(fd)
	}()
	return <-closed
}

// mapAndRead maps a file, reads its first byte, says so, and reads the rest
// after a line from standard input. It prints the digest of what it read.
func mapAndRead(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	first := p[0]
	fmt.Println("mapped")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if p[0] != first {
		return fmt.Errorf("the first byte was %d and is %d", first, p[0])
	}
	fmt.Println(strings.ToLower(fmt.Sprintf("%x", sha256.Sum256(p))))
	return nil
}

// eventually calls fn until it succeeds, or for long enough.
func eventually(fn func() error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := fn()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
