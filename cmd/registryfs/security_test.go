package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// nobody runs a script as a user who owns nothing.
func nobody(t *testing.T, script string, args ...string) result {
	t.Helper()
	needRoot(t)
	return execute(t, "setpriv", append([]string{"--reuid", "65534", "--regid", "65534", "--clear-groups", "--",
		"timeout", "20", "sh", "-euc", script, "sh"}, args...)...)
}

func TestOthersAreKeptOut(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	startServer(t, store, mnt)
	img := makeLayout(t, "private")
	copyIn(t, img, mnt, "team/app", "v1")
	m, err := mountAt(mnt)
	require.NoError(t, err)
	options := strings.Split(m.Options, ",")
	require.Contains(t, options, "nosuid")
	require.Contains(t, options, "nodev")
	require.NotContains(t, m.VFSOptions, "allow_other")
	require.Zero(t, nobody(t, `ls "$1"`, filepath.Dir(mnt)).status, "as far as the mount they come")
	for _, script := range []string{
		`ls "$1"`, `stat "$1/team"`, `cat "$1/team/app/_tags/v1"`, `cat "$1/.registryfs/errors"`, `mkdir "$1/x"`,
		`echo x > "$1/team/app/_blobs/x"`, `rm "$1/team/app/_tags/v1"`,
	} {
		r := nobody(t, script, mnt)
		require.NotZero(t, r.status, script)
		require.Contains(t, strings.ToLower(r.stderr), "permission denied", script)
	}
	shell(t, `cat "$1/team/app/_tags/v1"`, mnt)
}

func TestModesHoldForOthers(t *testing.T) {
	store := newStore(t)
	mount := func(t *testing.T, flags ...string) (mnt string) {
		mnt = mountPoint(t)
		startServer(t, append([]string{store, mnt, "--allow-other"}, flags...)...)
		return mnt
	}
	denied := func(t *testing.T, mnt string, scripts ...string) {
		t.Helper()
		for _, script := range scripts {
			r := nobody(t, script, mnt)
			require.NotZero(t, r.status, script)
			said := strings.ToLower(r.stderr)
			require.True(t, strings.Contains(said, "permission denied") || strings.Contains(said, "not permitted"), "%s: %s", script, said)
		}
	}
	const blob = `f=$(ls "$1/team/app/_blobs/sha256" | head -n 1); f=$1/team/app/_blobs/sha256/$f; `
	t.Run("readable", func(t *testing.T) {
		mnt := mount(t)
		copyIn(t, makeLayout(t, "shared"), mnt, "team/app", "v1")
		require.Equal(t, "755 755 644 600 600", shell(t, blob+`stat -c %a "$1" "$1/team" "$f" "$1/.registryfs/errors" "$1/.registryfs/version" |
			paste -sd " " -`, mnt))
		require.Zero(t, nobody(t, blob+`cat "$f" > /dev/null; cat "$1/team/app/_tags/v1" > /dev/null; ls -R "$1/team" > /dev/null`, mnt).status)
		denied(t, mnt, `echo x > "$1/team/app/_blobs/x"`, blob+`echo x > "$f"`, blob+`rm "$f"`, `rm "$1/team/app/_tags/v1"`,
			`ln -s v1 "$1/team/app/_tags/v2"`, `mv "$1/team/app/_tags/v1" "$1/team/app/_tags/v2"`, `mkdir "$1/team/new"`,
			blob+`ln "$f" "$1/team/app/_blobs/x"`, blob+`chmod 777 "$f"`, blob+`chown 65534 "$f"`, blob+`truncate -s 0 "$f"`,
			`cat "$1/.registryfs/errors"`, `cat "$1/.registryfs/version"`)
		// A file that is being written is others' to read, not to write.
		shell(t, `cp /etc/passwd "$1/team/app/_blobs/.scratch"`, mnt)
		denied(t, mnt, `echo x >> "$1/team/app/_blobs/.scratch"`, `rm "$1/team/app/_blobs/.scratch"`)
	})
	t.Run("with a umask", func(t *testing.T) {
		mnt := mount(t, "--umask", "027")
		require.Equal(t, "750 640", shell(t, blob+`stat -c %a "$1/team" "$f" | paste -sd " " -`, mnt))
		denied(t, mnt, `ls "$1"`, `cat "$1/team/app/_tags/v1"`)
	})
	t.Run("owned by another", func(t *testing.T) {
		mnt := mount(t, "--uid", "65534", "--umask", "077")
		r := nobody(t, `echo mine > "$1/team/app/_blobs/mine"; cat "$1/team/app/_blobs/mine" "$1/.registryfs/errors"`, mnt)
		require.Zero(t, r.status, r.stderr)
		require.Equal(t, "mine\n", r.stdout)
	})
}

// The key that signs manifests stays in its file, and in memory, whatever fails
// and however much is logged.
func TestKeyStaysSecret(t *testing.T) {
	store, mnt := newStore(t), mountPoint(t)
	_, keyFile := newKey(t)
	text, err := os.ReadFile(keyFile)
	require.NoError(t, err)
	var secrets []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "-----") && !strings.Contains(line, ":") { // the frame, and headers
			secrets = append(secrets, strings.TrimSpace(line))
		}
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
	require.NotEmpty(t, secrets)
	log := filepath.Join(t.TempDir(), "log")
	s := startServer(t, store, mnt, "--signing-key", keyFile, "--log-level", "debug", "--log-file", log)
	shell(t, `mkdir -p "$1/team/app"; ! echo nonsense > "$1/team/app/_tags/v1"; ! cat "$1/team/app/_blobs/sha256/none"; cp "$2" "$1/team/app/_blobs/.key"
		! mv "$1/team/app/_blobs/.key" "$1/team/app/_tags/v1" 2>"$3"; rm -f "$1/team/app/_blobs/.key"`, mnt, keyFile, filepath.Join(t.TempDir(), "said"))
	proc := fmt.Sprintf("/proc/%d/", s.Process.Pid)
	for _, file := range []string{log, proc + "cmdline", proc + "environ", filepath.Join(mnt, ".registryfs/errors")} {
		said := shell(t, `tr "\0" "\n" < "$1"`, file)
		for _, secret := range secrets {
			require.NotContains(t, said, secret, file)
		}
	}
	limits, err := os.ReadFile(proc + "limits")
	require.NoError(t, err)
	require.Regexp(t, `Max core file size +0 `, string(limits), "a crash leaves no memory behind")
}
