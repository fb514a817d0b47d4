package fsmount_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// blockedCopy begins to copy a FIFO to a path of the repository, lets the
// first bytes arrive, and leaves cp waiting for more. It returns cp, what
// feeds it, and the id of the upload.
func (r *repo) blockedCopy(t *testing.T, path string, first []byte) (cp *process, feed *os.File, id string) {
	t.Helper()
	before := r.ok(t, `ls "$R/_uploads"`)
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	cp = r.start(t, "cp", fifo, filepath.Join(r.dir(), path))
	feed, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { feed.Close() })
	_, err = feed.Write(first)
	require.NoError(t, err)
	id = r.until(t, `cd "$R/_uploads"; for id in $(ls); do
		case "$2" in *$id*) ;; *) test "$(stat -c %s $id)" = "$1" && echo $id && exit 0;; esac; done; exit 1`, strconv.Itoa(len(first)), before)
	return cp, feed, id
}

func TestUploads(t *testing.T) {
	// interrupted leaves an upload of the first half of a file.
	interrupted := func(t *testing.T, r *repo, signal syscall.Signal) (f file, rest file, id string) {
		t.Helper()
		f = r.random(t, "f", 40_000)
		content, err := os.ReadFile(f.path)
		require.NoError(t, err)
		cp, _, id := r.blockedCopy(t, "_blobs/name", content[:15_000])
		require.NoError(t, cp.Process.Signal(signal))
		require.False(t, cp.finish(t).Success())
		r.until(t, `grep "kept as upload $1" "$M/.registryfs/errors"`, id)
		return f, r.file(t, "rest", content[15_000:]), id
	}
	onEach(t, serveOptions{}, []mountCase{
		{"an interrupted cp publishes nothing and leaves an upload", func(t *testing.T, r *repo) {
			f, _, id := interrupted(t, r, syscall.SIGINT)
			require.Empty(t, r.ok(t, `ls "$R/_blobs/sha256"`))
			r.isGone(t, r.dir()+"/_blobs/name")
			r.errorsSay(t, "/"+r.name+"/_blobs/name", "interrupted", id)
			require.Equal(t, id, r.ok(t, `ls "$R/_uploads"`))
			require.Equal(t, "15000", r.ok(t, `stat -c %s "$R/_uploads/$1"`, id))
			r.ok(t, `head -c 15000 "$1" | cmp - "$R/_uploads/$2"`, f.path, id)
		}},
		{"so does one that is killed", func(t *testing.T, r *repo) {
			_, _, id := interrupted(t, r, syscall.SIGKILL)
			require.Empty(t, r.ok(t, `ls "$R/_blobs/sha256"`))
			require.Equal(t, id, r.ok(t, `ls "$R/_uploads"`))
		}},
		{"one that is killed before it has written leaves no name", func(t *testing.T, r *repo) {
			// crane takes any file of the name for the blob.
			f := r.random(t, "f", 1000)
			fifo := filepath.Join(t.TempDir(), "fifo")
			require.NoError(t, syscall.Mkfifo(fifo, 0o600))
			for _, name := range []string{"_blobs/sha256/" + f.hex, "_blobs/name", "_tags/v1"} {
				cp := r.start(t, "cp", fifo, filepath.Join(r.dir(), name))
				feed, err := os.OpenFile(fifo, os.O_WRONLY, 0)
				require.NoError(t, err)
				r.until(t, `ls -l "/proc/$1/fd" | grep "$2"`, strconv.Itoa(cp.Process.Pid), name)
				require.NoError(t, cp.Process.Kill())
				require.False(t, cp.finish(t).Success())
				require.NoError(t, feed.Close())
				r.isGone(t, filepath.Join(r.dir(), name))
			}
		}},
		{"an upload is gone on with, and finished by mv", func(t *testing.T, r *repo) {
			f, rest, id := interrupted(t, r, syscall.SIGINT)
			r.ok(t, `cat "$1" >> "$R/_uploads/$2"`, rest.path, id)
			require.Equal(t, "40000", r.ok(t, `stat -c %s "$R/_uploads/$1"`, id))
			r.ok(t, `mv "$R/_uploads/$1" "$R/_blobs/sha256/$2"`, id, f.hex)
			r.requireBlob(t, f)
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}},
		{"mv to any name finishes it under its own digest", func(t *testing.T, r *repo) {
			f, rest, id := interrupted(t, r, syscall.SIGINT)
			r.ok(t, `cat "$1" >> "$R/_uploads/$2"; mv "$R/_uploads/$2" "$R/_blobs/layer"`, rest.path, id)
			require.Equal(t, "sha256/"+f.hex, r.ok(t, `readlink "$R/_blobs/layer"`))
		}},
		{"mv to a wrong digest fails and keeps it", func(t *testing.T, r *repo) {
			f, rest, id := interrupted(t, r, syscall.SIGINT)
			r.fails(t, "Bad message", `mv "$R/_uploads/$1" "$R/_blobs/sha256/$2"`, id, f.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+f.hex)
			r.ok(t, `cat "$1" >> "$R/_uploads/$2"; mv "$R/_uploads/$2" "$R/_blobs/sha256/$3"`, rest.path, id, f.hex)
			r.requireBlob(t, f)
		}},
		{"mv to what it cannot be is not permitted", func(t *testing.T, r *repo) {
			_, _, id := interrupted(t, r, syscall.SIGINT)
			r.fails(t, "Operation not permitted", `mv "$R/_uploads/$1" "$R/_uploads/other"`, id)
			r.fails(t, "Operation not permitted", `mv "$R/_uploads/$1" "$R/_blobs/.scratch"`, id)
			r.fails(t, "subdirectory of itself", `mv "$R/_uploads/$1" "$R/_tags/v1"`, id) // so mv puts EINVAL
			require.Equal(t, id, r.ok(t, `ls "$R/_uploads"`))
		}},
		{"rm cancels it", func(t *testing.T, r *repo) {
			_, _, id := interrupted(t, r, syscall.SIGINT)
			r.ok(t, `rm "$R/_uploads/$1"`, id)
			r.isGone(t, r.dir()+"/_uploads/"+id)
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
			r.fails(t, "No such file", `rm "$R/_uploads/$1"`, id)
		}},
		{"a temporary that nobody has open is one too", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 10_000)
			r.ok(t, `cp "$1" "$R/_blobs/.killed"; cp "$1" "$R/_blobs/.open"`, f.path)
			r.ok(t, `exec 3< "$R/_blobs/.open"; done=0
				for id in $(ls "$R/_uploads"); do mv "$R/_uploads/$id" "$R/_blobs/sha256/$1" && done=$((done + 1)); done 2>/dev/null
				test $done = 1; ! test -e "$R/_blobs/.killed"; cmp - "$2" <&3; rm "$R/_blobs/.open"`, f.hex, f.path)
			r.requireBlob(t, f)
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}},
		{"it can be truncated and written anew", func(t *testing.T, r *repo) {
			f, _, id := interrupted(t, r, syscall.SIGINT)
			r.ok(t, `cat "$1" > "$R/_uploads/$2"; mv "$R/_uploads/$2" "$R/_blobs/sha256/$3"`, f.path, id, f.hex)
			r.requireBlob(t, f)
		}},
		{"none can be created", func(t *testing.T, r *repo) {
			r.fails(t, "Operation not permitted", `cp /etc/passwd "$R/_uploads/mine"`)
			r.fails(t, "Operation not permitted", `cp /etc/passwd "$R/_uploads/7d0ad9a3-4d10-4a8c-8d8a-5b3a1a1b9c11"`)
			r.errorsSay(t, "create", "/"+r.name+"/_uploads/mine", "_blobs")
		}},
		{"while one writes it is busy for others", func(t *testing.T, r *repo) {
			cp, feed, id := r.blockedCopy(t, "_blobs/name", []byte("begin "))
			r.fails(t, "Device or resource busy", `dd if=/etc/passwd of="$R/_uploads/$1" oflag=append conv=notrunc`, id)
			r.fails(t, "Device or resource busy", `mv "$R/_uploads/$1" "$R/_blobs/other"`, id)
			r.fails(t, "Device or resource busy", `rm "$R/_uploads/$1"`, id)
			require.Equal(t, "begin ", r.ok(t, `cat "$R/_uploads/$1"`, id))
			_, err := feed.WriteString("end")
			require.NoError(t, err)
			require.NoError(t, feed.Close())
			require.True(t, cp.finish(t).Success(), "%s", cp.stderr)
			require.Equal(t, "begin end", r.ok(t, `cat "$R/_blobs/name"`))
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}},
		{"a growing upload can be read", func(t *testing.T, r *repo) {
			cp, feed, id := r.blockedCopy(t, "_blobs/name", []byte("one "))
			reader := r.start(t, "sh", "-ec", `exec 3< "$R/_uploads/$1"; cat <&3; echo; read line; cat <&3; echo`, "sh", id)
			require.Equal(t, "one ", reader.line(t))
			_, err := feed.WriteString("two")
			require.NoError(t, err)
			r.until(t, `test "$(stat -c %s "$R/_uploads/$1")" = 7`, id)
			_, err = reader.stdin.Write([]byte("\n"))
			require.NoError(t, err)
			require.Equal(t, "two", reader.line(t))
			require.NoError(t, feed.Close())
			require.True(t, cp.finish(t).Success(), "%s", cp.stderr)
		}},
	})
}

func TestUploadsOfOthers(t *testing.T) {
	onDirectory(t, serveOptions{}, []mountCase{
		{"an upload that has no byte yet is an empty file", func(t *testing.T, r *repo) {
			f := r.file(t, "f", nil)
			const id = "7d0ad9a3-4d10-4a8c-8d8a-5b3a1a1b9c12"
			r.ok(t, `dir="$STORE/docker/registry/v2/repositories/$1/_uploads/$2"; mkdir -p "$dir"
				date -u +%FT%TZ > "$dir/startedat"`, r.name, id)
			require.Equal(t, "0", r.ok(t, `cat "$R/_uploads/$1"; stat -c %s "$R/_uploads/$1"`, id))
			r.ok(t, `mv "$R/_uploads/$1" "$R/_blobs/sha256/$2"`, id, f.hex)
			r.requireBlob(t, f)
		}},
		{"an upload that was a blob already when who finished it was killed", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 40_000)
			const id = "7d0ad9a3-4d10-4a8c-8d8a-5b3a1a1b9c13"
			r.ok(t, `cd "$STORE/docker/registry/v2"; mkdir -p "repositories/$1/_uploads/$2" "blobs/sha256/$(echo "$3" | cut -c-2)/$3"
				date -u +%FT%TZ > "repositories/$1/_uploads/$2/startedat"; cp "$4" "blobs/sha256/$(echo "$3" | cut -c-2)/$3/data"`, r.name, id, f.hex, f.path)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+f.hex)
			r.ok(t, `mv "$R/_uploads/$1" "$R/_blobs/sha256/$2"`, id, f.hex)
			r.requireBlob(t, f)
			require.Equal(t, "40000", r.ok(t, `stat -c %s "$R/_blobs/sha256/$1"; ls "$R/_uploads"`, f.hex))
		}},
		{"an upload that another program left is finished through the mount", func(t *testing.T, r *repo) {
			f := r.file(t, "f", []byte("hello, world"))
			const id = "7d0ad9a3-4d10-4a8c-8d8a-5b3a1a1b9c11"
			r.ok(t, `dir="$STORE/docker/registry/v2/repositories/$1/_uploads/$2"; mkdir -p "$dir"
				printf "hello, " > "$dir/data"; date -u +%FT%TZ > "$dir/startedat"`, r.name, id)
			require.Equal(t, id, r.ok(t, `ls "$R/_uploads"`))
			r.ok(t, `printf world >> "$R/_uploads/$1"; mv "$R/_uploads/$1" "$R/_blobs/sha256/$2"`, id, f.hex)
			r.requireBlob(t, f)
			require.Empty(t, r.ok(t, `ls "$STORE/docker/registry/v2/repositories/$1/_uploads"`, r.name))
		}},
	})
}
