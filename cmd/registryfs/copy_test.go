package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// filledMount is a mount of a store that a stock registry has filled with two
// repositories.
type filledMount struct {
	mnt    string
	peer   *peer
	app    *layout // team/app:v1
	nested *layout // team/app/nested:v1 and :v2
}

func mountFilled(t *testing.T) filledMount {
	t.Helper()
	store, mnt := newPeerStore(t), mountPoint(t)
	f := filledMount{mnt, startPeer(t, store), makeLayout(t, "app"), makeLayout(t, "nested")}
	f.peer.push(t, f.app, "team/app", "v1")
	f.peer.push(t, f.nested, "team/app/nested", "v1")
	f.peer.push(t, f.nested, "team/app/nested", "v2")
	startServer(t, store, mnt)
	return f
}

// files is how many files and links a mount of the two has in all.
func (f filledMount) files() int {
	return len(f.app.manifests) + len(f.app.blobs) + len(f.nested.manifests) + len(f.nested.blobs) + 3
}

// checkCopy reads all images out of a copy of the tree.
func (f filledMount) checkCopy(t *testing.T, root string) {
	t.Helper()
	checkMounted(t, root, "team/app", "v1", f.app.image)
	checkMounted(t, root, "team/app/nested", "v1", f.nested.image)
	checkMounted(t, root, "team/app/nested", "v2", f.nested.image)
}

// same compares two trees, links by what they say.
func same(t *testing.T, a, b string) {
	t.Helper()
	shell(t, `diff -r --no-dereference "$1" "$2"`, a, b)
}

func TestCopyingOut(t *testing.T) {
	f := mountFilled(t)
	out := publicDir(t)
	target := func(name string) string {
		dir := filepath.Join(out, name)
		require.NoError(t, os.Mkdir(dir, 0o755))
		return dir
	}

	t.Run("find", func(t *testing.T) {
		found := strings.Fields(shell(t, `find "$1" ! -type d`, f.mnt))
		require.Len(t, found, f.files())
		byStat := strings.Fields(shell(t, `find "$1" ! -type d -newermt 1960-01-01`, f.mnt))
		require.Equal(t, found, byStat, "asking for attributes shows the same")
		require.NotContains(t, strings.Join(found, "\n"), "_uploads")
	})
	t.Run("ls", func(t *testing.T) {
		r := execute(t, "ls", "-lR", f.mnt)
		require.Zero(t, r.status)
		require.Empty(t, r.stderr)
		require.Contains(t, r.stdout, "v1 -> ../_manifests/sha256/"+f.app.root)
		require.Equal(t, f.files(), strings.Count("\n"+r.stdout, "\n-")+strings.Count("\n"+r.stdout, "\nl"))
	})
	t.Run("tar", func(t *testing.T) {
		dir := target("tar")
		shell(t, `tar -C "$1" -cf - . | tar -C "$2" -xf -`, f.mnt, dir)
		same(t, f.mnt, dir)
		f.checkCopy(t, dir)
	})
	t.Run("rsync", func(t *testing.T) {
		needProgram(t, "rsync", "rsync")
		dir := target("rsync")
		shell(t, `rsync -a "$1/" "$2/"`, f.mnt, dir)
		same(t, f.mnt, dir)
		f.checkCopy(t, dir)
		require.Empty(t, shell(t, `rsync -ai "$1/" "$2/" | grep -v '^\.d' || :`, f.mnt, dir), "there is nothing left to do")
		require.Empty(t, shell(t, `rsync -aic "$1/" "$2/" | grep -v '^\.d' || :`, f.mnt, dir))
	})
	t.Run("cp", func(t *testing.T) {
		dir := target("cp")
		shell(t, `cp -a "$1/." "$2/"`, f.mnt, dir)
		same(t, f.mnt, dir)
		f.checkCopy(t, dir)
	})
	t.Run("grep", func(t *testing.T) {
		require.Equal(t, 2*len(f.app.manifests), len(strings.Fields(shell(t, `grep -rl schemaVersion "$1"`, f.mnt))),
			"every document is met once")
	})
	require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, f.mnt))
}

// copies are the ways to copy the repository tree $1/ into $2/. cp takes it for
// an error that a directory which it made itself already has _blobs.
var copies = map[string]string{
	"cp":    `mkdir -p "$2/nested"; cp -a "$1/." "$2/"`,
	"rsync": `mkdir -p "$2"; rsync -a "$1/" "$2/"; again=$(rsync -ai "$1/" "$2/" | grep '^[<>c]' || :); [ -z "$again" ] || { echo "again: $again"; exit 1; }`,
	"tar":   `mkdir -p "$2"; tar -C "$1" -cf - . | tar -C "$2" -xf -`,
}

func TestCopyingBetweenRepositories(t *testing.T) {
	needProgram(t, "rsync", "rsync")
	f := mountFilled(t)
	for name, script := range copies {
		t.Run(name, func(t *testing.T) {
			from, to := filepath.Join(f.mnt, "team/app"), filepath.Join(f.mnt, "copies", name)
			shell(t, script, from, to)
			same(t, from, to)
			for _, repo := range []string{name, name + "/nested"} {
				require.Empty(t, shell(t, `find "$1/_uploads" -type f`, filepath.Join(f.mnt, "copies", repo)))
			}
			checkMounted(t, f.mnt, "copies/"+name, "v1", f.app.image)
			checkMounted(t, f.mnt, "copies/"+name+"/nested", "v2", f.nested.image)
			f.peer.checkPulled(t, "copies/"+name, "v1", f.app)
			f.peer.checkPulled(t, "copies/"+name+"/nested", "v2", f.nested)
		})
	}
	require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, f.mnt))
}

func TestCopyingBetweenMounts(t *testing.T) {
	needProgram(t, "rsync", "rsync")
	f := mountFilled(t)
	for name, script := range copies {
		t.Run(name, func(t *testing.T) {
			store, mnt := newPeerStore(t), mountPoint(t)
			startServer(t, store, mnt)
			shell(t, script, filepath.Join(f.mnt, "team/app"), filepath.Join(mnt, "team/app"))
			same(t, f.mnt, mnt)
			f.checkCopy(t, mnt)
			require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, mnt))
			p := startPeer(t, store)
			p.checkPulled(t, "team/app", "v1", f.app)
			p.checkPulled(t, "team/app/nested", "v2", f.nested)

			s := startServer(t, store, mountPoint(t))
			require.NotEmpty(t, s.ready, "a second mount of the store")
		})
	}
}

// A repository goes into an archive and comes out of it with its tags.
func TestArchive(t *testing.T) {
	f := mountFilled(t)
	archive := filepath.Join(t.TempDir(), "app.tar")
	shell(t, `tar -C "$1/team" -cf "$2" app`, f.mnt, archive)

	t.Run("into another registry", func(t *testing.T) {
		store, mnt := newPeerStore(t), mountPoint(t)
		startServer(t, store, mnt)
		shell(t, `mkdir "$1/team"; tar -C "$1/team" -xf "$2"`, mnt, archive)
		same(t, f.mnt, mnt)
		f.checkCopy(t, mnt)
		require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, mnt))
		startPeer(t, store).checkPulled(t, "team/app/nested", "v1", f.nested)
	})
	t.Run("over itself", func(t *testing.T) {
		// By itself tar would first remove what is there.
		shell(t, `tar -C "$1/team" --skip-old-files -xf "$2"`, f.mnt, archive)
		f.checkCopy(t, f.mnt)
		shell(t, `tar -C "$1/team" --overwrite -xf "$2"`, f.mnt, archive)
		f.checkCopy(t, f.mnt)
	})
	t.Run("under another name", func(t *testing.T) {
		shell(t, `mkdir -p "$1/restored"; tar -C "$1/restored" --strip-components=1 -xf "$2"`, f.mnt, archive)
		same(t, filepath.Join(f.mnt, "team/app"), filepath.Join(f.mnt, "restored"))
		f.peer.checkPulled(t, "restored", "v1", f.app)
	})
	require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, f.mnt))
}
