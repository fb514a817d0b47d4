package fsmount_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// begin starts a script that meets trouble at such calls, and returns when it
// has.
func (r *repo) begin(t *testing.T, calls, script string, args ...string) *process {
	t.Helper()
	r.meet(t, "stuck", calls)
	p := r.start(t, "sh", append([]string{"-c", "exec " + script, "sh"}, args...)...)
	r.met(t)
	return p
}

// diesOf sends a signal to a program that it kills.
func (p *process) diesOf(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, p.Process.Signal(s))
	require.Equal(t, s, p.finish(t).Sys().(syscall.WaitStatus).Signal())
}

// A program that is killed while the driver hangs ends, whatever it waits for,
// and nobody else is held up. Once the driver goes on, what it had begun is done
// as a whole or not at all, and can be done again.
func TestKilledWhileTheDriverHangs(t *testing.T) {
	t.Parallel()
	r := troubled(t, serveOptions{})
	other := r.random(t, "other", 1000)
	r.pushBlobs(t, other)
	i := r.pushed(t, "image", "v1")
	for n, w := range append(writes[:len(writes):len(writes)], syncing) {
		signals := []syscall.Signal{syscall.SIGINT, syscall.SIGKILL, syscall.SIGQUIT}
		if testing.Short() {
			signals = signals[n%len(signals):][:1]
		}
		for _, s := range signals {
			if w == syncing && s == syscall.SIGINT {
				s = syscall.SIGTERM // dd handles the first of those
			}
			t.Run(fmt.Sprintf("%s/%v", w.name, s), func(t *testing.T) {
				blob := r.random(t, w.name, 300_000+10*n+int(s))
				args := []string{blob.path, blob.hex, i.manifest.path, i.manifest.hex}
				writer := r.begin(t, w.calls, w.script, args...)
				r.requireBlob(t, other)
				writer.diesOf(t, s)
				r.requireBlob(t, other)
				r.ok(t, `ls "$M" "$R"; cat "$M/.registryfs/errors"`)
				r.calm(t)
				// What was kept can be gone on with, and removed.
				const removed = `cd "$R/_uploads"; for id in $(ls); do cmp -n "$(stat -c %s $id)" $id "$1"; rm $id; done; test -z "$(ls)"`
				r.until(t, removed, blob.path)
				// What there is is whole.
				r.ok(t, `cd "$R/_blobs/sha256"; for f in *; do echo "$f  $f"; done | sha256sum --quiet --strict -c -
					cd "$R/_tags"; for f in *; do cmp "$f" "$1"; done; rm -f v2; test -e v1 || ln -s "sha256:$2" v1`, i.manifest.path, i.manifest.hex)
				r.ok(t, w.script, args...)
				r.ok(t, `cd "$R/_tags"; rm -f v2; test -e v1 || ln -s "sha256:$1" v1`, i.manifest.hex)
				r.requireTag(t, "v1", i.manifest)
				r.until(t, removed, blob.path)
			})
		}
	}
}

// Nor does it hang at a driver that knows nothing of who gives up.
func TestKilledReaders(t *testing.T) {
	t.Parallel()
	r := troubled(t, serveOptions{})
	f := r.random(t, "f", 300_000)
	r.pushBlobs(t, f)
	r.pushed(t, "image", "v1")
	r.mount.stop(t) // it has verified what it committed
	r.mount = r.mount.again(t, serveOptions{Trouble: r.trouble})
	for _, c := range []struct{ calls, script string }{
		{`^list .*/tags$`, `ls "$R/_tags/"`},
		{`^openat .*/v1/current/link$`, `stat "$R/_tags/v1"`},
		{`^readat .*/data$`, `cat "$R/_blobs/sha256/$1"`},
	} {
		reader := r.begin(t, c.calls, c.script, f.hex)
		reader.diesOf(t, syscall.SIGINT)
		r.calm(t)
		r.ok(t, c.script, f.hex)
	}
}

// A signal that a program handles ends nothing; one that comes after it, of
// which the kernel does not tell, does.
func TestKilledAfterASignalThatIsHandled(t *testing.T) {
	t.Parallel()
	r := troubled(t, serveOptions{})
	blob := r.random(t, "blob", 300_000)
	// dd handles the first SIGINT.
	dd := r.begin(t, syncing.calls, syncing.script, blob.path, blob.hex)
	require.NoError(t, dd.Process.Signal(syscall.SIGINT))
	r.until(t, `grep -q "^State:.D" "/proc/$1/status"`, fmt.Sprint(dd.Process.Pid)) // it waits on
	dd.diesOf(t, syscall.SIGTERM)
	r.calm(t)
	r.until(t, `cd "$R/_uploads"; for id in $(ls); do mv "$id" "$R/_blobs/sha256/$1"; done`, blob.hex)
	r.requireBlob(t, blob)
}

// Who looks at a file that is being written is not held up.
func TestLookingWhileAWriteHangs(t *testing.T) {
	t.Parallel()
	r := troubled(t, serveOptions{})
	f := r.random(t, "f", 300_000)
	cp := r.begin(t, `^write `, `cp "$1" "$R/_blobs/.scratch"`, f.path)
	require.Equal(t, "0", r.ok(t, `ls -la "$R/_blobs" > "$W/list"; stat -c %s "$R/_blobs/.scratch"`))
	cp.diesOf(t, syscall.SIGINT)
	r.calm(t)
	r.until(t, `rm "$R/_blobs/.scratch"; test -z "$(ls "$R/_uploads")"`)
}

// A process that is dying cannot be killed any more: what it had open it leaves
// at once, also where another is publishing that.
func TestADyingProcessWaitsForNothing(t *testing.T) {
	t.Parallel()
	r := troubled(t, serveOptions{})
	opener := r.begin(t, `^commit `, `sh -c 'exec 3> "$R/_blobs/name"; sleep 1000 & echo $!; echo content >&3; exec 3>&-; wait'`)
	child := opener.line(t)
	r.ok(t, `kill -9 "$1"`, child)
	r.until(t, `grep -q "^State:.Z" "/proc/$1/status"`, child)
	r.calm(t)
	require.True(t, opener.finish(t).Success(), "%s", opener.stderr)
	require.Equal(t, "content", r.ok(t, `cat "$R/_blobs/name"`))
}
