package fsmount_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// unlinks removes names while it writes to them, and fails where anything of it
// is to be found then:
//
//	unlinks REPOSITORY TAG
func unlinks(args []string) error {
	c := &caller{repo: args[0]}
	content := numbered(100_000)
	hex := fmt.Sprintf("%x", sha256.Sum256(content))
	const anew = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL
	var calls []namedCall
	for _, u := range []struct {
		path  string
		flags int
	}{
		{"_blobs/partial.tar", anew}, {"_blobs/.scratch", anew}, {"_blobs/sha256/" + hex, anew}, {"_blobs/sha256:" + hex, anew},
		{"_oci/blobs/sha256/" + hex, anew}, {"_manifests/partial", anew}, {"_tags/partial", anew}, {"_tags/sedabcdef", anew},
		{"_blobs/partial.tar", unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC},
		{"_tags/" + args[1], unix.O_RDWR}, {"_tags/" + args[1], anew},
	} {
		calls = append(calls, namedCall{u.path, func() error { return c.unlinkWritten(u.path, u.flags, content) }})
	}
	calls = append(calls, namedCall{"an alias that is edited", func() error {
		r := &rewriter{*c}
		if _, err := r.put("edited", []byte("before")); err != nil {
			return err
		}
		return c.unlinkWritten("_blobs/edited", unix.O_RDWR, content)
	}})
	calls = append(calls, namedCall{"what was closed", func() error { return c.unlinkClosed("_blobs/sha256/" + hex) }})
	if err := makeAll(calls); err != nil {
		return err
	}
	_, err := os.Lstat(filepath.Join(c.repo, "_blobs/sha256", hex))
	return want(err, unix.ENOENT)
}

func (c *caller) unlinkWritten(path string, flags int, content []byte) error {
	path = filepath.Join(c.repo, path)
	fd, err := again(func() (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, 0o600) })
	if err != nil {
		return err
	}
	half := len(content) / 2
	if err := write(fd, content[:half], 0); err != nil {
		return err
	}
	if err := unix.Unlink(path); err != nil {
		return fmt.Errorf("unlink: %w", err)
	}
	err = errors.Join(write(fd, content[half:], int64(half)), unix.Fsync(fd))
	got := make([]byte, len(content)+1)
	n, readErr := readFull(fd, got, 0)
	err = errors.Join(err, readErr, same(got[:n], content), unix.Close(fd))
	_, statErr := os.Lstat(path)
	return errors.Join(err, want(statErr, unix.ENOENT))
}

// unlinkClosed removes what closing has refused, over and over: the kernel tells
// the server some time later that it is closed.
func (c *caller) unlinkClosed(path string) error {
	for range 100 {
		err := c.with(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, func(fd int) error { return write(fd, []byte("wrong"), 0) })
		err = errors.Join(want(err, unix.EBADMSG), want(unix.Unlink(filepath.Join(c.repo, path)), unix.ENOENT))
		if err != nil {
			return err
		}
	}
	return nil
}

// A file that is removed while it is written is gone, and closing brings
// nothing back.
func TestUnlinkingWhatIsWritten(t *testing.T) {
	// writing is another process that writes half of a file under a name, and
	// the other half, and closes it, after a line of input.
	writing := func(t *testing.T, r *repo, name string, f file) *process {
		t.Helper()
		p := r.start(t, "sh", "-euc", `exec 3> "$R/$1"
			(head -c 100000 "$2" >&3); echo begun; read line; (tail -c +100001 "$2" >&3); exec 3>&-; echo closed`, "sh", name, f.path)
		require.Equal(t, "begun", p.line(t))
		return p
	}
	closed := func(t *testing.T, p *process) {
		t.Helper()
		_, err := p.stdin.Write([]byte("\n"))
		require.NoError(t, err)
		require.Equal(t, "closed", p.line(t))
		p.finish(t)
	}
	nothing := func(t *testing.T, r *repo) {
		t.Helper()
		require.Equal(t, "sha256", r.ok(t, `ls "$R/_blobs"`))
		r.until(t, `test -z "$(ls -A "$R/_uploads")"`)
		require.Empty(t, r.ok(t, `ls -A "$R/_blobs/sha256"`))
	}
	onEach(t, serveOptions{}, []mountCase{
		{"by who writes", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			r.ok(t, `ls "$R/_blobs/sha256" > "$W/before"; FSMOUNT_TEST_ROLE=unlinks "$SELF" "$R" v1`)
			require.Empty(t, r.ok(t, `ls -A "$R/_tags"`))
			r.ok(t, `for hex in $(ls "$R/_blobs/sha256"); do grep -q $hex "$W/before" || test "$(cat "$R/_blobs/sha256/$hex")" = before; done`)
			r.until(t, `test -z "$(ls -A "$R/_uploads")"`)
			r.ok(t, `cmp "$1" "$R/_manifests/sha256/$2"`, i.manifest.path, i.manifest.hex)
		}},
		{"by rm", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 200_000)
			for _, name := range []string{"_blobs/name", "_blobs/sha256/" + f.hex, "_tags/name"} {
				p := writing(t, r, name, f)
				r.isGone(t, r.dir()+"/"+name)
				r.ok(t, `rm "$R/$1"`, name)
				r.fails(t, "No such file", `rm "$R/$1"`, name)
				closed(t, p)
				r.isGone(t, r.dir()+"/"+name)
			}
			nothing(t, r)
			r.ok(t, `cp "$1" "$R/_blobs/name"; cp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
			r.requireBlob(t, f)
		}},
		{"by one of two that create it: the other's stays", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 200_000)
			r.pushed(t, "image", "v1")
			p := writing(t, r, "_blobs/partial.tar", f)
			r.ok(t, `FSMOUNT_TEST_ROLE=unlinks "$SELF" "$R" v1`)
			closed(t, p)
			require.Equal(t, "sha256/"+f.hex, r.ok(t, `readlink "$R/_blobs/partial.tar"`))
			r.requireBlob(t, f)
		}},
		{"by programs that remove what they replace: content is not lost", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 200_000)
			p := writing(t, r, "_blobs/sha256/"+f.hex, f)
			r.ok(t, `mkdir out; cp "$1" "out/$2"; tar -C out -cf - "$2" | tar -C "$R/_blobs/sha256" --unlink-first -xf -
				install "$1" "$R/_blobs/sha256/$2"; cp --remove-destination "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
			closed(t, p)
			r.requireBlob(t, f)
		}},
	})
}
