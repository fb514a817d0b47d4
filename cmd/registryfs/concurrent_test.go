package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

// twoMounts is a store with a stock registry and two mounts.
type twoMounts struct {
	store string
	mnt   [2]string
	peer  *peer
}

func newTwoMounts(t *testing.T) *twoMounts {
	m := &twoMounts{store: newPeerStore(t)}
	m.peer = startPeer(t, m.store)
	for i := range m.mnt {
		m.mnt[i] = mountPoint(t)
		startServer(t, m.store, m.mnt[i], "--allow-delete")
	}
	return m
}

// end unmounts, and checks the store.
func (m *twoMounts) end(t *testing.T) {
	t.Helper()
	for _, mnt := range m.mnt {
		require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, mnt))
		require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
		require.False(t, isMounted(t, mnt))
	}
	r := executeWithin(t, 10*patience, program, "check", m.store)
	require.Equal(t, exitOK, r.status, "%s%s", r.stdout, r.stderr)
	for line := range strings.Lines(r.stdout) {
		require.Contains(t, line, "/registryfs/trash/", "only tags that were removed are left over")
	}
}

// Programs write through two mounts in every way there is, and all of them move
// one tag, while others read it through the mounts and through a stock
// registry, to which images are pushed, and gc looks through the store.
func TestTwoMountsAndARegistry(t *testing.T) {
	deeds := 400
	if testing.Short() {
		deeds = 25
	}
	m := newTwoMounts(t)
	latest := filepath.Join(sharedRepo, "_tags/latest")
	copyIn(t, makeLayout(t, "first"), m.mnt[0], sharedRepo, "latest")
	shell(t, `cd "$1"; mkdir -p team/app0 team/app1 team/app2 prod/app0 prod/app1`, m.mnt[0])
	shell(t, `cd "$1"; mkdir -p team/app0 team/app1 team/app2 prod/app0 prod/app1`, m.mnt[1])

	var orders []order
	for i := range 6 {
		orders = append(orders, order{
			Mount: m.mnt[i%2], Name: fmt.Sprintf("w%d", i), Seed: uint64(i), Deeds: deeds,
			Repo: fmt.Sprintf("team/app%d", i%3), Promoted: fmt.Sprintf("prod/app%d", i%2),
		})
	}
	var readers []*follower
	for _, mnt := range m.mnt {
		readers = append(readers, follow(t, filepath.Join(mnt, latest)))
	}
	told, wait := startWriters(t, orders, func(deed) {})
	done := make(chan struct{})
	go func() { wait(); close(done) }()

	var beside sync.WaitGroup
	var pulls, looks atomic.Int64
	var pullErr error
	while := func(do func() error, count *atomic.Int64, failed *error) {
		beside.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := do(); err != nil {
					*failed = err
					return
				}
				count.Add(1)
			}
		})
	}
	while(func() error {
		resp, content, err := m.peer.do(http.MethodGet, sharedRepo+"/manifests/latest", "", nil)
		if err != nil {
			return err
		}
		named := resp.Header.Get("Docker-Content-Digest")
		if resp.StatusCode != http.StatusOK || named != digest.FromBytes(content).String() {
			return fmt.Errorf("%s: %s of %d bytes", resp.Status, named, len(content))
		}
		return nil
	}, &pulls, &pullErr)
	var gcErr error
	while(func() error {
		out, err := exec.Command(program, "gc", "--dry-run", m.store).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}, &looks, &gcErr)
	pushed := makeLayout(t, "pushed")
	m.peer.push(t, pushed, "team/app0", "pushed")
	m.peer.push(t, pushed, sharedRepo, "pushed")

	select {
	case <-done:
	case <-time.After(10 * patience):
		require.FailNow(t, "the writers hang")
	}
	beside.Wait()
	require.NoError(t, pullErr, "the registry")
	require.NoError(t, gcErr, "gc")
	reads := 0
	for _, r := range readers {
		reads += r.stop(t)
	}
	known := ledger{}
	a := known.settle(*told, time.Now().UnixNano())
	require.Empty(t, a.refused)
	require.Empty(t, a.open)
	require.Positive(t, pulls.Load())
	require.Positive(t, looks.Load())
	t.Logf("%d deeds, while the tag was read %d times, pulled %d times, and gc looked %d times",
		a.acknowledged, reads, pulls.Load(), looks.Load())

	awaitTag(t, m.mnt[0], sharedRepo, "latest", m.peer.tagged(t, sharedRepo, "latest"))
	awaitTag(t, m.mnt[1], sharedRepo, "latest", m.peer.tagged(t, sharedRepo, "latest"))
	for _, mnt := range m.mnt {
		// What was removed through the other mount is seen no more after a second.
		require.Eventually(t, func() bool { return len(known.wrong(a, lookAt(t, mnt, known.paths(a)))) == 0 },
			patience, 100*time.Millisecond, "%s", known.wrong(a, lookAt(t, mnt, known.paths(a))))
		checkMounted(t, mnt, "team/app0", "pushed", pushed.image)
		checkMounted(t, mnt, sharedRepo, "pushed", pushed.image)
	}
	m.peer.checkPulled(t, "team/app0", "pushed", pushed)
	m.end(t)
}

// Many write one blob at the same time, through two mounts.
func TestManyWritersOfOneBlob(t *testing.T) {
	m := newTwoMounts(t)
	in := filepath.Join(publicDir(t), "layer")
	sum := fill(t, in, 1, 1<<20)
	// cp creates with O_EXCL what it did not find. Where the other mount has
	// published it since, cp fails, as it would on any shared file system.
	shell(t, `push() { cp "$@" 2>/dev/null || cp "$@"; }
		mkdir -p "$1/team/app" "$2/team/app"
		for i in $(seq 16); do
			push "$3" "$1/team/app/_blobs/sha256/$4" & pids="${pids-} $!"
			push "$3" "$2/team/app/_blobs/sha256/$4" & pids="$pids $!"
			cp "$3" "$1/team/app/_blobs/name$i" & pids="$pids $!"
			cp "$3" "$2/team/app/_blobs/.name$i" && mv "$2/team/app/_blobs/.name$i" "$2/team/app/_blobs/sha256/$4" & pids="$pids $!"
		done
		for pid in $pids; do wait "$pid"; done
	`, m.mnt[0], m.mnt[1], in, sum)
	for _, mnt := range m.mnt {
		shell(t, `cmp "$1" "$2"; ! ls "$3" | grep -v "^$4\$"`, in, filepath.Join(mnt, "team/app/_blobs/sha256", sum),
			filepath.Join(mnt, "team/app/_blobs/sha256"), sum)
		shell(t, `until [ -z "$(ls "$1")" ]; do :; done`, filepath.Join(mnt, "team/app/_uploads"))
	}
	_, content := m.peer.get(t, "team/app/blobs/sha256:"+sum, http.StatusOK)
	require.Equal(t, sum, hexOf(content))
	m.end(t)
}

// What stays in a directory is listed once, each time, whatever else comes and
// goes meanwhile.
func TestListingWhileItChanges(t *testing.T) {
	names, rounds := 100_000, 20
	if testing.Short() {
		names, rounds = 3000, 6
	}
	m := newTwoMounts(t)
	var stable strings.Builder
	for i := range names {
		stable.WriteString(garbage(t, m.store, "team/app", fmt.Sprint(i)).Encoded() + "\n")
	}
	list := writeFile(t, stable.String())
	dir := filepath.Join(m.mnt[0], "team/app/_blobs/sha256")
	stop := filepath.Join(t.TempDir(), "stop")
	changes := exec.Command("sh", "-euc", `
		n=0
		until [ -e "$3" ]; do
			n=$((n + 1))
			hex=$(echo "$n" | sha256sum | cut -c-64)
			echo "$n" > "$1/$hex"
			echo "$n" > "$2/../other"
			rm "$2/../other"
			rm "$1/$hex"
		done
		echo "$n"
	`, "sh", dir, filepath.Join(m.mnt[1], "team/app/_blobs/sha256"), stop)
	var out, errs bytes.Buffer
	changes.Stdout, changes.Stderr = &out, &errs
	require.NoError(t, changes.Start())
	stuck := time.AfterFunc(30*patience, func() { _ = changes.Process.Kill() })
	defer stuck.Stop()
	for i := range rounds {
		r := executeWithin(t, 5*patience, "sh", "-euc", `
			sort "$2" > "$3/stable"
			ls -f "$1" | grep -v '^[.]' | sort > "$3/listed"
			uniq -d "$3/listed" | sed 's/^/twice: /'
			comm -23 "$3/stable" "$3/listed" | sed 's/^/missing: /'
		`, "sh", filepath.Join(m.mnt[i%2], "team/app/_blobs/sha256"), list, t.TempDir())
		require.Zero(t, r.status, r.stderr)
		require.Empty(t, r.stdout)
	}
	require.NoError(t, os.WriteFile(stop, nil, 0o644))
	require.NoError(t, changes.Wait(), "%s", &errs)
	t.Logf("%d names were listed %d times during %s changes", names, rounds, strings.TrimSpace(out.String()))
	m.end(t)
}

// follower is a program that reads a tag again and again.
type follower struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

func follow(t *testing.T, tag string) *follower {
	t.Helper()
	cmd := roleCommand("follow", tag)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &follower{cmd, in, bufio.NewReader(out)}
}

// stop ends it, and returns how often it has read.
func (f *follower) stop(t *testing.T) (reads int) {
	t.Helper()
	require.NoError(t, f.stdin.Close())
	var said struct {
		Reads int
		Fault string
	}
	require.NoError(t, json.NewDecoder(f.out).Decode(&said))
	require.NoError(t, f.cmd.Wait())
	require.Empty(t, said.Fault)
	require.Positive(t, said.Reads)
	return said.Reads
}

// readTagForever is that program. What it reads must be a manifest of the
// repository, whole, until its standard input ends.
func readTagForever(in io.Reader, out io.Writer) error {
	tag := os.Args[1]
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(ended)
	}()
	said := map[string]any{}
	for reads := 0; ; reads++ {
		said["Reads"] = reads
		select {
		case <-ended:
			return json.NewEncoder(out).Encode(said)
		default:
		}
		content, err := os.ReadFile(tag)
		if err == nil {
			_, err = os.Lstat(filepath.Join(filepath.Dir(tag), "../_manifests/sha256", hexOf(content)))
		}
		if err == nil && !json.Valid(content) {
			err = errors.New("it is no manifest")
		}
		if err != nil && said["Fault"] == nil {
			said["Fault"] = fmt.Sprintf("read %d, of %d bytes: %v", reads, len(content), err)
		}
	}
}
