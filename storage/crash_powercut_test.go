package storage_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"registryfs/storage/storagetest"
)

// fileSystems is what the power is cut of, and how each is made in a file. A
// small one has a small log, which is replayed fast.
var fileSystems = map[string][]string{
	"ext4": {"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard", "-J", "size=4"},
	"xfs":  {"mkfs.xfs", "-q", "-K"},
}

// imageSize is the least that mkfs.xfs takes.
const imageSize = 300 << 20

// powerEnv makes a test that cuts power run, in a process of its own.
const powerEnv = "STORAGE_TEST_POWER"

// inMountNamespace runs a test again, in a process whose mounts nobody else
// sees, and which end with it, together with the loop devices below them,
// however it ends. It returns true in that process.
func inMountNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(powerEnv) == t.Name() {
		return true
	}
	require.Zero(t, os.Getuid(), "this test mounts file systems, and needs root for it")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v",
		"-test.short="+strconv.FormatBool(testing.Short()))
	cmd.Env = append(os.Environ(), powerEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, ".go:") { // of t.Log
			t.Log(strings.TrimSpace(line))
		}
	}
	return false
}

// plug is a file system whose power can be cut.
type plug struct {
	t          *testing.T
	kind       string
	image, dir string
}

func newPlug(t *testing.T, kind string) *plug {
	t.Helper()
	dir := t.TempDir()
	p := &plug{t, kind, filepath.Join(dir, "image"), filepath.Join(dir, "mnt")}
	require.NoError(t, os.WriteFile(p.image, nil, 0o600))
	require.NoError(t, os.Truncate(p.image, imageSize))
	p.do(append(slices.Clone(fileSystems[kind]), p.image)...)
	require.NoError(t, os.Mkdir(p.dir, 0o755))
	p.mount()
	t.Cleanup(func() { _ = unix.Unmount(p.dir, unix.MNT_DETACH) })
	return p
}

func (p *plug) do(args ...string) {
	p.t.Helper()
	out, err := exec.CommandContext(p.t.Context(), args[0], args[1:]...).CombinedOutput()
	require.NoError(p.t, err, "%q: %s", args, out)
}

func (p *plug) mount() { p.do("mount", "-t", p.kind, "-o", "loop", p.image, p.dir) }

// remount is what comes after a power cut.
func (p *plug) remount() {
	p.t.Helper()
	p.do("umount", p.dir)
	p.mount()
}

// put makes a durable copy of a store, and returns where it is.
func (p *plug) put(s *scene) string {
	p.t.Helper()
	dir, err := os.MkdirTemp(p.dir, "store-")
	require.NoError(p.t, err)
	require.NoError(p.t, os.CopyFS(dir, os.DirFS(s.dir)))
	root, err := os.Open(p.dir)
	require.NoError(p.t, err)
	defer root.Close()
	require.NoError(p.t, unix.Syncfs(int(root.Fd())))
	return dir
}

// cut cuts the power at the nth call of an operation, which dropped lets lack
// syncs of a kind, and reports what must not be there then. With killed the
// process only dies at that call, another goes on to the end of the operation,
// and the power is cut then. died is the call at which a process died; empty
// for the end.
func (s *scene) cut(p *plug, n int, killed bool, dropped string) (died string, err error) {
	t := p.t
	t.Helper()
	dir := p.put(s)
	job := crashJob{Dir: dir, Op: s.op.name, Index: s.op.index, At: n, Power: !killed, Dropped: dropped}
	last, err := job.run(t.Context())
	require.NoError(t, err)
	died = last.Call
	if killed && died != "" {
		job.Done, job.Upload, job.At, job.Again, job.Power = last.Done, last.Upload, 0, true, true
		job.Done = min(job.Done, len(s.op.steps)-1)
		last, err = job.run(t.Context())
		require.NoError(t, err)
	}
	p.remount()
	// What looks at it keeps files open, and would keep it mounted.
	left := storagetest.MemoryDir(t)
	require.NoError(t, os.CopyFS(left, os.DirFS(dir)))
	require.NoError(t, os.RemoveAll(dir))
	err = s.judge(left, world{ctx: t.Context(), upload: last.Upload}, last.Done)
	require.NoError(t, os.RemoveAll(left))
	return died, err
}

// calls counts the system calls of an operation.
func (s *scene) calls(t *testing.T) int {
	t.Helper()
	m := newMortal(1<<30, false)
	dir := s.copy(t)
	_, done := s.live(t, dir, m, world{ctx: t.Context()}, 0)
	require.Equal(t, len(s.op.steps), done)
	require.NoError(t, os.RemoveAll(dir))
	return m.made
}

// TestPowerCut cuts the power of real file systems at each call of each
// operation, and after the last; in a short run at a few of them, others each
// time. Every third time the process is only killed, and the power is cut when
// another has gone on.
func TestPowerCut(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	const fewAtOnce = 2
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("SEED=%d", seed)
	var points, kills atomic.Int64
	t.Run("Of", func(t *testing.T) {
		for kind := range fileSystems {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				p := newPlug(t, kind)
				r := rand.New(rand.NewPCG(seed, 0))
				for _, op := range operations() {
					s := newScene(t, op)
					at := r.Perm(s.calls(t) + 1)
					if testing.Short() {
						at = at[:min(fewAtOnce, len(at))]
					}
					for _, n := range at {
						killed := r.IntN(3) == 0
						died, err := s.cut(p, n, killed, "")
						require.NoError(t, err, "%s: %s: point %d, died after %q, killed first: %v", kind, op.name, n, died, killed)
						points.Add(1)
						if killed {
							kills.Add(1)
						}
					}
				}
			})
		}
	})
	t.Logf("%d power cuts, %d of them after another process had died", points.Load(), kills.Load())
	require.GreaterOrEqual(t, points.Load(), int64(len(operations())*len(fileSystems)))
}

// TestPowerCutIsSeen shows the worth of TestPowerCut: without any one kind of
// sync that a journal does not make up for it would fail.
func TestPowerCutIsSeen(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	for kind := range fileSystems {
		t.Run(kind, func(t *testing.T) {
			p := newPlug(t, kind)
			for _, sync := range syncKinds {
				if !sync.journaled {
					continue
				}
				ops := operations()
				s := newScene(t, ops[slices.IndexFunc(ops, func(op *operation) bool { return op.name == sync.seenBy })])
				var err error
				for n := s.calls(t); n >= 0 && err == nil; n-- {
					_, err = s.cut(p, n, false, sync.name)
				}
				require.Error(t, err, "without syncs of kind %q nobody would notice", sync.name)
				t.Logf("%s without syncs of kind %q: %v", kind, sync.name, err)
			}
		})
	}
}
