package fsmount_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCrashKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	m := newMount(t, serveOptions{Store: t.TempDir()})
	r := m.repo(t)
	index, images := r.pushedIndex(t, "v1")
	r.ok(t, `ln -s v1 "$R/_tags/latest"; ln -s "$1" "$R/_tags/gone"; rm "$R/_tags/gone"; cp "$2" "$R/_blobs/.tmp"
		ln -sfn "$1" "$R/_tags/latest"; ln -s v1 "$R/_tags/CuDNN812"; cp "$2" "$R/_tags/sed201901"`, images[0].manifest.digest(), index.path)
	unfinished := r.random(t, "unfinished", 50_000)
	content, err := unfinished.content()
	require.NoError(t, err)
	_, _, id := r.blockedCopy(t, "_blobs/name", content[:30_000])
	m.kill()

	m = m.again(t, serveOptions{})
	r.mount = m
	r.requireTag(t, "v1", index)
	r.requireTag(t, "latest", images[0].manifest)
	r.requireTag(t, "CuDNN812", index)
	r.requireTag(t, "sed201901", index)
	require.Equal(t, "CuDNN812\nlatest\nsed201901\nv1", r.ok(t, `ls "$R/_tags"`))
	for _, i := range images {
		r.ok(t, `cmp "$1" "$R/_manifests/sha256/$2"`, i.manifest.path, i.manifest.hex)
		for _, f := range i.blobs() {
			r.requireBlob(t, f)
		}
	}
	require.Contains(t, r.ok(t, `ls "$R/_uploads"`), id)
	r.ok(t, `tail -c +"$(($(stat -c %s "$R/_uploads/$1") + 1))" "$2" >> "$R/_uploads/$1"; mv "$R/_uploads/$1" "$R/_blobs/sha256/$3"`,
		id, unfinished.path, unfinished.hex)
	r.requireBlob(t, unfinished)
}

func TestTermination(t *testing.T) {
	t.Run("keeps a file that is open for writing as an upload", func(t *testing.T) {
		t.Parallel()
		m := newMount(t, serveOptions{Store: t.TempDir(), Drain: 100 * time.Millisecond})
		r := m.repo(t)
		_, _, id := r.blockedCopy(t, "_blobs/name", []byte("unfinished"))
		m.stop(t)
		r.mount = m.again(t, serveOptions{})
		require.Equal(t, "unfinished", r.ok(t, `cat "$R/_uploads/$1"`, id))
		require.Empty(t, r.ok(t, `ls "$R/_blobs/sha256"`))
	})
	t.Run("keeps scratch as an upload", func(t *testing.T) {
		t.Parallel()
		m := newMount(t, serveOptions{Store: t.TempDir()})
		r := m.repo(t)
		r.ok(t, `printf scratch > "$R/_blobs/.scratch"`)
		m.stop(t)
		r.mount = m.again(t, serveOptions{})
		require.Equal(t, "scratch", r.ok(t, `cat "$R"/_uploads/*`))
	})
	t.Run("detaches at once and serves open files to their end", func(t *testing.T) {
		t.Parallel()
		m := newMount(t, serveOptions{Store: t.TempDir(), Drain: patience})
		r := m.repo(t)
		f := r.random(t, "f", 1<<20)
		r.pushBlobs(t, f)
		content, err := f.content()
		require.NoError(t, err)
		written := r.random(t, "written", 300_000)
		rest, err := written.content()
		require.NoError(t, err)
		reader := r.start(t, "sh", "-ec", `exec 3< "$R/_blobs/sha256/$1"; echo open; read line; sha256sum <&3`, "sh", f.hex)
		require.Equal(t, "open", reader.line(t))
		writer, feed, _ := r.blockedCopy(t, "_blobs/sha256/"+written.hex, rest[:10_000])

		late := r.start(t, "sh", "-c", `cd "$R"; echo inside; read line; cp "$1" _blobs/late 2>&1; ln -s x _tags/late 2>&1`, "sh", f.path)
		require.Equal(t, "inside", late.line(t))

		require.NoError(t, m.server.Process.Signal(syscall.SIGTERM))
		r.until(t, `! ls -d "$R"`)
		_, err = late.stdin.Write([]byte("\n"))
		require.NoError(t, err)
		for range 2 {
			require.Contains(t, late.line(t), "transport endpoint shutdown", "nothing new is begun")
		}
		_, err = reader.stdin.Write([]byte("\n"))
		require.NoError(t, err)
		require.Equal(t, f.hex, reader.line(t)[:64])
		_, err = feed.Write(rest[10_000:])
		require.NoError(t, err)
		require.NoError(t, feed.Close())
		require.True(t, writer.finish(t).Success(), "%s", writer.stderr)
		m.wait(t)

		stored, err := os.ReadFile(filepath.Join(m.store, written.stored()))
		require.NoError(t, err)
		require.Equal(t, rest, stored)
		require.Len(t, content, 1<<20)
	})
}

func TestUnmounting(t *testing.T) {
	t.Parallel()
	m := newMount(t, serveOptions{})
	r := m.repo(t)
	r.ok(t, `fusermount3 -u "$M"`)
	m.wait(t)
	require.Zero(t, m.server.ProcessState.ExitCode())
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	m := newMount(t, serveOptions{Store: t.TempDir()})
	r := m.repo(t)
	i := r.pushed(t, "image", "v1")
	other := r.random(t, "other", 100)
	_, _, id := r.blockedCopy(t, "_blobs/name", []byte("unfinished"))
	m.stop(t)

	// Looking changes the access times of directories; those of files show who reads.
	state := `find "$STORE" -printf '%p %s %m %u %i %T@ %C@\n' -type f -printf '%A@\n' | sort`
	r.mount = m.again(t, serveOptions{ReadOnly: true})
	before := r.ok(t, state)
	r.requireTag(t, "v1", i.manifest)
	for _, f := range i.blobs() {
		r.requireBlob(t, f)
	}
	require.Equal(t, "unfinished", r.ok(t, `cat "$R/_uploads/$1"`, id))
	r.ok(t, `ls -lR "$R"; du -s "$R"; df "$M"; rsync -a "$R/" "$W/copy/"`)
	for _, script := range []string{
		`cp "$1" "$R/_blobs/sha256/$2"`, `cp "$1" "$R/_blobs/name"`, `cp "$1" "$R/_tags/v1"`, `cp "$1" "$R/_blobs/sha256/$3"`,
		`ln -s v1 "$R/_tags/v2"`, `ln -sfn v1 "$R/_tags/v2"`, `rm "$R/_tags/v1"`, `mv "$R/_tags/v1" "$R/_tags/v2"`,
		`mkdir "$M/team/new"`, `rm "$R/_uploads/$4"`, `mv "$R/_uploads/$4" "$R/_blobs/name"`, `dd if="$1" of="$R/_uploads/$4"`,
		`ln "$R/_blobs/sha256/$3" "$R/_blobs/other"`, `rm "$R/_blobs/sha256/$3"`, `touch "$R/_blobs/new"`,
		`chmod 600 "$R/_blobs/sha256/$3"`, `setfattr -n user.registryfs.digest -v x "$R/_blobs/sha256/$3"`,
	} {
		r.fails(t, "Read-only file system", script, other.path, other.hex, i.layers[0].hex, id)
	}
	require.Equal(t, before, r.ok(t, state), "nothing under the store changed")
}
