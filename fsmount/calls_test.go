package fsmount_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// caller makes system calls that programs make of files, and compares answers.
type caller struct {
	repo, work string
	blob       string // path of a blob
	content    []byte // of that
}

// calls makes each system call of a table, in a repository with one blob:
//
//	calls REPOSITORY WORK BLOB FILE
//
// FILE, outside, holds what the blob does.
func calls(args []string) error {
	c := &caller{repo: args[0], work: args[1], blob: args[2]}
	var err error
	if c.content, err = os.ReadFile(args[3]); err != nil {
		return err
	}
	return makeAll([]namedCall{
		{"pread with O_DIRECT", c.readDirect},
		{"sendfile out of a blob", c.sendfile},
		{"copy_file_range out of a blob", c.copyOut},
		{"copy_file_range from a blob to a blob", c.copyAcross},
		{"splice out of a blob", c.splice},
		{"lseek to data and holes", c.seekHoles},
		{"fallocate", c.fallocate},
		{"mmap of a blob", c.mapBlob},
		{"mmap of a blob for writing", c.mapBlobForWriting},
		{"mmap of a blob that is pushed again", c.mapRepush},
		{"mmap of a new file for writing", c.mapNew},
		{"mmap that outlives close", c.mapOutlives},
		{"open of a blob with O_APPEND", c.appendToBlob},
		{"O_APPEND by two descriptors", c.appendByTwo},
		{"O_TMPFILE", c.tmpfile},
		{"O_DIRECT writes", c.writeDirect},
		{"rename with flags", c.renameFlags},
		{"mknod", c.mknod},
		{"mkfifo", c.mkfifo},
		{"locks", c.locks},
		{"truncate of a blob", c.truncateBlob},
		{"utimes, chmod, chown", c.attributes},
		{"O_PATH and linkat", c.linkDescriptor},
		{"fsync of directories", c.syncDirs},
		{"read of a directory", c.readDir},
		{"open of a blob as a directory", c.openAsDir},
		{"names that are too long", c.longNames},
		{"extended attributes", c.xattrs},
	})
}

// namedCall is a system call, or several, and what they are about.
type namedCall struct {
	name string
	make func() error
}

// makeAll makes calls one after the other, also where one fails.
func makeAll(calls []namedCall) error {
	var errs []error
	for _, call := range calls {
		if err := call.make(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", call.name, err))
		}
	}
	return errors.Join(errs...)
}

// want reports another error than the one that is wanted.
func want(got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("got %w, want %w", got, want)
	}
	return nil
}

// same reports other bytes than those that are wanted.
func same(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("got %d bytes, want %d others", len(got), len(want))
	}
	return nil
}

// open is unix.Open of a path in the repository.
func (c *caller) open(path string, flags int) (int, error) {
	return again(func() (int, error) { return unix.Open(filepath.Join(c.repo, path), flags|unix.O_CLOEXEC, 0o600) })
}

// with calls fn with a descriptor of a path, and closes that.
func (c *caller) with(path string, flags int, fn func(fd int) error) error {
	fd, err := c.open(path, flags)
	if err != nil {
		return err
	}
	return errors.Join(fn(fd), unix.Close(fd))
}

// with content of the repository, or outside.
func (c *caller) withBlob(flags int, fn func(fd int) error) error {
	return c.with(c.blob, flags, fn)
}

// outside calls fn with a file outside the mount, and returns what it holds then.
func (c *caller) outside(fn func(fd int) error) ([]byte, error) {
	path := filepath.Join(c.work, "outside")
	fd, err := again(func() (int, error) {
		return unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fn(fd), unix.Close(fd)); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// published checks that a name of the repository's blobs has content.
func (c *caller) published(name string, content []byte) error {
	got, err := os.ReadFile(filepath.Join(c.repo, "_blobs", name))
	if err != nil {
		return err
	}
	if err := same(got, content); err != nil {
		return fmt.Errorf("published: %w", err)
	}
	target, err := os.Readlink(filepath.Join(c.repo, "_blobs", name))
	if err != nil {
		return err
	}
	if sum := fmt.Sprintf("sha256/%x", sha256.Sum256(content)); target != sum {
		return fmt.Errorf("it is %s, want %s", target, sum)
	}
	return nil
}

// all copies everything with a call that copies some.
func (c *caller) all(copySome func(left int) (int, error)) error {
	for left := len(c.content); left > 0; {
		n, err := copySome(left)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		left -= n
	}
	return nil
}

func (c *caller) readDirect() error {
	return c.withBlob(unix.O_RDONLY|unix.O_DIRECT, func(fd int) error {
		got := make([]byte, len(c.content)+1)
		n, err := readFull(fd, got, 0)
		return errors.Join(err, same(got[:n], c.content))
	})
}

func (c *caller) sendfile() error {
	return c.withBlob(unix.O_RDONLY, func(in int) error {
		got, err := c.outside(func(out int) error {
			return c.all(func(left int) (int, error) { return unix.Sendfile(out, in, nil, left) })
		})
		return errors.Join(err, same(got, c.content))
	})
}

func (c *caller) copyOut() error {
	return c.withBlob(unix.O_RDONLY, func(in int) error {
		_, err := c.outside(func(out int) error {
			_, err := unix.CopyFileRange(in, nil, out, nil, len(c.content), 0)
			return want(err, unix.EXDEV) // from one file system to another the kernel never does it
		})
		return err
	})
}

func (c *caller) copyAcross() error {
	err := c.withBlob(unix.O_RDONLY, func(in int) error {
		return c.with("_blobs/copied", unix.O_WRONLY|unix.O_CREAT, func(out int) error {
			return c.all(func(left int) (int, error) { return unix.CopyFileRange(in, nil, out, nil, left, 0) })
		})
	})
	return errors.Join(err, c.published("copied", c.content))
}

func (c *caller) splice() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	return c.withBlob(unix.O_RDONLY, func(in int) error {
		spliced := make(chan error, 1)
		go func() {
			spliced <- errors.Join(c.all(func(left int) (int, error) {
				n, err := unix.Splice(in, nil, int(w.Fd()), nil, left, 0)
				return int(n), err
			}), w.Close())
		}()
		got, err := io.ReadAll(r)
		return errors.Join(<-spliced, err, same(got, c.content))
	})
}

func (c *caller) seekHoles() error {
	return c.withBlob(unix.O_RDONLY, func(fd int) error {
		data, err := unix.Seek(fd, 10, unix.SEEK_DATA)
		if err != nil || data != 10 {
			return fmt.Errorf("data at %d: %w", data, err)
		}
		hole, err := unix.Seek(fd, 10, unix.SEEK_HOLE)
		if err != nil || hole != int64(len(c.content)) {
			return fmt.Errorf("a hole at %d: %w", hole, err)
		}
		_, err = unix.Seek(fd, int64(len(c.content)), unix.SEEK_DATA)
		return want(err, unix.ENXIO)
	})
}

func (c *caller) fallocate() error {
	return c.with("_blobs/.fallocate", unix.O_RDWR|unix.O_CREAT, func(fd int) error {
		return errors.Join(
			want(unix.Fallocate(fd, 0, 0, 100), unix.EOPNOTSUPP),
			unix.Unlink(filepath.Join(c.repo, "_blobs/.fallocate")))
	})
}

func (c *caller) appendToBlob() error {
	_, err := c.open(c.blob, unix.O_WRONLY|unix.O_APPEND)
	return want(err, unix.EPERM)
}

func (c *caller) appendByTwo() error {
	const path = "_blobs/.appended"
	var content []byte
	err := c.with(path, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND, func(one int) error {
		return c.with(path, unix.O_WRONLY|unix.O_APPEND, func(two int) error {
			for n := range 50 {
				line := fmt.Appendf(nil, "line %d\n", n)
				fd := one
				if n%3 == 0 {
					fd = two
				}
				if _, err := unix.Write(fd, line); err != nil {
					return err
				}
				content = append(content, line...)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(c.repo, path), filepath.Join(c.repo, "_blobs/appended")); err != nil {
		return err
	}
	return c.published("appended", content)
}

func (c *caller) tmpfile() error {
	_, err := c.open("_blobs", unix.O_WRONLY|unix.O_TMPFILE)
	return want(err, unix.EOPNOTSUPP)
}

func (c *caller) writeDirect() error {
	content := bytes.Repeat([]byte("direct"), 30_000)
	err := c.with("_blobs/direct", unix.O_WRONLY|unix.O_CREAT|unix.O_DIRECT, func(fd int) error {
		return write(fd, content, 0)
	})
	return errors.Join(err, c.published("direct", content))
}

func (c *caller) renameFlags() error {
	at := func(name string) string { return filepath.Join(c.repo, "_blobs", name) }
	for _, name := range []string{".one", ".two"} {
		if err := os.WriteFile(at(name), []byte(name), 0o600); err != nil {
			return err
		}
	}
	exchange := unix.Renameat2(unix.AT_FDCWD, at(".one"), unix.AT_FDCWD, at(".two"), unix.RENAME_EXCHANGE)
	one, err := os.ReadFile(at(".one"))
	return errors.Join(
		want(unix.Renameat2(unix.AT_FDCWD, at(".one"), unix.AT_FDCWD, at(".two"), unix.RENAME_NOREPLACE), unix.EEXIST),
		want(exchange, unix.EINVAL), err, same(one, []byte(".one")),
		os.Remove(at(".one")), os.Remove(at(".two")))
}

func (c *caller) mknod() error {
	return want(unix.Mknod(filepath.Join(c.repo, "_blobs/null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))), unix.EPERM)
}

func (c *caller) mkfifo() error {
	return want(unix.Mkfifo(filepath.Join(c.repo, "_blobs/fifo"), 0o600), unix.EPERM)
}

// Locks are the kernel's, between the programs of this machine.
func (c *caller) locks() error {
	return c.withBlob(unix.O_RDONLY, func(one int) error {
		return c.withBlob(unix.O_RDONLY, func(two int) error {
			if err := unix.Flock(one, unix.LOCK_EX|unix.LOCK_NB); err != nil {
				return err
			}
			if err := want(unix.Flock(two, unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK); err != nil {
				return err
			}
			return unix.FcntlFlock(uintptr(one), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
		})
	})
}

func (c *caller) truncateBlob() error {
	path := filepath.Join(c.repo, c.blob)
	return errors.Join(
		want(unix.Truncate(path, 0), unix.EPERM),
		want(unix.Truncate(path, int64(len(c.content))+1), unix.EPERM))
}

func (c *caller) attributes() error {
	path := filepath.Join(c.repo, c.blob)
	var before, after unix.Stat_t
	err := errors.Join(
		unix.Stat(path, &before),
		unix.Chmod(path, 0o4777), unix.Chown(path, 1, 1), unix.Utimes(path, []unix.Timeval{{Sec: 5}, {Sec: 5}}),
		unix.Stat(path, &after))
	if before != after {
		return errors.Join(err, fmt.Errorf("%v is %v now", before, after))
	}
	return err
}

func (c *caller) linkDescriptor() error {
	return c.withBlob(unix.O_PATH, func(fd int) error {
		other := filepath.Join(c.repo, "_blobs/linked")
		if err := unix.Linkat(fd, "", unix.AT_FDCWD, other, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
		return c.published("linked", c.content)
	})
}

func (c *caller) syncDirs() error {
	var errs []error
	for _, dir := range []string{"", "_blobs", "_blobs/sha256", "_manifests", "_tags", "_uploads"} {
		errs = append(errs, c.with(dir, unix.O_RDONLY|unix.O_DIRECTORY, unix.Fsync))
	}
	return errors.Join(errs...)
}

func (c *caller) readDir() error {
	return c.with("_blobs", unix.O_RDONLY, func(fd int) error {
		_, err := unix.Read(fd, make([]byte, 100))
		return want(err, unix.EISDIR)
	})
}

func (c *caller) openAsDir() error {
	_, err := c.open(c.blob, unix.O_RDONLY|unix.O_DIRECTORY)
	_, below := c.open(c.blob+"/x", unix.O_RDONLY)
	return errors.Join(want(err, unix.ENOTDIR), want(below, unix.ENOTDIR))
}

func (c *caller) longNames() error {
	long := string(bytes.Repeat([]byte("x"), unix.NAME_MAX+1))
	var errs []error
	for _, dir := range []string{"", "_blobs", "_blobs/sha256", "_tags"} {
		_, create := c.open(filepath.Join(dir, long), unix.O_WRONLY|unix.O_CREAT)
		_, lookup := c.open(filepath.Join(dir, long), unix.O_RDONLY)
		errs = append(errs, want(create, unix.ENAMETOOLONG), want(lookup, unix.ENAMETOOLONG))
	}
	return errors.Join(errs...)
}

func (c *caller) xattrs() error {
	path := filepath.Join(c.repo, c.blob)
	_, small := unix.Getxattr(path, "user.registryfs.digest", make([]byte, 10))
	_, other := unix.Getxattr(path, "user.other", make([]byte, 10))
	return errors.Join(
		want(small, unix.ERANGE), want(other, unix.EOPNOTSUPP),
		want(unix.Setxattr(path, "user.other", []byte("x"), 0), unix.EOPNOTSUPP),
		want(unix.Setxattr(path, "user.registryfs.digest", make([]byte, 1<<16+1), 0), unix.E2BIG),
		unix.Setxattr(path, "user.registryfs.digest", make([]byte, 1<<16), 0),
		want(unix.Setxattr(path, "system.posix_acl_access", []byte{2, 0, 0, 0}, 0), unix.EOPNOTSUPP))
}

func TestSystemCalls(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"are answered", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 300_000)
			r.pushBlobs(t, f)
			r.ok(t, `FSMOUNT_TEST_ROLE=calls "$SELF" "$R" "$W" "_blobs/sha256/$2" "$1"`, f.path, f.hex)
			r.requireBlob(t, f)
			r.until(t, `test -z "$(ls "$R/_uploads")"`)
			require.Empty(t, r.ok(t, `find "$R/_blobs" -name ".*"`))
		}},
	})
}
