package fsmount

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bazil.org/fuse"
	"github.com/stretchr/testify/require"
)

// programNamed starts a program that does nothing, under a name and with
// arguments of the test's, until the test ends. It returns its thread.
func programNamed(t *testing.T, name string, arguments ...string) uint32 {
	t.Helper()
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.Symlink(sh, path))
	program := exec.Command(path, append([]string{"-c", "echo; read line"}, arguments...)...)
	stdin, err := program.StdinPipe()
	require.NoError(t, err)
	stdout, err := program.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = program.Wait()
	})
	_, err = stdout.Read(make([]byte, 1))
	require.NoError(t, err)
	return uint32(program.Process.Pid)
}

func TestToolTemporaries(t *testing.T) {
	ln, sed := programNamed(t, "ln", "-sfn", "v2", "_tags/v1"), programNamed(t, "sed", "-i", "s/a/b/", "_tags/v1")
	given := programNamed(t, "ln", "-s", "v1", "_tags/CuDNN812", "sedDNN812")
	for _, tc := range []struct {
		tid  uint32
		name string
		want bool
	}{
		{ln, "CuAbC123", true},
		{ln, "CuAbC1234", false},
		{ln, "CuAbC12", false},
		{ln, "Cu-bC123", false},
		{ln, "sedAbC123", false},
		{sed, "sedAbC123", true},
		{sed, "sedAbC1234", false},
		{sed, "CuAbC123", false},
		{given, "CuDNN812", false},
		{given, "CuAbC123", true},
		{programNamed(t, "cp", "-a", "from/.", "_tags"), "CuDNN812", false},
		{me().Pid, "CuAbC123", false},
		{0, "CuAbC123", false},
	} {
		require.Equal(t, tc.want, isToolTemporary(tc.tid, tc.name), tc.name)
	}
}

// A program that is killed between making its temporary and renaming it leaves
// no tag, but a temporary like others.
func TestToolTemporariesThatAreLeftAreNoTags(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	f.putImage(t, "app", "v1")
	tags := place{repo: "app", view: viewTags}
	_, err := f.makeLink(t.Context(), programNamed(t, "ln"), tags, "CuAbC123", "v1")
	require.NoError(t, err)
	resp := fuse.CreateResponse{}
	header := fuse.Header{Pid: programNamed(t, "sed")}
	_, h, err := f.create(tags, &fuse.CreateRequest{Header: header, Name: "sedAbC123", Flags: fuse.OpenWriteOnly}, &resp)
	require.NoError(t, err)
	h.(*writeHandle).writeString(t, "half of a manif")
	require.NoError(t, h.(*writeHandle).flush(t, header.Pid))
	require.NoError(t, h.(*writeHandle).Release(t.Context(), &fuse.ReleaseRequest{}))

	all, err := f.repository(t, "app").Tags().All(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"v1"}, all)
	require.True(t, f.sweeping.Load(), "they are looked for")
	require.Equal(t, 2, f.names.temporaries)
	require.False(t, f.sweep(f.mounted.Add(2*scratchAge)))
	require.Zero(t, f.names.temporaries)
	require.Empty(t, f.failures.content())
}
