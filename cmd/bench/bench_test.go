package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patienceOfTest bounds what a hang could otherwise make endless.
const patienceOfTest = 2 * time.Minute

// command is a run of tiny sizes, against the registry that the tests have.
// Its scratch directory is in dir.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	bin := t.TempDir()
	out, err := exec.Command("go", "build", "-o", bin, ".", "../registryfs").CombinedOutput()
	require.NoError(t, err, "%s", out)
	peer, err := exec.LookPath("docker-registry")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patienceOfTest)
	t.Cleanup(cancel)
	args = append([]string{"-size", "tiny", "-registryfs", filepath.Join(bin, "registryfs"), "-registry", peer}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "bench"), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	return cmd
}

// Every row can be measured but those that need crane, and nothing is left.
func TestRows(t *testing.T) {
	dir := t.TempDir()
	rows := []string{"1", "1b", "2", "3", "3b", "3c", "5", "5b", "6", "7", "8", "9", "10"}
	cmd := command(t, dir, "-rows", strings.Join(rows, ","))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &errs)
	for _, row := range rows {
		require.Contains(t, "\n"+string(out), "\n"+row+" ", "%s", out)
	}
	require.NotContains(t, string(out), "not measured")
	requireNothingLeft(t, dir)
}

// A run that is ended in the middle leaves nothing.
func TestTermination(t *testing.T) {
	dir := t.TempDir()
	cmd := command(t, dir)
	errs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := bufio.NewReader(errs)
	for {
		line, err := said.ReadString('\n')
		require.NoError(t, err)
		if strings.HasPrefix(line, "row ") && strings.Contains(line, "registryfs") {
			break // something is mounted, and a registry runs
		}
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_, err = io.Copy(io.Discard, said) // ends when the last process that could write has
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	requireNothingLeft(t, dir)
}

func requireNothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), dir)
}
