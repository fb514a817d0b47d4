package filedriver_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/driver"
	"registryfs/driver/filedriver"
)

// inheritable returns a root whose owner and mode new files have anyway, so
// that none is changed.
func inheritable(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	mask := unix.Umask(0)
	unix.Umask(mask)
	require.NoError(t, os.Chmod(root, os.FileMode(0o777&^mask)))
	require.NoError(t, os.Chown(root, os.Geteuid(), os.Getegid()))
	return root
}

// populate makes files and directories in every way there is.
func populate(t *testing.T, d driver.Driver) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, d.PutContent(ctx, "/a/b/put", []byte("x")))
	w, err := d.Writer(ctx, "/c/d/written", false)
	require.NoError(t, err)
	require.NoError(t, w.Commit(ctx))
	require.NoError(t, driver.MakeDir(ctx, d, "/e/made"))
	require.NoError(t, d.PutContent(ctx, "/f/g/file", []byte("x")))
	require.NoError(t, d.Move(ctx, "/f/g/file", "/h/i/moved"))
	require.NoError(t, driver.MoveDir(ctx, d, "/f", "/j/k/moved"))
}

// eachBelow calls fn for all that is in root.
func eachBelow(t *testing.T, root string, fn func(path string, isDir bool, st unix.Stat_t)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(path, &st))
		fn(path, entry.IsDir(), st)
		return nil
	}))
}

func TestInheritsOwnerAndMode(t *testing.T) {
	for _, test := range []struct {
		dir, file uint32
		umask     int
	}{
		{0o755, 0o644, 0o022},
		{0o755, 0o644, 0o077},
		{0o700, 0o600, 0o022},
		{0o2775, 0o664, 0o022},
		{0o770, 0o660, 0},
	} {
		root := t.TempDir()
		uid, gid := os.Geteuid(), os.Getegid()
		if uid == 0 {
			uid, gid = 12345, 23456
		}
		require.NoError(t, os.Chown(root, uid, gid))
		require.NoError(t, unix.Chmod(root, test.dir))
		old := unix.Umask(test.umask)
		populate(t, open(t, root, filedriver.Options{}))
		unix.Umask(old)

		count := 0
		eachBelow(t, root, func(path string, isDir bool, st unix.Stat_t) {
			want := test.file
			if isDir {
				want = test.dir
			}
			require.Equal(t, want, st.Mode&0o7777, "%s: %o", path, st.Mode)
			require.Equal(t, []int{uid, gid}, []int{int(st.Uid), int(st.Gid)}, path)
			count++
		})
		require.Equal(t, 15, count)
	}
}

func TestRootMustBeAbleToGiveAway(t *testing.T) {
	if os.Geteuid() != 0 {
		return // what others do is tested below
	}
	root := t.TempDir()
	require.NoError(t, os.Chown(root, 12345, 23456))
	sys := newTraced(t)
	sys.before = func(call string) error {
		if len(call) > 5 && call[:5] == "chown" {
			return unix.EPERM
		}
		return nil
	}
	d := open(t, root, filedriver.Options{Sys: sys})
	require.ErrorIs(t, d.PutContent(t.Context(), "/file", nil), syscall.EPERM)
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// otherUser is set in the child process that TestOtherUser starts.
const otherUser = "FILEDRIVER_TEST_ROOT"

// TestOtherUser writes into a directory that belongs to root and lets everybody
// in, as somebody who may not give files away.
func TestOtherUser(t *testing.T) {
	if root := os.Getenv(otherUser); root != "" {
		populate(t, open(t, root, filedriver.Options{}))
		return
	}
	const nobody = 65534
	root := t.TempDir()
	require.NoError(t, os.Chmod(root, 0o777))
	require.NoError(t, os.Chmod(filepath.Dir(root), 0o755))
	program := filepath.Join(t.TempDir(), "program")
	copyProgram(t, program)
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestOtherUser$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), otherUser+"="+root)
	uid := os.Geteuid()
	if uid == 0 {
		uid = nobody
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	count := 0
	eachBelow(t, root, func(path string, isDir bool, st unix.Stat_t) {
		require.Equal(t, uid, int(st.Uid), path)
		require.Equal(t, isDir, st.Mode&0o111 != 0, path)
		require.Equal(t, uint32(0o666), st.Mode&0o666, path)
		count++
	})
	require.Equal(t, 15, count)
}

// copyProgram copies the running program to where everybody may run it.
func copyProgram(t *testing.T, path string) {
	t.Helper()
	src, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer src.Close()
	dst, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(dst, src)
	require.NoError(t, err)
	require.NoError(t, dst.Close())
}
