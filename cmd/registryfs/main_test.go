package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// program is the registryfs that the tests run, built with the race detector.
var program string

// patience bounds what a hang could otherwise make endless.
const patience = 60 * time.Second

// roleEnv makes the test binary another program, one that uses a mount.
const roleEnv = "REGISTRYFS_TEST_ROLE"

var roles = map[string]func(in io.Reader, out io.Writer) error{
	"write":  write,
	"look":   look,
	"follow": readTagForever,
	"crowd":  crowd,
}

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleEnv)]; ok {
		if err := role(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if signal.Ignored(os.Interrupt) {
		// As in what a shell starts in the background; the programs of tests
		// are to be interrupted as usual.
		signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	}
	status, err := build(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(status)
}

// build calls run with the program built, and fails if the race detector found
// anything in a process of it, daemons included.
func build(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "registryfs-cmd")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	races := filepath.Join(dir, "races")
	if err := errors.Join(os.Mkdir(races, 0o755), os.Chmod(races, 0o777), os.Chmod(dir, 0o755)); err != nil {
		return 0, err
	}
	program = filepath.Join(dir, "registryfs")
	cmd := exec.Command("go", "build", "-race", "-o", program, ".")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("build the program: %w", err)
	}
	// The detector would also hold every process for a second at its end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0 log_path="+filepath.Join(races, "race")); err != nil {
		return 0, err
	}
	status := run()
	reports, err := filepath.Glob(filepath.Join(races, "*"))
	for _, report := range reports {
		text, _ := os.ReadFile(report)
		err = errors.Join(err, fmt.Errorf("%s", text))
	}
	return status, err
}

// result is how a command ended.
type result struct {
	status         int
	stdout, stderr string
}

// execute runs a command to its end.
func execute(t *testing.T, name string, args ...string) result {
	t.Helper()
	return executeWithin(t, patience, name, args...)
}

// executeWithin is execute for what may take long.
func executeWithin(t *testing.T, limit time.Duration, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "%s %q hangs: %s", name, args, &stderr)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// registryfs runs the program to its end.
func registryfs(t *testing.T, args ...string) result {
	t.Helper()
	return execute(t, program, args...)
}

// shell runs a script, its arguments being $1, $2, …, and returns what it
// prints. Whatever touches a mount goes through it, so that a mount that hangs
// does not hang the test.
func shell(t *testing.T, script string, args ...string) string {
	t.Helper()
	r := execute(t, "sh", append([]string{"-euc", script, "sh"}, args...)...)
	require.Zero(t, r.status, "%s\n%s%s", script, r.stdout, r.stderr)
	return strings.TrimSuffix(r.stdout, "\n")
}

// publicDir is a temporary directory that other users can enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "registryfs-test")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// mountPoint is an empty directory; what is mounted there at the end of the
// test is detached.
func mountPoint(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(publicDir(t), "mnt")
	require.NoError(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { detach(t, dir) })
	return dir
}

func detach(t *testing.T, dir string) {
	t.Helper()
	for range maxStacked {
		m, err := mountAt(dir)
		require.NoError(t, err)
		if m == nil {
			return
		}
		for _, d := range findDaemons(m) {
			if !serves(t, d, dir) {
				continue
			}
			_ = unix.PidfdSendSignal(d.fd, unix.SIGKILL, nil, 0)
			require.NoError(t, d.wait())
		}
		require.NoError(t, fusermount(context.Background(), "-uz", dir))
	}
}

// serves tells the daemon of a mount from one of another test that still ends:
// the number of its device may be that of this mount now.
func serves(t *testing.T, d daemon, dir string) bool {
	t.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", d.fd))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(info), "\nPid:")
	pid := strings.Fields(rest)[0]
	command, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && strings.Contains(string(command), filepath.Base(filepath.Dir(dir)))
}

// newStore is an empty registry on disk.
func newStore(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	for _, sub := range []string{"blobs", "repositories"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, storeDir, sub), 0o755))
	}
	return dir
}

func isMounted(t *testing.T, dir string) bool {
	t.Helper()
	m, err := mountAt(dir)
	require.NoError(t, err)
	return m != nil && m.FSType == fsType
}

// server is a registryfs mount in the foreground.
type server struct {
	*exec.Cmd
	ready  string    // its first line on standard error
	stderr io.Reader // the rest
}

// startServer returns once the mount is ready.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	return startServerBy(t, exec.Command(program, append([]string{"mount"}, args...)...))
}

// startServerBy is startServer by a command that becomes, or starts, the
// program.
func startServerBy(t *testing.T, cmd *exec.Cmd) *server {
	t.Helper()
	pipe, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	r := bufio.NewReader(pipe)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	return &server{cmd, line, r}
}

// end waits for the server and returns its status and what else it wrote.
func (s *server) end(t *testing.T) (int, string) {
	t.Helper()
	stuck := time.AfterFunc(patience, func() { _ = s.Process.Kill() })
	defer stuck.Stop()
	rest, err := io.ReadAll(s.stderr)
	require.NoError(t, err)
	_ = s.Wait()
	return s.ProcessState.ExitCode(), string(rest)
}

// needRoot fails where the test cannot say what it is there to say.
func needRoot(t *testing.T) {
	t.Helper()
	require.Zero(t, os.Getuid(), "this test plays several users and machines, and needs root for it")
}
