package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/digest"
)

// tmpfsStore is a registry with the image of fillStore on a file system of its
// own, with such options.
func tmpfsStore(t *testing.T, options string) (store, manifest string) {
	t.Helper()
	needRoot(t)
	store = publicDir(t)
	require.NoError(t, unix.Mount("tmpfs", store, "tmpfs", 0, options))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(store, unix.MNT_DETACH)) })
	for _, sub := range []string{"blobs", "repositories"} {
		require.NoError(t, os.MkdirAll(filepath.Join(store, storeDir, sub), 0o755))
	}
	return store, fillTagged(t, store)
}

// fillTagged is fillStore, and returns what its tag v1 names, in hex.
func fillTagged(t *testing.T, store string) (manifest string) {
	t.Helper()
	fillStore(t, store)
	link, err := os.ReadFile(filepath.Join(store, storeDir, "repositories/team/app/_manifests/tags/v1/current/link"))
	require.NoError(t, err)
	return digest.Digest(link).Encoded()
}

// refuses runs a script over the repository of fillStore that fails with an
// error in words, which .registryfs/errors has too.
func refuses(t *testing.T, mnt, want, script string, args ...string) {
	t.Helper()
	r := execute(t, "sh", append([]string{"-euc", `cd "$1/team/app"; shift; ` + script, "sh", mnt}, args...)...)
	require.NotZero(t, r.status, script)
	require.Contains(t, r.stderr, want, script)
}

// isUnharmed reads what fillStore made, which has two blobs, and as many more as
// there are to be.
func isUnharmed(t *testing.T, mnt, manifest string, more ...string) {
	t.Helper()
	blobs := 2 + len(more)
	shell(t, `cd "$1/team/app"; test "$(readlink _tags/v1)" = "../_manifests/sha256/$2"; cat _tags/v1 >"$3"
		test "$(ls _blobs/sha256 | wc -l)" = "$4"
		cd _blobs/sha256; for f in *; do echo "$f  $f"; done | sha256sum --quiet --strict -c -
	`, mnt, manifest, filepath.Join(t.TempDir(), "manifest"), itoa(blobs))
}

// exhaust leaves no room in a file system: for bytes, and for files where there
// is a bound.
func exhaust(t *testing.T, store string) {
	t.Helper()
	dir := filepath.Join(store, "fill")
	require.NoError(t, os.Mkdir(dir, 0o755))
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(store, &st))
	err := os.WriteFile(filepath.Join(dir, "bytes"), make([]byte, st.Bavail*uint64(st.Bsize)), 0o644)
	for i := 0; i < 1000 && err == nil; i++ {
		err = os.WriteFile(filepath.Join(dir, itoa(i)), []byte("x"), 0o644)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
}

// openFiles counts the files that a server has open.
func (s *server) openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/" + itoa(s.Process.Pid) + "/fd")
	require.NoError(t, err)
	return len(entries)
}

// settles waits until a server has no more files open than before.
func (s *server) settles(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(patience); s.openFiles(t) > before; time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "%d files are open, %d before", s.openFiles(t), before)
	}
}

func TestNoRoom(t *testing.T) {
	for name, options := range map[string]string{"for bytes": "size=4m", "for files": "size=64m,nr_inodes=200"} {
		t.Run(name, func(t *testing.T) {
			store, manifest := tmpfsStore(t, options)
			mnt := mountPoint(t)
			s := startServer(t, store, mnt)
			isUnharmed(t, mnt, manifest)
			before := s.openFiles(t)
			in := t.TempDir()
			if name == "for bytes" {
				big := filepath.Join(in, "big")
				hex := fill(t, big, 1, 5<<20)
				refuses(t, mnt, "No space left on device", `cp "$1" "_blobs/sha256/$2"`, big, hex)
				refuses(t, mnt, "No space left on device", `cp "$1" "_blobs/big"`, big)
				isUnharmed(t, mnt, manifest)
				// What could not be stored takes no room.
				half := filepath.Join(in, "half")
				hex = fill(t, half, 2, 2<<20)
				shell(t, `cp "$1" "$2/team/app/_blobs/sha256/$3"; test "$(sha256sum <"$2/team/app/_blobs/sha256/$3" | cut -c-64)" = "$3"`, half, mnt, hex)
				require.NoError(t, os.Remove(blobFile(store, digest.Digest("sha256:"+hex))))
				require.NoError(t, os.Remove(linkFile(store, "team/app", digest.Digest("sha256:"+hex))))
			}
			exhaust(t, store)
			small := filepath.Join(in, "small")
			hex := fill(t, small, 3, 100)
			refuses(t, mnt, "No space left on device", `cp "$1" "_blobs/sha256/$2"`, small, hex)
			refuses(t, mnt, "No space left on device", `ln -s v1 _tags/v2`)
			refuses(t, mnt, "No space left on device", `cp _tags/v1 _tags/v3`)
			isUnharmed(t, mnt, manifest)
			shell(t, `test "$(ls "$1/team/app/_tags")" = v1`, mnt)
			require.NoError(t, os.RemoveAll(filepath.Join(store, "fill")))
			s.settles(t, before)

			shell(t, `cd "$1/team/app"; cp "$2" "_blobs/sha256/$3"; ln -s v1 _tags/v2; ls "_blobs/sha256/$3"`, mnt, small, hex)
			r := registryfs(t, "check", store)
			require.Equal(t, exitOK, r.status, r.stdout)
		})
	}
}

// A store that becomes read-only under a mount can still be read.
func TestStoreTurnsReadOnly(t *testing.T) {
	store, manifest := tmpfsStore(t, "size=64m")
	mnt := mountPoint(t)
	s := startServer(t, store, mnt, "--allow-delete")
	isUnharmed(t, mnt, manifest)
	before := s.openFiles(t)
	small := filepath.Join(t.TempDir(), "small")
	hex := fill(t, small, 3, 100)
	shell(t, `mount -o remount,ro "$1"`, store)
	for _, script := range []string{
		`cp "$1" "_blobs/sha256/$2"`, `cp "$1" _blobs/small`, `ln -s v1 _tags/v2`, `ln -sfn v1 _tags/v3`, `mv _tags/v1 _tags/v2`, `rm _tags/v1`,
	} {
		refuses(t, mnt, "Read-only file system", script, small, hex)
	}
	isUnharmed(t, mnt, manifest)
	s.settles(t, before)
	shell(t, `mount -o remount,rw "$1"; cp "$2" "$3/team/app/_blobs/sha256/$4"; rm "$3/team/app/_tags/v1"`, store, small, mnt, hex)
}

// A registry that is removed under a mount is an I/O error, and is not made
// again.
func TestStoreIsRemoved(t *testing.T) {
	store := filepath.Join(publicDir(t), "store")
	for _, sub := range []string{"blobs", "repositories"} {
		require.NoError(t, os.MkdirAll(filepath.Join(store, storeDir, sub), 0o755))
	}
	manifest := fillTagged(t, store)
	mnt := mountPoint(t)
	s := startServer(t, store, mnt, "--attr-timeout", "0")
	isUnharmed(t, mnt, manifest)
	small := filepath.Join(t.TempDir(), "small")
	hex := fill(t, small, 3, 100)
	require.NoError(t, os.RemoveAll(store))
	for _, script := range []string{`ls "$1"`, `ls "$1/team/app/_tags"`, `cp "$2" "$1/team/app/_blobs/sha256/$3"`, `ln -s "sha256:$4" "$1/team/app/_tags/v2"`} {
		r := execute(t, "sh", "-euc", script, "sh", mnt, small, hex, manifest)
		require.NotZero(t, r.status, script)
		require.Contains(t, r.stderr, "Input/output error", script)
		require.NoFileExists(t, store)
	}
	require.Contains(t, shell(t, `cat "$1/.registryfs/errors"`, mnt), "root directory has been removed")
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	status, _ := s.end(t)
	require.Equal(t, exitOK, status)
	require.NoDirExists(t, store)
}

// A server that may open no more files says so, and goes on when it may.
func TestTooManyOpenFiles(t *testing.T) {
	store := newStore(t)
	manifest := fillTagged(t, store)
	mnt := mountPoint(t)
	s := startServerBy(t, exec.Command("prlimit", "--nofile=64:64", program, "mount", store, mnt))
	isUnharmed(t, mnt, manifest)
	before := s.openFiles(t)
	shell(t, `cd "$1/team/app/_blobs"
		pids=
		for i in $(seq 60); do (exec >"file$i"; echo x | cat; exec sleep 1000) 2>>"$2" & pids="$pids $!"; done
		for i in $(seq 1000); do grep -q "Too many open files" "$2" && break; sleep 0.02; done
		kill $pids 2>/dev/null || :; wait || :
		grep -q "Too many open files" "$2"
	`, mnt, filepath.Join(t.TempDir(), "said"))
	s.settles(t, before)
	small := filepath.Join(t.TempDir(), "small")
	hex := fill(t, small, 3, 100)
	shell(t, `cp "$1" "$2/team/app/_blobs/sha256/$3"
		test "$(sha256sum <"$2/team/app/_tags/v1" | cut -c-64)" = "$4"`, small, mnt, hex, manifest)
	require.Equal(t, exitOK, registryfs(t, "check", store).status)
}
