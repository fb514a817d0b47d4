package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

var (
	killRounds = flag.Int("kill-rounds", 500, "rounds of TestKillLoop; 5 in short runs, unless given")
	killSeed   = flag.Uint64("kill-seed", 1, "where TestKillLoop begins")
)

const (
	killRoundsShort = 5
	roundsPerStore  = 20 // after so many a new store begins
	killedWriters   = 6
	killAfterMost   = 80                   // acknowledgements
	killDelayMost   = 3 * time.Millisecond // after those
	killTries       = 10                   // moments at which nothing was in flight
)

// Several programs write to a mount, each in ways of its own, and the daemon is
// killed at some moment. Then the registry is mounted again, checked, and all
// that was ever acknowledged is read back. What was in flight is there or not.
func TestKillLoop(t *testing.T) {
	rounds := *killRounds
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "kill-rounds" })
	if testing.Short() && !given {
		rounds = killRoundsShort
	}
	var total killTotals
	var k *killed
	for round := range rounds {
		seed := *killSeed + uint64(round)
		if round%roundsPerStore == 0 {
			if k != nil {
				k.end(t)
			}
			// In every other store gc runs beside the writers.
			k = newKilled(t, round/roundsPerStore%2 == 1 || testing.Short() && rounds < roundsPerStore)
		}
		for try := 0; ; try++ {
			require.Less(t, try, killTries, "seed %d: nothing is ever in flight when the daemon is killed", seed)
			a := k.round(t, seed, uint64(try))
			total.acknowledged += a.acknowledged
			total.inFlight += a.inFlight
			if a.inFlight > 0 {
				break
			}
			total.idle++
		}
		if total.rounds++; total.rounds%roundsPerStore == 0 {
			t.Logf("%+v", total)
		}
	}
	k.end(t)
	t.Logf("%+v, from seed %d", total, *killSeed)
}

// killTotals are figures for the log.
type killTotals struct {
	rounds, acknowledged, inFlight, idle int
}

// killed is a mount whose daemon is killed again and again.
type killed struct {
	store, mnt string
	collects   bool // gc runs beside it
	server     *server
	known      ledger
}

func newKilled(t *testing.T, collects bool) *killed {
	k := &killed{store: newStore(t), mnt: mountPoint(t), collects: collects, known: ledger{}}
	k.mount(t)
	return k
}

func (k *killed) mount(t *testing.T) {
	t.Helper()
	k.server = startServer(t, k.store, k.mnt, "--allow-delete", fmt.Sprintf("--exclusive=%t", k.collects))
}

// collect runs gc beside the mount, again and again, until stop is closed or it
// fails, which it may only once the daemon is dead. It returns how often.
func (k *killed) collect(stop <-chan struct{}) (times int, err error) {
	for k.collects {
		select {
		case <-stop:
			return times, nil
		default:
		}
		out, err := exec.Command("timeout", "60", program, "gc", "--grace", "0", k.store).CombinedOutput()
		if err != nil {
			return times, fmt.Errorf("%w: %s", err, out)
		}
		times++
	}
	return 0, nil
}

// end unmounts, looks at all of it through a fresh mount, and leaves nothing.
func (k *killed) end(t *testing.T) {
	t.Helper()
	for range 2 {
		k.unmount(t)
		status, rest := k.server.end(t)
		require.Equal(t, exitOK, status, rest)
		k.mount(t)
		require.Empty(t, k.known.audit(accounts{}, k.look(t, accounts{})))
	}
	k.unmount(t)
	require.NoError(t, os.RemoveAll(k.store))
}

// unmount has much patience: the daemon lives as long as there is a mount
// namespace, of any other program, that was made while it was mounted.
func (k *killed) unmount(t *testing.T) {
	t.Helper()
	r := executeWithin(t, 10*patience, program, "unmount", k.mnt)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.False(t, isMounted(t, k.mnt))
}

// round lets writers write, kills the daemon, and looks at what is left.
func (k *killed) round(t *testing.T, seed, try uint64) accounts {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, try))
	shell(t, `cd "$1"; mkdir -p team/app0 team/app1 team/app2 prod/app0 prod/app1 "$2"`, k.mnt, sharedRepo)
	var orders []order
	for i := range killedWriters {
		o := order{
			Mount: k.mnt, Name: fmt.Sprintf("r%d-%d-w%d", seed, try, i), Seed: rnd.Uint64(),
			Repo: fmt.Sprintf("team/app%d", i%3), Promoted: fmt.Sprintf("prod/app%d", i%2),
		}
		o.Uploads = []string{k.newUpload(t, o.Repo), k.newUpload(t, o.Repo)}
		orders = append(orders, o)
	}
	after := int64(1 + rnd.IntN(killAfterMost))
	delay := time.Duration(rnd.Int64N(int64(killDelayMost)))

	var acknowledged atomic.Int64
	reached := make(chan struct{})
	deeds, wait := startWriters(t, orders, func(d deed) {
		if d.Done && d.Errno == 0 && acknowledged.Add(1) == after {
			close(reached)
		}
	})
	ended, dying := make(chan struct{}), make(chan struct{})
	go func() { wait(); close(ended) }()
	var collecting sync.WaitGroup
	collecting.Go(func() {
		times, err := k.collect(dying)
		select {
		case <-dying: // it may have met the daemon dead
		default:
			if err != nil {
				t.Errorf("seed %d: gc, at its run %d: %v", seed, times, err)
			}
		}
	})
	select {
	case <-reached:
		time.Sleep(delay) // any moment will do
	case <-ended:
	case <-time.After(10 * patience): // it is killed, and the test fails below
	}
	died := time.Now().UnixNano()
	close(dying)
	require.NoError(t, k.server.Process.Kill())
	said, err := io.ReadAll(k.server.stderr)
	require.NoError(t, err)
	_ = k.server.Wait()
	// Whatever hangs is let go when the kernel ends the connection.
	stuck := time.AfterFunc(patience, func() { _ = exec.Command("umount", "-f", k.mnt).Run() })
	<-ended
	collecting.Wait()
	require.True(t, stuck.Stop(), "seed %d: a writer hangs after the kill", seed)

	a := k.known.settle(*deeds, died)
	require.Empty(t, a.refused, "seed %d; the daemon said:\n%s", seed, said)
	require.GreaterOrEqual(t, int64(a.acknowledged), after, "seed %d", seed)

	k.mount(t)
	if k.collects {
		r := registryfs(t, "gc", "--grace", "0", k.store)
		require.Equal(t, exitOK, r.status, "seed %d\n%s%s", seed, r.stdout, r.stderr)
	}
	r := registryfs(t, "check", k.store)
	require.Equal(t, exitOK, r.status, "seed %d\n%s%s", seed, r.stdout, r.stderr)
	k.doAgain(t, a)
	require.Empty(t, k.known.audit(a, k.look(t, a)), "seed %d, in flight: %+v", seed, a.open)
	return a
}

// newUpload begins an upload as a stock registry that ended has left it.
func (k *killed) newUpload(t *testing.T, repo string) (id string) {
	t.Helper()
	id = uuid.NewString()
	dir := filepath.Join(k.store, storeDir, "repositories", repo, "_uploads", id)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "startedat"), []byte(time.Now().UTC().Format(time.RFC3339)), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), nil, 0o644))
	k.known[uploadPath(repo, id)] = "0"
	return id
}

// look asks another program what is in the mount.
func (k *killed) look(t *testing.T, a accounts) map[string]string {
	t.Helper()
	return lookAt(t, k.mnt, k.known.paths(a))
}

func lookAt(t *testing.T, mnt string, paths []string) map[string]string {
	t.Helper()
	stuck := time.AfterFunc(patience, func() { _ = exec.Command("umount", "-f", mnt).Run() })
	defer stuck.Stop()
	q, err := json.Marshal(question{mnt, paths})
	require.NoError(t, err)
	cmd := roleCommand("look")
	cmd.Stdin = bytes.NewReader(q)
	out, err := cmd.Output()
	require.NoError(t, err)
	var found map[string]string
	require.NoError(t, json.Unmarshal(out, &found))
	return found
}

// doAgain finishes, or cancels, those uploads that the daemon was doing that to
// when it was killed and whose bytes are gone already: to be a blob, perhaps
// not yet one of the repository. The name of an upload is the last to go.
func (k *killed) doAgain(t *testing.T, a accounts) {
	t.Helper()
	for _, d := range a.open {
		var upload, blob string
		for path, value := range d.Makes {
			if value == gone {
				upload = path
			} else {
				blob = path
			}
		}
		switch {
		case d.What != finishUpload && d.What != cancelUpload, lookAt(t, k.mnt, []string{upload})[upload] != "0":
		case d.What == finishUpload:
			shell(t, `mv "$1/$2" "$1/$3"`, k.mnt, upload, blob)
		default:
			shell(t, `rm "$1/$2"`, k.mnt, upload)
		}
	}
}

// roleCommand is this binary as another program.
func roleCommand(role string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// startWriters starts a writer for each order. Each line that one tells goes to
// heard, from several goroutines, and is kept; the deeds of all are there after
// wait.
func startWriters(t *testing.T, orders []order, heard func(deed)) (told *[][]deed, wait func()) {
	t.Helper()
	deeds := make([][]deed, len(orders))
	var wg sync.WaitGroup
	for i, o := range orders {
		cmd := roleCommand("write")
		text, err := json.Marshal(o)
		require.NoError(t, err)
		cmd.Stdin = strings.NewReader(string(text))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		wg.Go(func() {
			for lines := json.NewDecoder(out); ; {
				var d deed
				if err := lines.Decode(&d); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					deeds[i] = append(deeds[i], deed{What: "what a writer says is torn: " + err.Error()})
					break
				}
				deeds[i] = append(deeds[i], d)
				heard(d)
			}
			if err := cmd.Wait(); err != nil {
				deeds[i] = append(deeds[i], deed{N: -1, What: "the writer failed"}, deed{N: -1, Done: true, Errno: 1, Fault: err.Error()})
			}
		})
	}
	return &deeds, wg.Wait
}
