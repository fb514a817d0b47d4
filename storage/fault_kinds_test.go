package storage_test

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/drivertest"
	"registryfs/driver/filedriver"
	"registryfs/manifest"
	"registryfs/storage"
)

// oddity is trouble of another kind than an error, at the nth call.
type oddity struct {
	at     int
	before func(ctx context.Context, call string) error // at a call; may be nil
	read   func(p []byte, err error) ([]byte, error)    // at something read; may be nil
	mayBe  func(err error) bool                         // how a step may fail for it

	mu   sync.Mutex
	made int
	met  string // the call that met it
}

// next counts a call, and reports whether it is the one.
func (o *oddity) next(call string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.made++; o.made != o.at {
		return false
	}
	o.met = call
	return true
}

func (o *oddity) hooks() drivertest.Hooks {
	return drivertest.Hooks{
		Before: func(ctx context.Context, call string) error {
			if o.before == nil || !o.next(call) {
				return nil
			}
			return o.before(ctx, call)
		},
		Read: func(call string, p []byte, err error) ([]byte, error) {
			if o.read == nil || len(p) == 0 || !o.next(call) {
				return p, err
			}
			return o.read(p, err)
		},
	}
}

// isRefused reports an error that says what was read is not what it should be.
func isRefused(err error) bool {
	var missing *storage.MissingError
	for _, known := range []error{
		storage.ErrCorrupt, storage.ErrBlobUnknown, storage.ErrManifestUnknown, storage.ErrTagUnknown,
		storage.ErrDigestMismatch, storage.ErrReferenced, digest.ErrInvalid, manifest.ErrInvalid,
		io.ErrUnexpectedEOF, errDamage,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, &missing)
}

// oddities makes each kind of trouble, in a store, for a world whose context
// ends by cancel.
var oddities = map[string]func(s *scene, dir string, cancel func()) *oddity{
	// A bit is other than it was.
	"flip": func(*scene, string, func()) *oddity {
		return &oddity{mayBe: isRefused, read: func(p []byte, err error) ([]byte, error) {
			p[len(p)/2] ^= 1
			return p, err
		}}
	},
	// The end comes too early.
	"short": func(*scene, string, func()) *oddity {
		return &oddity{mayBe: isRefused, read: func(p []byte, _ error) ([]byte, error) {
			return p[:len(p)/2], io.EOF
		}}
	},
	// It takes so long that others look at the store meanwhile.
	"delay": func(s *scene, dir string, _ func()) *oddity {
		never := func(error) bool { return false }
		return &oddity{mayBe: never, before: func(ctx context.Context, _ string) error {
			return s.seenMeanwhile(ctx, dir)
		}}
	},
	// It does not come back until the caller gives up.
	"hang": func(_ *scene, _ string, cancel func()) *oddity {
		interrupted := func(err error) bool { return errors.Is(err, context.Canceled) }
		return &oddity{mayBe: interrupted, before: func(ctx context.Context, _ string) error {
			cancel()
			if ctx.Done() == nil {
				return nil // who does not heed the caller does not wait for ever
			}
			<-ctx.Done()
			return ctx.Err()
		}}
	},
}

// seenMeanwhile reports what another process sees, and must not, while an
// operation of one step is under way.
func (s *scene) seenMeanwhile(ctx context.Context, dir string) error {
	if len(s.op.steps) > 1 || s.op.isFirst {
		return nil
	}
	if err := s.inspect(dir, 0); err != nil {
		return err
	}
	other, err := s.op.enter(ctx, dir, &hooked{})
	if err != nil {
		return err
	}
	seen, err := other.see()
	if err != nil {
		return err
	}
	return seen.between(s.seen[0], s.seen[1])
}

// TestOddDriver is like TestFaultsOfDriver for a driver that lies, dawdles or
// hangs. Nothing may be acknowledged that is not there, and nothing may be left
// running.
func TestOddDriver(t *testing.T) {
	idle := runtime.NumGoroutine()
	var points atomic.Int64
	t.Run("At", func(t *testing.T) {
		for kind, newOddity := range oddities {
			for _, op := range operations() {
				t.Run(kind+" "+op.name, func(t *testing.T) {
					t.Parallel()
					s := newScene(t, op)
					n := 1
					for ; s.inOddTrouble(t, n, newOddity); n += 2*stride() - 1 {
						points.Add(1)
					}
				})
			}
		}
	})
	t.Logf("%d odd calls", points.Load())
	require.Greater(t, points.Load(), int64(fewest/stride()))
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > idle+2; runtime.Gosched() {
		require.True(t, time.Now().Before(deadline), "goroutines are left: %d, %d before", runtime.NumGoroutine(), idle)
	}
}

// inOddTrouble runs an operation that meets trouble at the nth call, and returns
// false if it met none.
func (s *scene) inOddTrouble(t *testing.T, n int, newOddity func(s *scene, dir string, cancel func()) *oddity) bool {
	t.Helper()
	dir := s.copy(t)
	defer func() { require.NoError(t, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := newOddity(s, dir, cancel)
	o.at = n
	d, err := filedriver.New(dir, filedriver.Options{Sys: &hooked{}})
	require.NoError(t, err)
	w := &world{ctx: ctx, op: s.op, driver: o.hooks().Wrap(d)}
	if !s.op.isFirst {
		err = w.open()
	}
	done := 0
	for err == nil && done < len(s.op.steps) {
		if err = s.op.steps[done](w); err == nil {
			done++
		}
	}
	if o.met == "" {
		require.NoError(t, err)
		return false
	}
	if err != nil {
		require.True(t, o.mayBe(err), "after %s: %v", o.met, err)
	}

	require.NoError(t, s.inspect(dir, done), o.met)
	other, err := s.op.enter(t.Context(), dir, &hooked{})
	require.NoError(t, err, o.met)
	if w.reg == nil && !s.op.isFirst {
		w = other
	}
	other.upload = w.upload
	require.NoError(t, s.compare(other, done), o.met)
	w.ctx, w.again = t.Context(), true
	n, err = w.run(done)
	require.NoError(t, err, "step %d, repeated after %s", n, o.met)
	require.NoError(t, s.end(dir, w), o.met)
	require.Empty(t, openBelow(t, dir), o.met)
	return true
}
