package fsmount_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// rewriter opens stored content for writing, in a repository without any.
type rewriter struct{ caller }

// rewrites does to stored content what programs do to files that are there:
//
//	rewrites REPOSITORY
func rewrites(args []string) error {
	r := &rewriter{caller{repo: args[0]}}
	return makeAll([]namedCall{
		{"ftruncate of one of two descriptors", r.truncateOneOfTwo},
		{"ftruncate through a second descriptor of one name", r.truncateOneName},
		{"truncate of a digest's name just after close", r.truncateAfterClose},
		{"reading what is open for writing", r.readOnly},
		{"mmap of what is open for writing", r.mapped},
		{"writing at the end, at the beginning and in the middle", r.writeAnywhere},
		{"writing all of it anew", r.writeAll},
		{"ftruncate to less, to more and to nothing", r.truncateTo},
		{"O_APPEND", r.appendTo},
		{"writing on after it was published", r.writeOn},
		{"writing under a digest", r.writeDigest},
	})
}

// put stores content under a name and returns the path of the blob.
func (r *rewriter) put(name string, content []byte) (string, error) {
	if err := os.WriteFile(r.path(name), content, 0o600); err != nil {
		return "", err
	}
	target, err := os.Readlink(r.path(name))
	return r.path(target), err
}

func (r *rewriter) path(name string) string { return filepath.Join(r.repo, "_blobs", name) }

// numbered is so many bytes, which are those of no other place.
func numbered(size int) []byte {
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintln(&b, b.Len())
	}
	return b.Bytes()[:size]
}

func (r *rewriter) truncateOneOfTwo() error {
	for _, name := range []string{"p", "q"} {
		if _, err := r.put(name, numbered(100)); err != nil {
			return err
		}
	}
	err := r.with("_blobs/p", unix.O_WRONLY|unix.O_TRUNC, func(p int) error {
		return r.with("_blobs/q", unix.O_WRONLY|unix.O_TRUNC, func(q int) error {
			return errors.Join(write(p, []byte("aaaaaaaa"), 0), write(q, []byte("bbbbbbbbbb"), 0), unix.Ftruncate(p, 4))
		})
	})
	return errors.Join(err, r.published("p", []byte("aaaa")), r.published("q", []byte("bbbbbbbbbb")))
}

// Two that create one name write a file each; so does who opens the file of the
// first by its descriptor.
func (r *rewriter) truncateOneName() error {
	fd, err := r.open("_blobs/twice", unix.O_WRONLY|unix.O_CREAT)
	if err != nil {
		return err
	}
	if err := write(fd, []byte("aaaaaaaa"), 0); err != nil {
		return err
	}
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_TRUNC, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(write(again, []byte("bbbbbbbbbb"), 0), unix.Ftruncate(fd, 4), unix.Close(again)); err != nil {
		return err
	}
	if err := r.published("twice", []byte("bbbbbbbbbb")); err != nil {
		return err
	}
	return errors.Join(unix.Close(fd), r.published("twice", []byte("aaaa")))
}

func (r *rewriter) truncateAfterClose() error {
	content := numbered(1000)
	blob, err := r.put("pushed", content)
	if err != nil {
		return err
	}
	for n := range 100 {
		if err := os.WriteFile(blob, content, 0o600); err != nil {
			return err
		}
		if err := want(unix.Truncate(blob, int64(n%2*7)), unix.EPERM); err != nil {
			return fmt.Errorf("after %d times: %w", n, err)
		}
	}
	return nil
}

// Reading publishes nothing, and is of what is stored.
func (r *rewriter) readOnly() error {
	content := numbered(300_000)
	if _, err := r.put("read", content); err != nil {
		return err
	}
	err := r.with("_blobs/read", unix.O_RDWR, func(fd int) error {
		got := make([]byte, len(content)+1)
		n, err := readFull(fd, got, 0)
		if err := errors.Join(err, same(got[:n], content)); err != nil {
			return err
		}
		n, err = preader(fd).ReadAt(got, int64(len(content)-5))
		return errors.Join(err, same(got[:n], content[len(content)-5:]))
	})
	err = errors.Join(err, r.with("_blobs/read", unix.O_WRONLY, unix.Fsync))
	return errors.Join(err, r.published("read", content))
}

// A map shows what is stored, also after something was written, since readers
// share its pages.
func (r *rewriter) mapped() error {
	content, edited := numbered(50_000), numbered(50_000)
	copy(edited, "written")
	if _, err := r.put("mapped", content); err != nil {
		return err
	}
	isMapped := func(fd int) error {
		p, err := unix.Mmap(fd, 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		return errors.Join(same(p, content), unix.Munmap(p))
	}
	err := r.with("_blobs/mapped", unix.O_RDONLY, func(reader int) error {
		err := r.with("_blobs/mapped", unix.O_RDWR, func(fd int) error {
			_, err := unix.Mmap(fd, 0, len(content), unix.PROT_READ, unix.MAP_SHARED)
			err = errors.Join(want(err, unix.ENODEV), isMapped(fd), write(fd, edited[:10], 0), isMapped(fd))
			got := make([]byte, len(content))
			n, readErr := readFull(fd, got, 0)
			return errors.Join(err, readErr, same(got[:n], edited), isMapped(reader))
		})
		return errors.Join(err, isMapped(reader))
	})
	return errors.Join(err, r.published("mapped", edited))
}

// edit opens a name that has content without O_TRUNC, and writes parts.
func (r *rewriter) edit(name string, content []byte, parts ...part) error {
	if _, err := r.put(name, content); err != nil {
		return err
	}
	edited := bytes.Clone(content)
	err := r.with("_blobs/"+name, unix.O_RDWR, func(fd int) error {
		for _, p := range parts {
			if err := write(fd, p.content, int64(p.at)); err != nil {
				return err
			}
			edited = append(edited, make([]byte, max(0, p.at+len(p.content)-len(edited)))...)
			copy(edited[p.at:], p.content)
			got := make([]byte, len(edited)+1)
			if n, err := readFull(fd, got, 0); err != nil || !bytes.Equal(got[:n], edited) {
				return fmt.Errorf("after %d at %d: %w", len(p.content), p.at, errors.Join(err, same(got[:n], edited)))
			}
		}
		return nil
	})
	return errors.Join(err, r.published(name, edited))
}

type part struct {
	content []byte
	at      int
}

func (r *rewriter) writeAnywhere() error {
	content, x := numbered(200_000), bytes.Repeat([]byte("x"), 1000)
	return errors.Join(
		r.edit("begin", content, part{x, 0}),
		r.edit("one", content, part{x[:1], 10}),
		r.edit("middle", content, part{x, 100_000}, part{x, 100}, part{x, 150_000}),
		r.edit("end", content, part{x, 199_500}, part{x, 200_500}),
		r.edit("beyond", content, part{x, 0}, part{x, 1000}, part{x, 300_000}),
		r.edit("short", content[:3], part{x, 5}),
		r.edit("some", content, part{x, 0}, part{x, 500}, part{x, 1500}, part{x, 3000}))
}

// As rsync --inplace does: all from the beginning, and then the end is cut off.
func (r *rewriter) writeAll() error {
	for _, size := range []int{0, 1, 70_000, 200_000, 250_000} {
		if _, err := r.put("all", numbered(200_000)); err != nil {
			return err
		}
		content := bytes.Repeat([]byte("anew "), 50_000)[:size]
		err := r.with("_blobs/all", unix.O_WRONLY|unix.O_CREAT, func(fd int) error {
			for at := 0; at < size; at += 40_000 {
				if err := write(fd, content[at:min(at+40_000, size)], int64(at)); err != nil {
					return err
				}
			}
			return unix.Ftruncate(fd, int64(size))
		})
		if size == 0 {
			content = numbered(200_000) // what is emptied and not written stays
		}
		if err := errors.Join(err, r.published("all", content)); err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
	}
	return nil
}

func (r *rewriter) truncateTo() error {
	content := numbered(100_000)
	for _, c := range []struct {
		first []byte // that is written
		to    []int
		want  []byte
	}{
		{nil, []int{50}, content[:50]},
		{nil, []int{100_005}, append(content[:100_000:100_000], 0, 0, 0, 0, 0)},
		{nil, []int{50, 60}, append(content[:50:50], make([]byte, 10)...)},
		{[]byte("x"), []int{50}, append([]byte("x"), content[1:50]...)},
		{[]byte("xyz"), []int{2}, []byte("xy")},
		{[]byte("xyz"), []int{3}, []byte("xyz")},
		{[]byte("xyz"), []int{2, 5}, []byte("xy\x00\x00\x00")},
		{[]byte("xyz"), []int{0}, nil},
		{nil, []int{0, 5}, make([]byte, 5)},
	} {
		if _, err := r.put("cut", content); err != nil {
			return err
		}
		err := r.with("_blobs/cut", unix.O_RDWR, func(fd int) error {
			if err := write(fd, c.first, 0); err != nil {
				return err
			}
			for _, size := range c.to {
				if err := unix.Ftruncate(fd, int64(size)); err != nil {
					return err
				}
			}
			got := make([]byte, len(c.want)+1)
			n, err := readFull(fd, got, 0)
			return errors.Join(err, same(got[:n], c.want))
		})
		if err := errors.Join(err, r.published("cut", c.want)); err != nil {
			return fmt.Errorf("%d written, then to %d: %w", len(c.first), c.to, err)
		}
	}
	return nil
}

func (r *rewriter) appendTo() error {
	content := numbered(1000)
	for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR} {
		blob, err := r.put("log", content)
		if err != nil {
			return err
		}
		err = r.with("_blobs/log", flags|unix.O_APPEND, func(fd int) error {
			var st unix.Stat_t
			return errors.Join(write(fd, []byte("one "), 0), unix.Stat(blob, &st), write(fd, []byte("two"), 0))
		})
		want := append(bytes.Clone(content), "one two"...)
		if err := errors.Join(err, r.published("log", want)); err != nil {
			return err
		}
	}
	return nil
}

// What a FLUSH has published is what is written on.
func (r *rewriter) writeOn() error {
	content := numbered(100_000)
	if _, err := r.put("on", content); err != nil {
		return err
	}
	err := r.with("_blobs/on", unix.O_RDWR, func(fd int) error {
		for n, p := range []part{{[]byte("one"), 50_000}, {[]byte("two"), 0}, {[]byte("three"), 99_998}} {
			copied, err := unix.Dup(fd)
			if err != nil {
				return err
			}
			if err := errors.Join(write(copied, p.content, int64(p.at)), unix.Close(copied)); err != nil {
				return err
			}
			content = append(content, make([]byte, max(0, p.at+len(p.content)-len(content)))...)
			copy(content[p.at:], p.content)
			if err := r.published("on", content); err != nil {
				return fmt.Errorf("%d: %w", n, err)
			}
		}
		return nil
	})
	return errors.Join(err, r.published("on", content))
}

func (r *rewriter) writeDigest() error {
	content := numbered(150_000)
	blob, err := r.put("digest", content)
	if err != nil {
		return err
	}
	edit := func(p part) error {
		fd, err := again(func() (int, error) { return unix.Open(blob, unix.O_RDWR|unix.O_CLOEXEC, 0) })
		if err != nil {
			return err
		}
		if err := write(fd, p.content, int64(p.at)); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		return unix.Close(fd)
	}
	return errors.Join(
		want(edit(part{[]byte("x"), 70_000}), unix.EBADMSG),
		edit(part{content[70_000:70_010], 70_000}),
		r.published("digest", content))
}

// What is written to a name of stored content is that content, edited.
func TestRewrites(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"by system calls", func(t *testing.T, r *repo) {
			r.ok(t, `FSMOUNT_TEST_ROLE=rewrites "$SELF" "$R"`)
			r.until(t, `test -z "$(ls -A "$R/_uploads")"`)
		}},
		{"by tar that adds to an archive", func(t *testing.T, r *repo) {
			r.ok(t, `cd "$W"; for f in s1 s2 layer2; do head -c 50000 /dev/urandom > $f; done; mkdir out
				tar -cf "$R/_blobs/x.tar" s1 s2; tar -rf "$R/_blobs/x.tar" layer2
				test "$(tar -tf "$R/_blobs/x.tar" | tr '\n' ' ')" = "s1 s2 layer2 "
				tar -C out -xf "$R/_blobs/x.tar"; cmp out/s1 s1; cmp out/layer2 layer2
				tar --delete -f "$R/_blobs/x.tar" s1; test "$(tar -tf "$R/_blobs/x.tar" | tr '\n' ' ')" = "s2 layer2 "`)
		}},
		{"by dd and the shell", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 2_000_000)
			r.ok(t, `cp "$1" "$W/want"
				edit() { "$1" "$W/want"; "$1" "$R/_blobs/d"; cmp "$W/want" "$R/_blobs/d"; }
				one() { printf X | dd of="$1" bs=1 seek=10 conv=notrunc status=none; }
				two() { printf X 1<> "$1"; }
				three() { exec 3<> "$1"; head -c 5 <&3 > /dev/null; printf XYZ >&3; exec 3>&-; }
				four() { truncate -s 1000001 "$1"; }
				five() { echo more >> "$1"; echo and more >> "$1"; }
				cp "$1" "$R/_blobs/d"; for n in one two three four five; do edit $n; done`, f.path)
			r.requireBlob(t, f)
		}},
	})
}

func TestRewritesOfDamagedContent(t *testing.T) {
	onDirectory(t, serveOptions{}, []mountCase{
		{"fail, unless all is written anew", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 100_000)
			r.ok(t, `cp "$1" "$R/_blobs/d"; printf X | dd of="$STORE/$2" bs=1 seek=5 conv=notrunc status=none`, f.path, f.stored())
			r.fails(t, "Input/output", `head -c 1 <> "$R/_blobs/d"`)
			r.fails(t, "Input/output", `printf X | dd of="$R/_blobs/d" bs=1 seek=10 conv=notrunc status=none`)
			r.ok(t, `printf X 1<> "$R/_blobs/d"`) // which does not look what close says
			r.errorsSay(t, " close /"+r.name+"/_blobs/d ", "corrupt")
			r.fails(t, "Input/output", `cat "$R/_blobs/d"`)
			r.ok(t, `dd if="$1" of="$R/_blobs/d" bs=4k conv=notrunc status=none; cmp "$1" "$R/_blobs/d"`, f.path)
			require.Equal(t, "sha256/"+f.hex, r.ok(t, `readlink "$R/_blobs/d"`))
			r.requireBlob(t, f)
			r.ok(t, `printf X | dd of="$STORE/$1" bs=1 seek=5 conv=notrunc status=none; rsync --inplace --ignore-times "$2" "$R/_blobs/sha256/$3"`,
				f.stored(), f.path, f.hex)
			r.requireBlob(t, f)
		}},
	})
}
