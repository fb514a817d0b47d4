package storage_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/drivertest"
	"registryfs/driver/filedriver"
)

// errnos is what fails: the disk, the room, the mount, the process.
var errnos = []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EMFILE}

// trouble fails the nth of some calls, and, where it lasts, all that follow.
type trouble struct {
	at    int
	lasts bool
	errno syscall.Errno

	mu    sync.Mutex
	made  int
	over  bool
	first string // the call that failed first
}

// meet counts a call and returns the error that it is to fail with, or nil.
func (tr *trouble) meet(call string) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.made++; tr.over || tr.made < tr.at || tr.made > tr.at && !tr.lasts {
		return nil
	}
	if tr.first == "" {
		tr.first = call
	}
	return tr.errno
}

// sys are system calls in trouble. A write that fails has written half.
func (tr *trouble) sys() *hooked {
	return &hooked{hook: func(c *sysCall, do func() error) error {
		err := tr.meet(c.String())
		switch {
		case err == nil:
			return do()
		case c.op == "write":
			c.p = c.p[:len(c.p)/2]
			_ = do()
		}
		return err
	}}
}

// wrap is a driver in trouble.
func (tr *trouble) wrap(d driver.Driver) driver.Driver {
	return drivertest.Hooks{Before: func(_ context.Context, call string) error { return tr.meet(call) }}.Wrap(d)
}

// inTrouble runs an operation that meets trouble n = 1, 2, … until it meets
// none. What fails must fail with the errno, what succeeded must be there, no
// file may stay open, and when the trouble is over the process must be able to
// go on. Where a step succeeds all the same, its name and the failed call
// must match mayPass. It returns how many times trouble was met.
func (s *scene) inTrouble(t *testing.T, lasts bool, mayPass *regexp.Regexp, enter func(dir string, tr *trouble) (*world, error)) int {
	t.Helper()
	met := 0
	for n := 1; ; n += stride() {
		dir := s.copy(t)
		tr := &trouble{at: n, lasts: lasts, errno: errnos[n%len(errnos)]}
		w, err := enter(dir, tr)
		done := 0
		for err == nil && done < len(s.op.steps) {
			before := tr.first
			if err = s.op.steps[done](w); err == nil {
				done++
				if before == "" && tr.first != "" {
					require.Regexp(t, mayPass, s.op.name+": "+tr.first, "failed, and the step did not")
				}
			}
		}
		if err != nil && !errors.Is(err, errDamage) {
			require.ErrorIs(t, err, tr.errno, tr.first)
		}
		if tr.first == "" {
			return met
		}
		met++
		s.survive(t, dir, tr, w, done)
		require.NoError(t, os.RemoveAll(dir))
	}
}

// survive checks the store in dir while the process w is in trouble, and that w
// can go on after it. w is nil if it never came to life.
func (s *scene) survive(t *testing.T, dir string, tr *trouble, w *world, done int) {
	t.Helper()
	require.NoError(t, s.inspect(dir, done), tr.first)
	other, err := s.op.enter(t.Context(), dir, &hooked{})
	require.NoError(t, err, tr.first)
	if w == nil {
		w = other
	}
	other.upload = w.upload
	if w.held == nil {
		require.Empty(t, openBelow(t, dir), tr.first)
	}
	require.NoError(t, s.compare(other, done), tr.first)

	tr.over, w.again = true, true
	n, err := w.run(done)
	require.NoError(t, err, "step %d, repeated after a failed %s", n, tr.first)
	require.NoError(t, s.end(dir, w), tr.first)
	require.Empty(t, openBelow(t, dir), tr.first)
}

// inAllTrouble is inTrouble for all operations.
func inAllTrouble(t *testing.T, mayPass *regexp.Regexp, enter func(op *operation, dir string, tr *trouble) (*world, error)) {
	t.Helper()
	var faults atomic.Int64
	t.Run("At", func(t *testing.T) {
		for name, lasts := range map[string]bool{"once": false, "lasting": true} {
			for _, op := range operations() {
				t.Run(op.name+" "+name, func(t *testing.T) {
					t.Parallel()
					n := newScene(t, op).inTrouble(t, lasts, mayPass, func(dir string, tr *trouble) (*world, error) {
						return enter(op, dir, tr)
					})
					require.Positive(t, n)
					faults.Add(int64(n))
				})
			}
		}
	})
	t.Logf("%d faults", faults.Load())
	require.Greater(t, faults.Load(), int64(fewest/stride()))
}

// TestFaultsOfChanges fails each system call that changes the store: once, and
// from then on.
func TestFaultsOfChanges(t *testing.T) {
	// What is committed is committed, though something may be left over. A
	// purge closes what it has removed. The trash is emptied another time. Known
	// content that cannot be synced is replaced.
	mayPass := regexp.MustCompile(`: (unlink|rmdir|syncdir) .*/(_uploads|registryfs/(uploads|trash))(/|$)|^purge: sync |^known blob[^:]*: (sync|syncdir) `)
	inAllTrouble(t, mayPass, func(op *operation, dir string, tr *trouble) (*world, error) {
		return op.enter(t.Context(), dir, tr.sys())
	})
}

// TestFaultsOfDriver fails each call of the driver, those that read too.
func TestFaultsOfDriver(t *testing.T) {
	// When an upload was begun may be unknown. A read that fails after some
	// bytes may be tried again by a buffer: what is read is hashed anyway.
	// A collection reads the link of a tag, whatever the tag is. A repair looks
	// at content twice before it takes it for bad, and once more to say why.
	// A purge closes what it has removed. Known content that cannot be opened or
	// synced is replaced. What is deleted need not be readable.
	mayPass := regexp.MustCompile(`^(known blob[^:]*|heal a blob): (openat|fstat|stat|sync) .*/data$|` +
		`^delete a manifest[^:]*: (openat|fstat|stat) .*/` + imageDigest("three").Encoded() + `/data$|` +
		`: (delete .*/(_uploads|registryfs/(uploads|trash))/[^/]*|(read(er)?|getfile|openat|fstat) .*/startedat|readat .*|list /registryfs/trash)$|^collect[^:]*: stat .*/_manifests/tags/[^/]*$|^repair: ((openat|fstat|getfile|stat) .*/data|list /registryfs/swept)$|^purge: close .*/data$`)
	inAllTrouble(t, mayPass, func(op *operation, dir string, tr *trouble) (*world, error) {
		d, err := filedriver.New(dir, filedriver.Options{Sys: &hooked{}})
		require.NoError(t, err)
		w := &world{ctx: t.Context(), op: op, driver: tr.wrap(d)}
		if !op.isFirst {
			err = w.open()
		}
		if err != nil {
			return nil, err
		}
		return w, nil
	})
}
