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
	dir    string
	events string // the file that counts kills
}

// newMemoryGroup makes a group until the test ends, in whichever hierarchy the
// machine has.
func newMemoryGroup(t *testing.T, limit int64) *memoryGroup {
	t.Helper()
	needRoot(t)
	size := strconv.FormatInt(limit, 10)
	top, g := "/sys/fs/cgroup/memory", &memoryGroup{events: "memory.oom_control"}
	memory, swap, noSwap := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", size
	if _, err := os.Stat(filepath.Join(top, memory)); err != nil { // version 2
		top, g.events = "/sys/fs/cgroup", "memory.events"
		memory, swap, noSwap = "memory.max", "memory.swap.max", "0"
		// Where it is on already, or not for us to turn on, the limit tells.
		_ = os.WriteFile(filepath.Join(top, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	g.dir = filepath.Join(top, "registryfs-test-"+strconv.Itoa(os.Getpid()))
	require.NoError(t, os.Mkdir(g.dir, 0o755))
	t.Cleanup(func() {
		require.Eventually(t, func() bool {
			err := os.Remove(g.dir)
			return err == nil || errors.Is(err, fs.ErrNotExist)
		}, patience, 10*time.Millisecond, "processes remain in %s", g.dir)
	})
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, memory), []byte(size), 0))
	_ = os.WriteFile(filepath.Join(g.dir, swap), []byte(noSwap), 0) // not there where swap is not counted
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
	text, err := os.ReadFile(filepath.Join(g.dir, g.events))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(count)
		}
	}
	require.Fail(t, "no count of kills", "%s", text)
	return ""
}
