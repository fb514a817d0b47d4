package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// memoryGroup is a control group that bounds the memory of the processes in it,
// their page cache included.
type memoryGroup struct {
	dir string
	v2  bool
}

// newMemoryGroup makes a group until the test ends, in whichever hierarchy the
// machine has.
func newMemoryGroup(t *testing.T, limit int64) *memoryGroup {
	t.Helper()
	needRoot(t)
	const v1, v2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
	g := &memoryGroup{}
	top := v1
	if _, err := os.Stat(filepath.Join(v1, "memory.limit_in_bytes")); err != nil {
		top, g.v2 = v2, true
		// Where it is on already, or not for us to turn on, the limit tells.
		_ = os.WriteFile(filepath.Join(v2, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	g.dir = filepath.Join(top, "registryfs-test-"+strconv.Itoa(os.Getpid()))
	require.NoError(t, os.Mkdir(g.dir, 0o755))
	t.Cleanup(func() {
		require.Eventually(t, func() bool {
			err := os.Remove(g.dir)
			return err == nil || errors.Is(err, fs.ErrNotExist)
		}, patience, 10*time.Millisecond, "processes remain in %s", g.dir)
	})
	limits := []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}
	size := strconv.FormatInt(limit, 10)
	if g.v2 {
		limits = []string{"memory.max"}
		_ = os.WriteFile(filepath.Join(g.dir, "memory.swap.max"), []byte("0"), 0) // not there without swap
	}
	for _, name := range limits {
		require.NoError(t, os.WriteFile(filepath.Join(g.dir, name), []byte(size), 0), name)
	}
	return g
}

// command is a command that runs in the group from its first instruction on.
func (g *memoryGroup) command(name string, args ...string) *exec.Cmd {
	const script = `echo $$ > "$0/cgroup.procs" && exec "$@"`
	return exec.Command("sh", append([]string{"-c", script, g.dir, name}, args...)...)
}

// kills is how many processes of the group the kernel has killed for want of
// memory.
func (g *memoryGroup) kills(t *testing.T) string {
	t.Helper()
	name := "memory.oom_control"
	if g.v2 {
		name = "memory.events"
	}
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(count)
		}
	}
	require.Fail(t, "no count of kills", "%s", text)
	return ""
}
