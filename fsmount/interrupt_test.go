package fsmount_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// steps writes a file step by step, as lines on standard input say, and tells
// how each went: open, half, rest, sync, close.
//
//	steps PATH FILE
//
// It writes what FILE holds, the second half first, so that closing has to hash
// all of it.
func steps(args []string) error {
	content, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	fd, middle := -1, len(content)/2
	does := map[string]func() error{
		"open": func() (err error) {
			fd, err = unix.Open(args[0], unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
			return err
		},
		"half":  func() error { return write(fd, content[middle:], int64(middle)) },
		"rest":  func() error { return write(fd, content[:middle], 0) },
		"sync":  func() error { return unix.Fsync(fd) },
		"close": func() error { return unix.Close(fd) },
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		err := does[lines.Text()]()
		var errno syscall.Errno
		errors.As(err, &errno)
		fmt.Println(lines.Text(), int(errno))
	}
	return nil
}

// TestTerminationAtEachStep ends the server at each step of an upload.
func TestTerminationAtEachStep(t *testing.T) {
	order := []string{"open", "half", "sync", "rest", "sync", "close"}
	const size = 4 << 20
	type stage struct {
		done   int  // steps before the signal
		during bool // the next is under way
	}
	var stages []stage
	for n := range len(order) + 1 {
		stages = append(stages, stage{n, false})
	}
	stages = append(stages, stage{1, true}, stage{4, true}, stage{5, true})

	for name, drain := range map[string]time.Duration{"served to its end": patience, "cut off": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			for _, s := range stages {
				where := "before open"
				if s.done > 0 {
					where = fmt.Sprintf("after %s, step %d", order[s.done-1], s.done)
				}
				if s.during {
					where = fmt.Sprintf("during %s, step %d", order[s.done], s.done+1)
				}
				t.Run(where, func(t *testing.T) {
					t.Parallel()
					m := newMount(t, serveOptions{Store: t.TempDir(), Drain: drain})
					r := m.repo(t)
					f := r.random(t, "f", size)
					writer := r.start(t, "env", roleEnv+"=steps", "sh", "-c", `exec "$SELF" "$@"`, "sh",
						filepath.Join(r.dir(), "_blobs/sha256", f.hex), f.path)
					begin := func(step string) {
						_, err := fmt.Fprintln(writer.stdin, step)
						require.NoError(t, err)
					}
					isOpen, isWhole, isClosed := false, true, false
					end := func(step string) {
						line := writer.line(t)
						ok := line == step+" 0"
						isOpen = isOpen || ok && step == "open"
						isWhole = isWhole && ok
						isClosed = isWhole && step == "close"
						if isOpen && drain == patience {
							require.Equal(t, step+" 0", line)
						}
					}
					for _, step := range order[:s.done] {
						begin(step)
						end(step)
					}
					rest := order[s.done:]
					if s.during {
						begin(rest[0])
					}
					require.NoError(t, m.server.Process.Signal(syscall.SIGTERM))
					if s.during {
						end(rest[0])
						rest = rest[1:]
					} else {
						r.until(t, `! mountpoint -q "$M"`)
					}
					for _, step := range rest {
						begin(step)
						end(step)
					}
					writer.finish(t)
					m.wait(t)
					require.Zero(t, m.server.ProcessState.ExitCode())
					r.ok(t, `ls "$M"; ! mountpoint -q "$M"`)

					stored, err := os.ReadFile(filepath.Join(m.store, f.stored()))
					content, contentErr := f.content()
					require.NoError(t, contentErr)
					if isClosed {
						require.NoError(t, err, "what was acknowledged is there")
					}
					if err == nil {
						require.Equal(t, content, stored)
					} else if isOpen && s.done >= 2 {
						r.mount = m.again(t, serveOptions{})
						require.NotEmpty(t, r.ok(t, `ls "$R/_uploads"`), "what was written is kept")
						r.pushBlobs(t, f)
						r.requireBlob(t, f)
					}
				})
			}
		})
	}
}

// TestWritersAreKilled kills programs that write at random moments. What they
// wrote is a blob, whole, or an upload that can be gone on with, or nothing.
func TestWritersAreKilled(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 6
	}
	const size = 4 << 20
	programs := map[string]string{
		"cp":    `exec cp "$1" "$R/_blobs/sha256/$2"`,
		"dd":    `exec dd if="$1" of="$R/_blobs/sha256/$2" bs=64k conv=fsync status=none`,
		"rsync": `exec rsync -a "$1" "$R/_blobs/sha256/$2"`,
		"tar":   `tar -C "$W" -cf - "$(basename "$1")" | exec tar -C "$R/_blobs" -xf -`,
	}
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}
	var cases []mountCase
	for name, script := range programs {
		cases = append(cases, mountCase{name, func(t *testing.T, r *repo) {
			x := rand.New(rand.NewPCG(seed(t), 0))
			// Undisturbed it takes about as long as it may until the signal comes.
			whole, began := r.random(t, "whole", size), time.Now()
			r.ok(t, script, whole.path, whole.hex)
			most := int(2 * time.Since(began))
			begun, pushed := []string{whole.hex}, []string{whole.hex}
			for n := range rounds {
				f := r.random(t, "f", size)
				begun = append(begun, f.hex)
				writer := r.start(t, "sh", "-c", script, "sh", f.path, f.hex)
				time.Sleep(time.Duration(x.IntN(most)))
				_ = syscall.Kill(-writer.Process.Pid, signals[n%len(signals)])
				state := writer.finish(t)
				// The kernel releases the file some time after the process ends.
				r.until(t, `for id in $(ls "$R/_uploads"); do exec 3>>"$R/_uploads/$id"; done`)
				if state.Success() {
					pushed = append(pushed, f.hex)
					r.requireBlob(t, f)
				}
				// What was opened and not written may still be there, unlisted.
				r.ok(t, `ls "$R/_blobs/sha256" > "$W/ls"; ! grep -q "$2" "$W/ls" || cmp "$R/_blobs/sha256/$2" "$1"`, f.path, f.hex)
				// What a busy disk has not yet taken cannot be removed.
				r.ok(t, `cd "$R/_uploads"; for id in $(ls); do cmp -n "$(stat -c %s $id)" "$id" "$1"; done`, f.path)
				r.until(t, `cd "$R/_uploads"; for id in $(ls); do rm "$id"; done`)
			}
			r.ok(t, `cd "$R/_blobs/sha256"; for f in *; do echo "$f  $f"; done > "$W/sums"; sha256sum --quiet --strict -c "$W/sums"`)
			have := strings.Fields(r.ok(t, `ls "$R/_blobs/sha256"`))
			require.Subset(t, have, pushed)
			require.Subset(t, begun, have, "no part of one is a blob")
			t.Logf("%d of %d came through, %d are there", len(pushed)-1, rounds, len(have))
			f := r.random(t, "last", size)
			r.pushBlobs(t, f)
			r.requireBlob(t, f)
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}})
	}
	onDirectory(t, serveOptions{}, cases)
}
