package fsmount_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/drivertest"
)

// trouble is a way in which calls of the driver of a server go wrong: "error",
// "panic", "hang" until the caller gives up, "stuck" until the trouble ends, or
// "flip", which is of a bit that was read. A file tells the server of it, and a regular
// expression for the calls, as drivertest.Hooks writes them; the calls that met
// it are in another.
type trouble string

// metSuffix names the file of what met trouble.
const metSuffix = ".met"

// inTrouble is a driver to which happens what a file says.
func inTrouble(d driver.Driver, file string) driver.Driver {
	kindOf := func(call string) string {
		text, err := os.ReadFile(file)
		kind, calls, _ := strings.Cut(string(text), " ")
		if err != nil || kind == "" || !regexp.MustCompile(calls).MatchString(call) {
			return ""
		}
		met, err := os.OpenFile(file+metSuffix, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			panic(err)
		}
		defer met.Close()
		if _, err := met.WriteString(call + "\n"); err != nil {
			panic(err)
		}
		return kind
	}
	return drivertest.Hooks{
		Before: func(ctx context.Context, call string) error {
			if strings.HasPrefix(call, "flip ") {
				return nil
			}
			switch kindOf(call) {
			case "error":
				return syscall.EIO
			case "panic":
				panic("trouble at " + call)
			case "hang": // until the caller gives up
				<-ctx.Done()
				return ctx.Err()
			case "stuck": // until the trouble ends
				for err := error(nil); err == nil; _, err = os.Stat(file) {
					time.Sleep(10 * time.Millisecond)
				}
			}
			return nil
		},
		Read: func(call string, p []byte, err error) ([]byte, error) {
			if len(p) > 0 && kindOf("flip "+call) == "flip" {
				p[len(p)/2] ^= 1
			}
			return p, err
		},
	}.Wrap(d)
}

// troubled is a mount of a directory in whose driver things go wrong.
func troubled(t *testing.T, o serveOptions) *repo {
	t.Helper()
	o.Store, o.Trouble = t.TempDir(), filepath.Join(t.TempDir(), "trouble")
	r := newMount(t, o).repo(t)
	r.trouble = o.Trouble
	return r
}

// meet makes trouble for calls.
func (r *repo) meet(t *testing.T, kind trouble, calls string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(r.trouble+metSuffix))
	require.NoError(t, os.WriteFile(r.trouble+".new", []byte(string(kind)+" "+calls), 0o600))
	require.NoError(t, os.Rename(r.trouble+".new", r.trouble))
}

// met waits until a call has met trouble.
func (r *repo) met(t *testing.T) {
	t.Helper()
	got := r.sh(t, `for i in $(seq 1000); do test -s "$1" && exit 0; sleep 0.02; done
		grep "$M" /proc/mounts; ps -ef | grep "$M"; ls "$M" "$R"; cat "$M/.registryfs/errors"; exit 1`, r.trouble+metSuffix)
	require.Zero(t, got.status, "nothing met trouble: %s%s", got.stdout, got.stderr)
}

// calm ends all trouble.
func (r *repo) calm(t *testing.T) {
	t.Helper()
	require.NoError(t, os.Remove(r.trouble))
}

// syncing is one more, after which closing may yet succeed.
var syncing = troubledWrite{"sync", `dd if="$1" of="$R/_blobs/sha256/$2" conv=fsync status=none`, `^fsync `}

type troubledWrite struct{ name, script, calls string }

// writes is what is done to a repository with an image that is tagged v1, and
// the calls of the driver in the middle of it. The scripts get a blob in a file,
// and in hex, that nobody has pushed, and the same of the image's manifest. They
// are one command each.
var writes = []troubledWrite{
	{"create", `cp "$1" "$R/_blobs/sha256/$2"`, `^writer `},
	{"write", `cp "$1" "$R/_blobs/sha256/$2"`, `^write `},
	{"commit", `cp "$1" "$R/_blobs/sha256/$2"`, `^commit `},
	{"publish", `cp "$1" "$R/_blobs/sha256/$2"`, `^movenew `},
	{"link", `cp "$1" "$R/_blobs/sha256/$2"`, `^put .*/_layers/`},
	{"tag", `ln -s v1 "$R/_tags/v2"`, `^movedir .*staging`},
	{"retag", `ln -sfn "../_manifests/sha256/$4" "$R/_tags/v1"`, `^put .*/tags/v1/current/link`},
	{"rename a tag", `mv -T "$R/_tags/v1" "$R/_tags/v2"`, `^movedir .*staging`},
	{"untag", `rm "$R/_tags/v1"`, `^movedir .*trash`},
	{"push", `cp "$3" "$R/_tags/v1"`, `^put .*/revisions/`},
}

// onWrites does each of writes, which is to fail in trouble, and then, when all
// is calm, again.
func (r *repo) onWrites(t *testing.T, kind trouble, i image, failing func(t *testing.T, script string, args ...string)) {
	for n, w := range writes {
		t.Run(w.name, func(t *testing.T) {
			blob := r.random(t, w.name, 50_000+n)
			args := []string{blob.path, blob.hex, i.manifest.path, i.manifest.hex}
			r.meet(t, kind, w.calls)
			failing(t, w.script, args...)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+blob.hex)
			r.calm(t)
			r.ok(t, w.script, args...)
			r.ok(t, `test -L "$R/_tags/v1" || ln -s "sha256:$4" "$R/_tags/v1"; rm -f "$R/_tags/v2"`, args...)
			r.requireTag(t, "v1", i.manifest)
		})
	}
}

// isIOError runs a script that fails with EIO.
func (r *repo) isIOError(t *testing.T, script string, args ...string) {
	t.Helper()
	r.fails(t, "Input/output error", script, args...)
	r.met(t)
}

// A panic in the driver, in whatever goroutine, is an I/O error of that one
// operation.
func TestPanics(t *testing.T) {
	t.Parallel()
	r := troubled(t, serveOptions{})
	f := r.random(t, "read", 100_000)
	r.pushBlobs(t, f)
	i := r.pushed(t, "image", "v1")
	r.mount.stop(t) // it has verified what it committed
	r.mount = r.mount.again(t, serveOptions{Trouble: r.trouble})
	for calls, script := range map[string]string{
		`^openat .*/data$`:            `cat "$R/_blobs/sha256/$1"`,
		`^fstat .*/data$`:             `cat "$R/_blobs/sha256/$1"`,
		`^readat .*/data$`:            `cat "$R/_blobs/sha256/$1"`,
		`^list .*/tags$`:              `ls "$R/_tags/"`,
		`^openat .*/v1/current/link$`: `stat "$R/_tags/v1"`,
	} {
		r.meet(t, "panic", calls)
		r.isIOError(t, script, f.hex)
		r.calm(t)
	}
	r.requireBlob(t, f)
	r.onWrites(t, "panic", i, r.isIOError)
}

// What the driver fails with reaches the caller, and nothing is there that was
// not acknowledged; then it works again.
func TestDriverErrors(t *testing.T) {
	t.Parallel()
	r := troubled(t, serveOptions{})
	r.onWrites(t, "error", r.pushed(t, "image", "v1"), r.isIOError)

	blob := r.random(t, syncing.name, 50_000)
	r.meet(t, "error", syncing.calls)
	r.isIOError(t, syncing.script, blob.path, blob.hex)
	r.isGone(t, r.dir()+"/_blobs/sha256/"+blob.hex)
	r.calm(t)
	r.ok(t, syncing.script, blob.path, blob.hex)
	r.requireBlob(t, blob)
}

// What cannot be published makes closing fail, which most programs tell. Where
// one does not, .registryfs/errors does.
func TestClosingFails(t *testing.T) {
	t.Parallel()
	r := troubled(t, serveOptions{})
	for _, script := range []string{
		`cp "$1" "$R/_blobs/sha256/$2"`, `cat "$1" > "$R/_blobs/sha256/$2"`, `tee "$R/_blobs/sha256/$2" < "$1" > /dev/null`,
		`dd if="$1" of="$R/_blobs/sha256/$2" status=none`, `cp "$1" "$R/_blobs/name"`, `rsync "$1" "$R/_blobs/sha256/$2"`,
		`install "$1" "$R/_blobs/name"`, `tar -C "$W" -cf - "$(basename "$1")" | tar -C "$R/_blobs" -xf -`,
	} {
		f := r.random(t, "f", 50_000)
		r.meet(t, "error", `^movenew `)
		r.isIOError(t, script, f.path, f.hex)
		require.Equal(t, "sha256", r.ok(t, `ls "$R/_blobs"; ls "$R/_blobs/sha256"`))
		r.calm(t)
	}
	r.meet(t, "error", `^movenew `)
	r.ok(t, `echo content > "$R/_blobs/builtin"`)
	r.met(t)
	r.calm(t)
	r.errorsSay(t, "close", "/"+r.name+"/_blobs/builtin", "input/output error")
	r.isGone(t, r.dir()+"/_blobs/builtin")
}

// What is not what was stored is never shown, nor remembered.
func TestFlippedReads(t *testing.T) {
	t.Parallel()
	r := troubled(t, serveOptions{})
	f := r.random(t, "read", 300_000)
	r.pushBlobs(t, f)
	i := r.pushed(t, "image", "v1")
	r.mount.stop(t)
	r.mount = r.mount.again(t, serveOptions{Trouble: r.trouble})
	r.meet(t, "flip", `^flip readat .*/data$`)
	got := r.sh(t, `cat "$R/_blobs/sha256/$1"`, f.hex)
	require.Contains(t, got.stderr, "Input/output error")
	require.Empty(t, got.stdout, "a byte that nobody has stored")
	r.met(t)
	r.fails(t, "Input/output error", `cat "$R/_tags/v1"`)
	r.meet(t, "flip", `^flip readat .*/v1/current/link$`)
	r.fails(t, "", `cat "$R/_tags/v1"`)
	r.calm(t)
	r.requireBlob(t, f)
	r.requireTag(t, "v1", i.manifest)
}

// A driver that hangs lets go of a reader that gives up, and holds up nobody
// else; the mount can be ended all the same.
func TestHangs(t *testing.T) {
	t.Parallel()
	const drain = 100 * time.Millisecond
	r := troubled(t, serveOptions{})
	f, f2, other := r.random(t, "f", 100_000), r.random(t, "f2", 100_000), r.random(t, "other", 1000)
	r.pushBlobs(t, f, f2, other)
	i := r.pushed(t, "image", "v1")
	again := func() { // until this test ends, not the case
		t.Helper()
		r.mount.wait(t)
		r.mount = r.mount.again(t, serveOptions{Trouble: r.trouble, Drain: drain})
	}
	r.mount.stop(t) // it has verified what it committed
	again()
	for calls, hex := range map[string]string{`^openat .*/` + f.hex + `/data$`: f.hex, `^readat .*/` + f2.hex + `/data$`: f2.hex} {
		t.Run(calls[1:7], func(t *testing.T) {
			r.meet(t, "hang", calls)
			cat := r.start(t, "cat", r.dir()+"/_blobs/sha256/"+hex)
			r.met(t)
			r.requireBlob(t, other)
			require.NoError(t, cat.Process.Signal(syscall.SIGINT))
			require.Equal(t, syscall.SIGINT, cat.finish(t).Sys().(syscall.WaitStatus).Signal())
			r.calm(t)
			r.requireBlob(t, file{hex: hex})
		})
	}
	t.Run("unmount", func(t *testing.T) {
		r.mount.stop(t)
		again()
		r.meet(t, "hang", `^readat .*/data$`)
		cat := r.start(t, "cat", r.dir()+"/_blobs/sha256/"+f.hex)
		r.met(t)
		r.mount.stop(t)
		require.False(t, cat.finish(t).Success())
		r.calm(t)
		again()
	})
	// What is being published is published, or not, but not given up half way;
	// when the mount is ended, it is left as a crash leaves it.
	for _, w := range writes {
		if w.name != "commit" {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			blob, open := r.random(t, w.name, 50_000), r.random(t, "open", 20_000)
			content, err := open.content()
			require.NoError(t, err)
			_, _, id := r.blockedCopy(t, "_blobs/open", content)
			args := []string{blob.path, blob.hex, i.manifest.path, i.manifest.hex}
			writer := r.begin(t, w.calls, w.script, args...)
			r.requireBlob(t, other)
			require.NoError(t, r.mount.server.Process.Signal(syscall.SIGTERM))
			r.until(t, `! grep -q " $M " /proc/mounts`) // it is detached at once
			again()
			require.False(t, writer.finish(t).Success())
			r.calm(t)
			r.requireTag(t, "v1", i.manifest)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+blob.hex)
			r.ok(t, `cmp "$R/_uploads/$1" "$2"`, id, open.path) // it was not held up
			r.ok(t, w.script, args...)
		})
	}
	r.requireBlob(t, f)
	r.requireTag(t, "v1", i.manifest)
}
