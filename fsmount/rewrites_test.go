package fsmount_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

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

// What is written to a name of stored content is that content, edited.
func TestRewrites(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"by system calls", func(t *testing.T, r *repo) {
			r.ok(t, `FSMOUNT_TEST_ROLE=rewrites "$SELF" "$R"`)
		}},
	})
}
