package storage_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"registryfs/storage/storagetest"
)

// fewest is how many points a run must visit to be worth something.
const fewest = 400

// shortStride has no factor in common with the number of the errnos that calls
// fail with in turn.
const shortStride = 7

// stride is the distance between the calls at which something happens: 1, so
// that it happens at all of them, but in a short run.
func stride() int {
	if testing.Short() {
		return shortStride
	}
	return 1
}

// errKilled is what a process that has been killed gets of every call.
var errKilled = errors.New("the process has been killed")

// mortal are the calls of a process that is killed right after the nth of them,
// which is right before the next, or in the middle of it. Only a write has one.
type mortal struct {
	hooked
	at     int
	inside bool

	made int
	dead bool
	last string // the call at which it died
}

func newMortal(at int, inside bool) *mortal {
	m := &mortal{at: at, inside: inside}
	m.hook = m.call
	return m
}

func (m *mortal) call(c *sysCall, do func() error) error {
	if m.dead {
		return errKilled
	}
	if m.made++; m.made < m.at {
		return do()
	}
	if m.inside {
		c.p = c.p[:len(c.p)/2]
	}
	m.dead, m.last = true, c.String()
	_ = do()
	return errKilled
}

// live makes the steps of an operation from done on, after a process that left
// past, until all are made or the process is dead. It returns what the process
// knew and how many steps were acknowledged.
func (s *scene) live(t *testing.T, dir string, m *mortal, past world, done int) (world, int) {
	t.Helper()
	w, err := s.op.enter(t.Context(), dir, m)
	if err != nil {
		require.ErrorIs(t, err, errKilled)
		return past, done
	}
	w.upload, w.again = past.upload, past.again
	for _, step := range s.op.steps[done:] {
		err := step(w)
		if m.dead {
			break // it acknowledges nothing any more
		}
		require.NoError(t, err)
		done++
	}
	m.closeAll()
	w.again = true
	return *w, done
}

// TestKill kills the process at each call of each operation: after it and, where
// it is a write, in the middle. A third of the time the process that goes on
// with the operation is killed too.
func TestKill(t *testing.T) {
	var points atomic.Int64
	t.Run("At", func(t *testing.T) {
		for _, op := range operations() {
			t.Run(op.name, func(t *testing.T) {
				t.Parallel()
				s := newScene(t, op)
				n := 1
				for s.killAt(t, n, &points) {
					n += stride()
				}
				require.Greater(t, n, 1, "no call was seen")
			})
		}
	})
	t.Logf("%d crash points", points.Load())
	require.Greater(t, points.Load(), int64(fewest/stride()))
}

// killAt kills the process at the nth call and counts the points. It returns
// false if the operation has no more calls.
func (s *scene) killAt(t *testing.T, n int, points *atomic.Int64) bool {
	t.Helper()
	for _, inside := range []bool{false, true} {
		dir := s.copy(t)
		m := newMortal(n, inside)
		w, done := s.live(t, dir, m, world{ctx: t.Context()}, 0)
		if !m.dead {
			require.Equal(t, len(s.op.steps), done)
			return false
		}
		points.Add(1)
		died := "killed after " + m.last
		if n%3 == 0 {
			second := newMortal(1+n%7, false)
			w, done = s.live(t, dir, second, w, done)
			died += ", then after " + second.last
		}
		require.NoError(t, s.judge(dir, w, done), "%s; %d steps were done", died, done)
		require.NoError(t, os.RemoveAll(dir))
		if !strings.HasPrefix(m.last, "write ") {
			break
		}
	}
	return true
}

// outage is what a loss of power at some moment leaves.
type outage struct {
	what  string
	files map[string]string
	world world
	done  int
}

// outages runs an operation and collects what a loss of power would leave after
// each call, each only once. dropped is the kind of sync that has no effect.
func (s *scene) outages(t *testing.T, dropped string) []outage {
	t.Helper()
	dir := s.copy(t)
	d := newDisk(t, dir)
	d.dropped = dropped
	w := &world{ctx: t.Context()}
	var found []outage
	known := map[string]bool{}
	done := 0
	record := func(what string) {
		for _, name := range slices.Sorted(maps.Keys(losses)) {
			files := d.left(losses[name])
			if key := fmt.Sprint(done, files); !known[key] {
				known[key] = true
				what := fmt.Sprintf("power lost %s, leaving %s", what, name)
				found = append(found, outage{what, files, *w, done})
			}
		}
	}
	d.after = func(c *sysCall) { record("after " + c.String()) }
	var err error
	w, err = s.op.enter(t.Context(), dir, d)
	require.NoError(t, err)
	record("at first")
	for _, step := range s.op.steps {
		require.NoError(t, step(w))
		done++
		record("when a step was acknowledged")
	}
	require.NoError(t, os.RemoveAll(dir))
	return found
}

// judgeAll judges what power losses left, until something is not as it must be.
func (s *scene) judgeAll(t *testing.T, outages []outage) error {
	t.Helper()
	for _, o := range outages {
		dir := storagetest.MemoryDir(t)
		require.NoError(t, restore(dir, o.files))
		if err := s.judge(dir, o.world, o.done); err != nil {
			return fmt.Errorf("%s; %d steps were done: %w", o.what, o.done, err)
		}
		require.NoError(t, os.RemoveAll(dir))
	}
	return nil
}

// TestPowerLoss takes the power away after each call of each operation, with
// different luck for what was not synced.
func TestPowerLoss(t *testing.T) {
	var points atomic.Int64
	t.Run("At", func(t *testing.T) {
		for _, op := range operations() {
			t.Run(op.name, func(t *testing.T) {
				t.Parallel()
				s := newScene(t, op)
				outages := s.outages(t, "")
				for i := 0; i < len(outages); i += stride() {
					points.Add(1)
					require.NoError(t, s.judgeAll(t, outages[i:i+1]))
				}
			})
		}
	})
	t.Logf("%d stores that a loss of power left", points.Load())
	require.Greater(t, points.Load(), int64(fewest/stride()))
}

// TestPowerLossIsSeen shows the worth of TestPowerLoss: without any one kind of
// sync it would fail.
func TestPowerLossIsSeen(t *testing.T) {
	for _, kind := range syncKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			ops := operations()
			i := slices.IndexFunc(ops, func(op *operation) bool { return op.name == kind.seenBy })
			require.NotEqual(t, -1, i)
			s := newScene(t, ops[i])
			err := s.judgeAll(t, s.outages(t, kind.name))
			require.Error(t, err, "nobody would notice")
			t.Log(err)
		})
	}
}
