package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// crowding is what a crowd is told to do with the blobs of a directory.
type crowding struct {
	Dir     string
	Open    int  // files that it opens and keeps open
	Readers int  // threads that each read a blob at the same time
	Refused bool // it is to be refused one of the files with EMFILE
}

// crowd is a program that opens many files, reads many at once past the page
// cache, compares every byte with the name, says so, and closes them after a
// line on its standard input.
func crowd(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var c crowding
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return err
	}
	path := func(i int) string { return filepath.Join(c.Dir, entries[i%len(entries)].Name()) }
	var files []*os.File
	for i := range c.Open {
		f, err := os.Open(path(i))
		if c.Refused && errors.Is(err, unix.EMFILE) {
			break
		}
		if err != nil {
			return fmt.Errorf("file %d: %w", i, err)
		}
		files = append(files, f)
	}
	if c.Refused == (len(files) == c.Open) {
		return fmt.Errorf("%d files are open", len(files))
	}
	errs := make([]error, c.Readers)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = readDirect(path(i)) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, f := range files {
		if _, err := f.ReadAt(make([]byte, 1), int64(i)); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "read")
	if _, err := lines.ReadString('\n'); err != nil {
		return err
	}
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// readDirect reads a blob with O_DIRECT and compares its digest with its name.
func readDirect(path string) error {
	const size, align = 128 << 10, 4096
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, size+align)
	buf = buf[align-int(uintptr(unsafe.Pointer(&buf[0]))%align):][:size]
	sum := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{f}, buf); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != filepath.Base(path) {
		return fmt.Errorf("%s holds %s", path, got)
	}
	return nil
}

// startCrowd begins a crowd and returns when it has read. leave ends it.
func startCrowd(t *testing.T, c crowding) (leave func()) {
	t.Helper()
	cmd := roleCommand("crowd")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stuck := time.AfterFunc(5*patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		stuck.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.NoError(t, json.NewEncoder(in).Encode(c))
	line, err := bufio.NewReader(pipe).ReadString('\n')
	require.NoError(t, err, "the crowd failed")
	require.Equal(t, "read\n", line)
	return func() {
		t.Helper()
		_, err := io.WriteString(in, "leave\n")
		require.NoError(t, err)
		require.NoError(t, cmd.Wait())
	}
}

// descriptors is how many files a process has open.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	return len(entries)
}

// A thousand readers and ten thousand open files, in little memory.
func TestCrowd(t *testing.T) {
	const (
		limit    = 256 << 20 // bytes of memory, page cache included
		open     = 10_000
		readers  = 1_000
		blobs    = 200
		blobSize = 512 << 10
	)
	raiseOpenFiles(t, 2*open)
	store, mnt := newStore(t), mountPoint(t)
	group := newMemoryGroup(t, limit)
	s := startServerBy(t, group.command(plainProgram(t), "mount", store, mnt))
	in, dir := t.TempDir(), filepath.Join(mnt, "team/app/_blobs/sha256")
	for i := range blobs {
		temp := filepath.Join(in, "blob")
		sum := fill(t, temp, byte(i), blobSize)
		require.NoError(t, os.Rename(temp, filepath.Join(in, sum)))
	}
	shell(t, `mkdir -p "$1/team/app"; cp "$2"/* "$1/team/app/_blobs/sha256/"`, mnt, in)

	before := descriptors(t, s.Process.Pid)
	leave := startCrowd(t, crowding{Dir: dir, Open: open, Readers: readers})
	require.GreaterOrEqual(t, descriptors(t, s.Process.Pid), before+open)
	shell(t, `ls "$1" | wc -l; cat "$1/../../../../.registryfs/errors"`, dir)
	leave()
	require.Equal(t, "0", group.kills(t), "killed for want of memory")
	require.Eventually(t, func() bool { return descriptors(t, s.Process.Pid) <= before }, patience, 10*time.Millisecond,
		"%d descriptors before, more after", before)
	require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, mnt))
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
}

// raiseOpenFiles lets this process and those that it starts have so many files
// open.
func raiseOpenFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if limit.Cur >= n {
		return
	}
	raised := unix.Rlimit{Cur: n, Max: max(n, limit.Max)}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &raised))
	t.Cleanup(func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) })
}

// A daemon that may open few files refuses what is too many, serves what is
// open, and is as before when that is closed.
func TestFewDescriptors(t *testing.T) {
	const limit = 64
	store, mnt := newStore(t), mountPoint(t)
	s := startServerBy(t, exec.Command("prlimit", "--nofile="+strconv.Itoa(limit), program, "mount", store, mnt))
	in := t.TempDir()
	for i := range 3 {
		temp := filepath.Join(in, "blob")
		sum := fill(t, temp, byte(i), 100_000)
		require.NoError(t, os.Rename(temp, filepath.Join(in, sum)))
	}
	shell(t, `mkdir -p "$1/team/app"; cp "$2"/* "$1/team/app/_blobs/sha256/"`, mnt, in)
	dir := filepath.Join(mnt, "team/app/_blobs/sha256")
	before := descriptors(t, s.Process.Pid)
	for range 3 {
		leave := startCrowd(t, crowding{Dir: dir, Open: 1000, Refused: true})
		require.Contains(t, shell(t, `tail -n 1 "$1/.registryfs/errors"`, mnt), "ulimit -n")
		require.Equal(t, "3", shell(t, `ls "$1" | wc -l`, dir), "the rest goes on")
		leave()
		require.Eventually(t, func() bool { return descriptors(t, s.Process.Pid) <= before }, patience, 10*time.Millisecond)
		shell(t, `cd "$1"; for f in *; do echo "$f  $f"; done | sha256sum --quiet --strict -c -; cp "$2"/* "$1"`, dir, in)
	}
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	status, rest := s.end(t)
	require.Equal(t, exitOK, status, rest)
}
