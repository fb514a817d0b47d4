package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const day = 24 * time.Hour

// leftUpload is an upload that somebody left in a store.
type leftUpload struct {
	repo, id  string
	startedAt string        // content of that file; empty: there is none
	written   time.Duration // ago, by the time of its files
}

func (u leftUpload) dir(store string) string {
	return filepath.Join(store, storeDir, "repositories", u.repo, "_uploads", u.id)
}

const leftContent = "left over"

func (u leftUpload) make(t *testing.T, store string) {
	t.Helper()
	dir := u.dir(store)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(store, storeDir, "repositories", u.repo, "_layers"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), []byte(leftContent), 0o644))
	if u.startedAt != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "startedat"), []byte(u.startedAt), 0o644))
	}
	when := time.Now().Add(-u.written)
	files, err := filepath.Glob(dir + "/*")
	require.NoError(t, err)
	for _, file := range files {
		require.NoError(t, os.Chtimes(file, when, when))
	}
}

func ago(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }

// holdUpload keeps an upload open for writing through a mount. The result lets
// go of it.
func holdUpload(t *testing.T, path string) (release func()) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", `exec 3>>"$1"; echo open; read line || :`, "sh", path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	stuck := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "open\n", line)
	return func() {
		defer stuck.Stop()
		in.Close()
		require.NoError(t, cmd.Wait())
	}
}

const (
	oldID    = "00000000-0000-4000-8000-000000000001"
	freshID  = "00000000-0000-4000-8000-000000000002"
	bareID   = "00000000-0000-4000-8000-000000000003"
	tornID   = "00000000-0000-4000-8000-000000000004"
	youngID  = "00000000-0000-4000-8000-000000000005"
	heldID   = "00000000-0000-4000-8000-000000000006"
	nestedID = "00000000-0000-4000-8000-000000000007"
)

// leaveUploads fills a store with uploads, and returns the ids of those that
// are older than a week.
func leaveUploads(t *testing.T, store string) []string {
	t.Helper()
	for _, u := range []leftUpload{
		{"team/app", oldID, ago(8 * day), 0},
		{"team/app", freshID, ago(6 * day), 9 * day},
		{"team/app", bareID, "", 8 * day},
		{"team/app", tornID, "2026-01-", 8 * day},
		{"team/app", youngID, "", 6 * day},
		{"team/app", heldID, ago(8 * day), 8 * day},
		{"team/app/nested", nestedID, ago(9 * day), 9 * day},
	} {
		u.make(t, store)
	}
	return []string{oldID, bareID, tornID, nestedID}
}

// ids are the second fields of what is printed.
func ids(t *testing.T, stdout string) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(stdout) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, fields, 4, line)
		require.Contains(t, []string{"team/app", "team/app/nested"}, fields[0])
		require.Equal(t, itoa(len(leftContent)), fields[2])
		since, err := time.Parse(time.RFC3339, fields[3])
		require.NoError(t, err)
		require.Less(t, since, time.Now().Add(-6*day+time.Minute))
		all = append(all, fields[1])
	}
	return all
}

// state is all that find tells of a store.
func state(t *testing.T, store string) string {
	t.Helper()
	return shell(t, `find "$1" -printf '%p %y %i %s %m %U %T@ %C@\n' | sort`, store)
}

func TestPurgeUploads(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	old := leaveUploads(t, store)
	startServer(t, store, mnt)
	release := holdUpload(t, filepath.Join(mnt, "team/app/_uploads", heldID))
	summary := func(did string, n int) string {
		return fmt.Sprintf("registryfs: %s %s, %d bytes\n", did, counted(n, "upload"), n*len(leftContent))
	}

	before := state(t, store)
	for _, args := range []string{"--dry-run SOURCE", "SOURCE --dry-run", "--older-than 7d SOURCE", "SOURCE --older-than 168h --dry-run", "--older-than=604800 SOURCE --dry-run"} {
		r := registryfs(t, append([]string{"purge-uploads"}, strings.Fields(strings.ReplaceAll(args, "SOURCE", store))...)...)
		if strings.Contains(args, "7d") {
			require.Equal(t, exitUsage, r.status, "days are no unit")
			continue
		}
		require.Equal(t, exitOK, r.status, r.stderr)
		require.ElementsMatch(t, old, ids(t, r.stdout))
		require.Equal(t, summary("would purge", len(old)), r.stderr)
	}
	require.Equal(t, before, state(t, store), "a dry run changes nothing")

	r := registryfs(t, "purge-uploads", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.ElementsMatch(t, old, ids(t, r.stdout))
	require.Equal(t, summary("purged", len(old)), r.stderr)
	require.Equal(t, strings.Join([]string{freshID, youngID, heldID}, "\n"), shell(t, `ls "$1/team/app/_uploads"`, mnt))
	require.Empty(t, shell(t, `ls "$1/team/app/nested/_uploads"`, mnt))

	r = registryfs(t, "purge-uploads", "--older-than", "0", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.ElementsMatch(t, []string{freshID, youngID}, ids(t, r.stdout), "one that is in use stays")
	release()
	shell(t, `until "$1" purge-uploads --older-than 0 "$2" | grep "$3"; do :; done`, program, store, heldID)
	require.Empty(t, shell(t, `ls "$1/team/app/_uploads"`, mnt))

	r = registryfs(t, "purge-uploads", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Empty(t, r.stdout)
	require.Equal(t, summary("purged", 0), r.stderr)
}

func TestPurgeUploadsWhereThereIsNoWriting(t *testing.T) {
	t.Run("read-only media", func(t *testing.T) {
		store := newStore(t)
		old := append(leaveUploads(t, store), heldID)
		before := state(t, store)
		const script = `mount --bind -r "$3" "$3"; exec $1 purge-uploads "$3" `
		r := elsewhereOn(t, script+"--dry-run", store)
		require.Equal(t, exitOK, r.status, r.stderr)
		require.ElementsMatch(t, old, ids(t, r.stdout))
		r = elsewhereOn(t, script, store)
		require.Equal(t, exitFailed, r.status)
		require.Contains(t, r.stderr, "read-only media")
		require.Equal(t, before, state(t, store))
	})
	t.Run("another's store", func(t *testing.T) {
		store := newStore(t)
		old := append(leaveUploads(t, store), heldID)
		r := elsewhereOn(t, `nobody $1 purge-uploads "$3" --dry-run`, store)
		require.Equal(t, exitOK, r.status, r.stderr)
		require.ElementsMatch(t, old, ids(t, r.stdout))
	})
	// What fails does not keep the rest from being purged.
	t.Run("some", func(t *testing.T) {
		store := newStore(t)
		old := append(leaveUploads(t, store), heldID)
		r := elsewhereOn(t, `uploads="$3/`+storeDir+`/repositories/team/app/nested/_uploads"
			mount --bind -r "$uploads" "$uploads"; exec $1 purge-uploads "$3"`, store)
		require.Equal(t, exitFailed, r.status)
		require.ElementsMatch(t, old, append(ids(t, r.stdout), nestedID))
		require.Contains(t, r.stderr, "purged 4 uploads")
		require.Contains(t, r.stderr, "team/app/nested/_uploads/"+nestedID)
		require.Contains(t, r.stderr, "read-only file system")
		require.DirExists(t, leftUpload{repo: "team/app/nested", id: nestedID}.dir(store))
		require.NoDirExists(t, leftUpload{repo: "team/app", id: oldID}.dir(store))
	})
}

func TestListedFailures(t *testing.T) {
	var said strings.Builder
	require.NoError(t, listed(nil, &said))
	require.Equal(t, io.EOF, listed(io.EOF, &said))
	one := multi{io.EOF}
	require.Equal(t, io.EOF, listed(one, &said))
	require.Empty(t, said.String())
	require.EqualError(t, listed(multi{io.EOF, io.ErrNoProgress}, &said), "2 failures")
	require.Equal(t, "registryfs: EOF\nregistryfs: multiple Read calls return no data or error\n", said.String())
}

type multi []error

func (m multi) Error() string   { return "many" }
func (m multi) Unwrap() []error { return m }
