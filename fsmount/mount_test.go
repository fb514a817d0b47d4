package fsmount_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds what a hang could otherwise make endless.
const patience = 60 * time.Second

// mounted is a mount that another process serves.
type mounted struct {
	dir    string // where it is mounted
	store  string // the registry's directory, or "" for mem:
	server *exec.Cmd
	stderr *bytes.Buffer
	exited chan struct{}
}

// newMount mounts a registry until the test ends. Where o names no mount point
// it gets one.
func newMount(t *testing.T, o serveOptions) *mounted {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "mnt")
		require.NoError(t, os.Mkdir(o.Dir, 0o755))
	}
	config, err := json.Marshal(o)
	require.NoError(t, err)

	m := &mounted{dir: o.Dir, store: o.Store, stderr: &bytes.Buffer{}, exited: make(chan struct{})}
	m.server = exec.Command(os.Args[0])
	m.server.Env = append(os.Environ(), roleEnv+"=serve", serveEnv+"="+string(config))
	m.server.Stderr = m.stderr
	out, w, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	m.server.Stdout = w
	require.NoError(t, m.server.Start())
	w.Close()
	go func() {
		_ = m.server.Wait()
		close(m.exited)
	}()
	t.Cleanup(func() { m.end(t) })

	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		<-m.exited
	}
	require.NoError(t, err, "the server did not begin: %s", m.stderr)
	require.Equal(t, "ready\n", line)
	return m
}

// end stops the server if it still runs. What it had to say is shown where the
// test failed; a data race or a panic of the server is a failure.
func (m *mounted) end(t *testing.T) {
	_ = m.server.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.exited:
	case <-time.After(patience):
		t.Error("the server does not end")
		m.kill()
	}
	_ = exec.Command("fusermount3", "-uzq", m.dir).Run()
	if code := m.server.ProcessState.ExitCode(); code > 0 {
		t.Errorf("the server ended with status %d", code)
	}
	if t.Failed() {
		t.Logf("the server said:\n%s", m.stderr)
	}
}

// stop ends the server as SIGTERM does and waits for it.
func (m *mounted) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, m.server.Process.Signal(syscall.SIGTERM))
	m.wait(t)
}

// kill ends the server as a crash does.
func (m *mounted) kill() {
	_ = m.server.Process.Kill()
	<-m.exited
	_ = exec.Command("fusermount3", "-uzq", m.dir).Run()
}

// wait returns when the server has ended.
func (m *mounted) wait(t *testing.T) {
	t.Helper()
	select {
	case <-m.exited:
	case <-time.After(patience):
		require.Fail(t, "the server does not end")
	}
}

// again mounts what was mounted, which must have ended, once more.
func (m *mounted) again(t *testing.T, o serveOptions) *mounted {
	t.Helper()
	o.Dir, o.Store = m.dir, m.store
	return newMount(t, o)
}

// mountCase is something that a mount does.
type mountCase struct {
	name string
	run  func(t *testing.T, r *repo)
}

// onEach runs cases over a mount of a registry in memory and one of a
// directory, each in a repository of its own.
func onEach(t *testing.T, o serveOptions, cases []mountCase) {
	t.Parallel()
	for _, backend := range []string{"mem", "dir"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			o := o
			if backend == "dir" {
				o.Store = t.TempDir()
			}
			runCases(t, newMount(t, o), cases)
		})
	}
}

// onDirectory runs cases over a mount of a directory alone: they reach behind
// the mount.
func onDirectory(t *testing.T, o serveOptions, cases []mountCase) {
	t.Parallel()
	o.Store = t.TempDir()
	runCases(t, newMount(t, o), cases)
}

func runCases(t *testing.T, m *mounted, cases []mountCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, m.repo(t)) })
	}
}

// process is a program that runs while the test does something else.
type process struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *bytes.Buffer
}

// start begins a program with the environment of the shell of a repository. It
// is killed, with its children, at the end of the test at the latest.
func (r *repo) start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = r.work, r.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	p := &process{cmd, stdin, bufio.NewReader(stdout), &bytes.Buffer{}}
	cmd.Stderr = p.stderr
	require.NoError(t, cmd.Start())
	stuck := time.AfterFunc(patience, p.killAll)
	t.Cleanup(func() {
		stuck.Stop()
		p.killAll()
		_ = cmd.Wait()
	})
	return p
}

func (p *process) killAll() { _ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL) }

// line is the next line of the program's output.
func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	require.NoError(t, err, "%s", p.stderr)
	return line[:len(line)-1]
}

// finish waits for the end of the program.
func (p *process) finish(t *testing.T) *os.ProcessState {
	t.Helper()
	_ = p.stdin.Close()
	_, _ = io.Copy(io.Discard, p.stdout)
	_ = p.Wait()
	return p.ProcessState
}
