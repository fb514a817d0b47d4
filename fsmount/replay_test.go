package fsmount_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// replay makes the calls of a trace in an image layout, and compares how each
// ends with how it ended then. Its arguments are the layout, the trace, and
// what to do: "given" makes what is there before, as another tool would;
// "calls" makes the calls in a layout of files, and "mounted" in one of a mount.
func replay(args []string) error {
	t, err := readTrace(args[1])
	if err != nil {
		return err
	}
	r := &replayer{dir: args[0], trace: t, files: map[string]*replayFile{}}
	if args[2] == "given" {
		return r.given()
	}
	for _, c := range t.calls {
		want := c.errno
		if args[2] == "mounted" {
			want = mountedErrno(c)
		}
		if got := errnoName(r.call(c)); got != want {
			err = errors.Join(err, fmt.Errorf("%s: %s: %q, not %q", t.name, c, got, want))
		}
	}
	return err
}

// mountedErrno is how a call ends in a mount, where a layout is always there.
func mountedErrno(c traceCall) string {
	switch c.args[0] {
	case ".", "oci-layout", "index.json", "blobs", "blobs/sha256":
		if c.name == "mkdir" {
			return "EEXIST"
		}
		if c.errno == "ENOENT" {
			return ""
		}
	}
	return c.errno
}

func errnoName(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

type replayer struct {
	dir   string
	trace *trace
	files map[string]*replayFile // by the descriptors of the trace
}

type replayFile struct {
	fd      int
	path    string // below the layout
	written int
}

func (r *replayer) path(name string) string { return filepath.Join(r.dir, name) }

// given writes the indexes that are given, each after a look at what is there.
func (r *replayer) given() error {
	if err := os.MkdirAll(r.path("blobs/sha256"), 0o755); err != nil {
		return err
	}
	for _, index := range r.trace.given {
		_, _ = os.ReadFile(r.path("index.json"))
		files := map[string]string{"oci-layout": "oci-layout"}
		for _, e := range r.trace.indexes[index] {
			for _, name := range r.trace.reached(e.manifest) {
				files["blobs/sha256/"+r.trace.hex(name)] = name
			}
		}
		for file, name := range files {
			if err := os.WriteFile(r.path(file), r.trace.content[name], 0o644); err != nil {
				return err
			}
		}
		if err := os.WriteFile(r.path("index.json"), r.trace.content[index], 0o644); err != nil {
			return err
		}
	}
	return nil
}

var openFlags = map[string]int{
	"O_RDONLY": unix.O_RDONLY, "O_WRONLY": unix.O_WRONLY, "O_RDWR": unix.O_RDWR,
	"O_CREAT": unix.O_CREAT, "O_EXCL": unix.O_EXCL, "O_TRUNC": unix.O_TRUNC, "O_DIRECTORY": unix.O_DIRECTORY,
}

var lockOperations = map[string]int{"LOCK_EX|LOCK_NB": unix.LOCK_EX | unix.LOCK_NB, "LOCK_UN": unix.LOCK_UN}

func (r *replayer) call(c traceCall) error {
	var st unix.Stat_t
	path := r.path(c.args[0])
	switch c.name {
	case "stat":
		return unix.Stat(path, &st)
	case "lstat":
		return unix.Lstat(path, &st)
	case "mkdir":
		return unix.Mkdir(path, mode(c.args[1]))
	case "open":
		return r.open(c)
	case "chmod":
		return unix.Chmod(path, mode(c.args[1]))
	case "rename":
		return unix.Rename(path, r.path(c.args[1]))
	case "unlink":
		return unix.Unlink(path)
	case "rmdir":
		return unix.Rmdir(path)
	}
	f := r.files[c.args[0]]
	if f == nil {
		return fmt.Errorf("nothing is open as %s", c.args[0])
	}
	switch c.name {
	case "fstat":
		return unix.Fstat(f.fd, &st)
	case "fchmod":
		return unix.Fchmod(f.fd, mode(c.args[1]))
	case "fsync":
		return unix.Fsync(f.fd)
	case "flock":
		return unix.Flock(f.fd, lockOperations[c.args[1]])
	case "close":
		delete(r.files, c.args[0])
		return unix.Close(f.fd)
	case "write":
		return f.write(r.trace.content[c.args[1]], c.args[2:])
	case "read":
		return r.read(f)
	case "list":
		return f.list()
	}
	return fmt.Errorf("unknown call %s", c.name)
}

func mode(octal string) uint32 {
	m, _ := strconv.ParseUint(octal, 8, 32)
	return uint32(m)
}

func (r *replayer) open(c traceCall) error {
	flags, perm := 0, uint32(0)
	for flag := range strings.SplitSeq(c.args[1], "|") {
		flags |= openFlags[flag]
	}
	if len(c.args) > 2 {
		perm = mode(c.args[2])
	}
	fd, err := again(func() (int, error) { return unix.Open(r.path(c.args[0]), flags|unix.O_CLOEXEC, perm) })
	if err != nil {
		return err
	}
	if c.fd == "" {
		return unix.Close(fd)
	}
	r.files[c.fd] = &replayFile{fd: fd, path: c.args[0]}
	return nil
}

func (f *replayFile) write(content []byte, sizes []string) error {
	if len(sizes) == 0 {
		sizes = []string{strconv.Itoa(len(content) - f.written)}
	}
	for _, size := range sizes {
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		if _, err := unix.Write(f.fd, content[f.written:f.written+n]); err != nil {
			return err
		}
		f.written += n
	}
	return nil
}

// read reads a file to its end, by pieces as small as those of Go's library,
// and looks whether it can be what it should be.
func (r *replayer) read(f *replayFile) error {
	var content []byte
	for buf := make([]byte, 512); ; {
		n, err := unix.Read(f.fd, buf)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		content = append(content, buf[:n]...)
	}
	if hex, ok := strings.CutPrefix(f.path, "blobs/sha256/"); ok {
		for name, want := range r.trace.content {
			if r.trace.hex(name) == hex && !bytes.Equal(content, want) {
				return fmt.Errorf("%s has other content", name)
			}
		}
		return nil
	}
	if !json.Valid(content) {
		return fmt.Errorf("%s is no document: %q", f.path, content)
	}
	return nil
}

func (f *replayFile) list() error {
	for buf := make([]byte, 8192); ; {
		if n, err := unix.Getdents(f.fd, buf); err != nil || n == 0 {
			return err
		}
	}
}
