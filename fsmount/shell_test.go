package fsmount_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// repo is a repository of a mount, as a user with a shell has it before them.
// The mount is touched only by other processes with a timeout. Scripts find in
// their environment:
//
//	M      the mount point
//	R      the repository's directory
//	W      a directory outside the mount, where they run
//	STORE  the registry's directory, or nothing
//	SELF   the programs of programs_test.go: FSMOUNT_TEST_ROLE=… $SELF …
type repo struct {
	mount      *mounted
	name, work string
	trouble    string // see troubled
}

var repoCount atomic.Int64

// repo is a repository that nothing else uses.
func (m *mounted) repo(t *testing.T) *repo {
	t.Helper()
	r := m.named(t, fmt.Sprintf("team/app%d", repoCount.Add(1)))
	r.ok(t, `mkdir -p "$R"`)
	return r
}

func (m *mounted) named(t *testing.T, name string) *repo {
	t.Helper()
	return &repo{mount: m, name: name, work: t.TempDir()}
}

func (r *repo) dir() string { return filepath.Join(r.mount.dir, r.name) }

func (r *repo) env() []string {
	self, _ := filepath.Abs(os.Args[0])
	return append(os.Environ(), "LC_ALL=C", "M="+r.mount.dir, "R="+r.dir(), "W="+r.work, "STORE="+r.mount.store,
		"SELF="+self, "HOME="+r.work)
}

// result is how a script ended.
type result struct {
	status         int
	stdout, stderr string
}

// scriptPatience is patience for a script: whole runs give one fifty times more
// to do.
func scriptPatience() time.Duration {
	if testing.Short() {
		return patience
	}
	return 10 * patience
}

// sh runs a script, its arguments being $1, $2, …
func (r *repo) sh(t *testing.T, script string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("sh", append([]string{"-euc", script, "sh"}, args...)...)
	cmd.Dir, cmd.Env = r.work, r.env()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	waits := make(chan []byte, 1)
	stuck := time.AfterFunc(scriptPatience(), func() {
		// Who waits, and what the server does meanwhile: it says so and ends.
		who, _ := exec.Command("sh", "-c", `for p in $(pgrep -g "$1"); do tr "\0" " " </proc/$p/cmdline; echo; cat /proc/$p/stack; done`,
			"sh", strconv.Itoa(cmd.Process.Pid)).CombinedOutput()
		waits <- who
		_ = r.mount.server.Process.Signal(syscall.SIGQUIT)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = exec.Command("fusermount3", "-uz", r.mount.dir).Run()
	})
	_ = cmd.Wait()
	if !stuck.Stop() {
		require.Fail(t, "this hangs", "%s\n%s", script, <-waits)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ok runs a script that succeeds and returns what it prints.
func (r *repo) ok(t *testing.T, script string, args ...string) string {
	t.Helper()
	got := r.sh(t, script, args...)
	require.Zero(t, got.status, "%s %q\n%s%s", script, args, got.stdout, got.stderr)
	return strings.TrimSuffix(got.stdout, "\n")
}

// fails runs a script that fails with an error in words.
func (r *repo) fails(t *testing.T, want, script string, args ...string) {
	t.Helper()
	got := r.sh(t, script, args...)
	require.NotZero(t, got.status, "%s %q\n%s%s", script, args, got.stdout, got.stderr)
	require.Contains(t, got.stderr, want, "%s %q", script, args)
}

// errorsSay finds the line of .registryfs/errors that has all of the words, and
// returns it.
func (r *repo) errorsSay(t *testing.T, words ...string) string {
	t.Helper()
	all := r.ok(t, `cat "$M/.registryfs/errors"`)
lines:
	for line := range strings.Lines(all) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		return line
	}
	require.Fail(t, "not in .registryfs/errors", "%q in:\n%s", words, all)
	return ""
}

// until runs a script again and again until it succeeds, and returns what it
// prints.
func (r *repo) until(t *testing.T, script string, args ...string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		got := r.sh(t, script, args...)
		if got.status == 0 {
			return strings.TrimSuffix(got.stdout, "\n")
		}
		require.True(t, time.Now().Before(deadline), "never: %s\n%s%s", script, got.stdout, got.stderr)
	}
}

// isGone reports that a path is not there.
func (r *repo) isGone(t *testing.T, path string) {
	t.Helper()
	r.fails(t, "No such file or directory", `stat "$1"`, path)
}
