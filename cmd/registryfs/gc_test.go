package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

// garbage puts content into a store that no manifest needs, and returns its
// digest.
func garbage(t *testing.T, store, repo, content string) digest.Digest {
	t.Helper()
	d := digest.FromBytes([]byte(content))
	for file, content := range map[string]string{blobFile(store, d): content, linkFile(store, repo, d): d.String()} {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
	return d
}

func blobFile(store string, d digest.Digest) string {
	return filepath.Join(store, storeDir, "blobs/sha256", d.Encoded()[:2], d.Encoded(), "data")
}

func linkFile(store, repo string, d digest.Digest) string {
	return filepath.Join(store, storeDir, "repositories", repo, "_layers/sha256", d.Encoded(), "link")
}

// copyInto makes a repository of a store by means of a mount, which has ended when
// it returns.
func copyInto(t *testing.T, store, repo string, images map[string]*layout) {
	t.Helper()
	mnt := mountPoint(t)
	s := startServer(t, store, mnt)
	for tag, l := range images {
		copyIn(t, l, mnt, repo, tag)
	}
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	status, _ := s.end(t)
	require.Equal(t, exitOK, status)
}

func TestGC(t *testing.T) {
	store, made := newStore(t), makeLayout(t, "kept")
	copyInto(t, store, "team/app", map[string]*layout{"v1": made})
	d := garbage(t, store, "team/app", "garbage")
	before := state(t, store)

	r := registryfs(t, "gc", store)
	require.Equal(t, exitFailed, r.status)
	require.Contains(t, r.stderr, "exclusive")
	require.Contains(t, r.stderr, "--offline")
	require.Equal(t, 1, strings.Count(r.stderr, "\n"))
	require.Empty(t, r.stdout)

	r = registryfs(t, "gc", "--offline", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Empty(t, r.stdout, "all of it is younger than a day")
	require.NotContains(t, r.stderr, "restart")
	require.Equal(t, before, state(t, store))

	r = registryfs(t, "gc", "--dry-run", "--grace=0", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	want := "link\tteam/app\t" + d.String() + "\t0\tremoved\nblob\t\t" + d.String() + "\t7\tremoved\n"
	require.Equal(t, want, r.stdout)
	require.Equal(t, "registryfs: would remove 0 manifests, 1 link, 0 leftovers and 1 blob of content, 7 bytes\n", r.stderr)
	require.Equal(t, before, state(t, store))

	// What cannot be read is told, and keeps what it may need.
	tag := filepath.Join(store, storeDir, "repositories/broken/_manifests/tags/v1/current/link")
	require.NoError(t, os.MkdirAll(filepath.Dir(tag), 0o755))
	require.NoError(t, os.WriteFile(tag, []byte("nonsense"), 0o644))
	kept := garbage(t, store, "broken", "kept")

	r = registryfs(t, "gc", "--offline", "--grace", "0s", store, "--json")
	require.Equal(t, exitOK, r.status, r.stderr)
	var lines []map[string]any
	for text := range strings.Lines(r.stdout) {
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &line), text)
		lines = append(lines, line)
	}
	require.Len(t, lines, 4)
	require.Equal(t, "damage", lines[0]["kind"])
	require.Equal(t, "broken", lines[0]["repository"])
	require.Contains(t, lines[0]["path"], "/broken/_manifests/tags/v1/current/link")
	require.NotEmpty(t, lines[0]["reason"])
	require.Equal(t, "link", lines[1]["kind"])
	require.Equal(t, d.String(), lines[1]["digest"])
	require.Equal(t, "blob", lines[2]["kind"])
	require.EqualValues(t, 7, lines[2]["size"])
	none := map[string]any{"manifests": 0.0, "links": 0.0, "blobs": 0.0, "leftovers": 0.0, "bytes": 0.0}
	require.Equal(t, map[string]any{
		"aside": none, "restored": none, "kind": "summary", "dryRun": false, "contentKept": false, "repositories": 2.0,
		"manifests": 0.0, "links": 1.0, "blobs": 1.0, "leftovers": 0.0, "bytes": 7.0, "damage": 1.0,
	}, lines[3])
	require.Contains(t, r.stderr, "cannot read /docker/registry/v2/repositories/broken/_manifests/tags/v1/current/link")
	require.Contains(t, r.stderr, "registryfs check")
	require.Contains(t, r.stderr, "restart registries")
	require.Contains(t, r.stderr, "blobdescriptor")
	require.NoFileExists(t, blobFile(store, d))
	require.FileExists(t, blobFile(store, kept))

	mnt := mountPoint(t)
	startServer(t, store, mnt)
	checkMounted(t, mnt, "team/app", "v1", made.image)
	checkListed(t, mnt, "team/app", made.image)
}

// Whatever is in a name, a thing is told in one line.
func TestForeignNamesAreQuoted(t *testing.T) {
	store := newStore(t)
	d := garbage(t, store, "two\n\tlines", "kept")
	const quoted = `"/docker/registry/v2/repositories/two\n\tlines"`

	r := registryfs(t, "gc", "--offline", "--grace=0", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Empty(t, r.stdout)
	require.Contains(t, r.stderr, "registryfs: cannot read "+quoted+": ")
	require.Contains(t, r.stderr, "kept all content")
	require.Equal(t, 4, strings.Count(r.stderr, "\n"), r.stderr)
	require.FileExists(t, blobFile(store, d))

	r = registryfs(t, "check", store)
	require.Equal(t, exitDamage, r.status, r.stderr)
	require.True(t, strings.HasPrefix(r.stdout, "foreign\tdamage\t"+quoted+"\t"), r.stdout)
	require.Equal(t, 1, strings.Count(r.stdout, "\n"), r.stdout)
}

func TestGCUsage(t *testing.T) {
	for _, tc := range []struct{ args, says string }{
		{"gc", "one SOURCE"},
		{"gc /a /b", "one SOURCE"},
		{"gc /a --grace never", "--grace"},
		{"gc /a --grace -1h", "--grace"},
		{"gc /a --grace 876001h", "--grace"},
		{"gc /a --online", "-online"},
		{"rm /a", "SOURCE and REPOSITORY"},
		{"rm /a b c", "SOURCE and REPOSITORY"},
		{"rm -r /a b", "-r"},
	} {
		r := registryfs(t, strings.Fields(tc.args)...)
		require.Equal(t, exitUsage, r.status, tc.args)
		require.Contains(t, r.stderr, tc.says, tc.args)
		require.Empty(t, r.stdout, tc.args)
	}
	dir := t.TempDir()
	for _, tc := range []struct{ args, says string }{
		{"gc --offline mem:", "ends with its mount"},
		{"rm mem: app", "ends with its mount"},
		{"gc --offline " + dir, "is empty"},
		{"rm " + dir + " app", "is empty"},
		{"gc --offline " + dir + "/missing", "does not exist"},
	} {
		r := registryfs(t, strings.Fields(tc.args)...)
		require.Equal(t, exitFailed, r.status, tc.args)
		require.Contains(t, r.stderr, tc.says, tc.args)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
	}
	require.Equal(t, exitOK, registryfs(t, "help", "gc").status)
	require.Equal(t, exitOK, registryfs(t, "rm", "--help").status)
}

// Where the repositories are not mounted, all content stays, and where they were
// removed it goes.
func TestGCWithoutRepositories(t *testing.T) {
	store, elsewhere := newStore(t), filepath.Join(t.TempDir(), "elsewhere")
	repositories := filepath.Join(store, storeDir, "repositories")
	d := garbage(t, store, "app", "garbage")
	require.NoError(t, os.Rename(repositories, elsewhere))
	for _, flags := range [][]string{{"--offline"}, {"--dry-run"}, {"--offline", "--json"}} {
		r := registryfs(t, append([]string{"gc", "--grace=0", store}, flags...)...)
		require.Equal(t, exitFailed, r.status)
		require.Empty(t, r.stdout)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
		require.Contains(t, r.stderr, "not mounted on "+repositories)
		require.FileExists(t, blobFile(store, d))
	}
	_, says, _ := strings.Cut(registryfs(t, "gc", "--offline", store).stderr, "say so with ")
	shell(t, says)
	r := registryfs(t, "gc", "--offline", "--grace=0", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.NoFileExists(t, blobFile(store, d))

	d = garbage(t, store, "app", "garbage")
	require.Equal(t, exitOK, registryfs(t, "rm", store, "app").status)
	require.NoError(t, os.RemoveAll(filepath.Join(store, "registryfs/trash")))
	r = registryfs(t, "gc", "--offline", "--grace=0", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.NoFileExists(t, blobFile(store, d))
}

// What its user may not look into is named, and keeps all content.
func TestGCWithoutPermission(t *testing.T) {
	store := newStore(t)
	kept, gone := garbage(t, store, "denied", "kept"), garbage(t, store, "app", "garbage")
	repositories := filepath.Join(store, storeDir, "repositories")
	r := elsewhereOn(t, `chown -R 65534 "$3"; chmod 0 "$3/`+storeDir+`/repositories/denied"; nobody $1 gc --offline --grace 0 "$3"`, store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Contains(t, r.stderr, "cannot read /docker/registry/v2/repositories/denied: ")
	require.Contains(t, r.stderr, "kept all content")
	require.Equal(t, "link\tapp\t"+gone.String()+"\t0\tremoved\n", r.stdout)
	require.NoError(t, os.Chmod(filepath.Join(repositories, "denied"), 0o755))
	require.FileExists(t, blobFile(store, kept))
	require.FileExists(t, linkFile(store, "denied", kept))
	require.FileExists(t, blobFile(store, gone))
}

// A dry run is for stores that cannot be written, too.
func TestGCOnReadOnlyMedia(t *testing.T) {
	store := newStore(t)
	d := garbage(t, store, "app", "garbage")
	r := elsewhereOn(t, `mount --bind -r "$3" "$3"; exec $1 gc --dry-run --grace 0 "$3"`, store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Contains(t, r.stdout, d.String())
	r = elsewhereOn(t, `mount --bind -r "$3" "$3"; exec $1 gc --offline --grace 0 "$3"`, store)
	require.Equal(t, exitFailed, r.status)
	require.Contains(t, r.stderr, "read-only media")
	require.FileExists(t, blobFile(store, d))
}

// What survives is pulled from a stock registry, whose own collector finds
// nothing wrong.
func TestGCUnderAStockRegistry(t *testing.T) {
	store := newPeerStore(t)
	p, theirs, ours, old := startPeer(t, store), makeLayout(t, "theirs"), makeLayout(t, "ours"), makeLayout(t, "old")
	p.push(t, theirs, "team/theirs", "v1")
	p.push(t, theirs, "team/docker", "v1", "--format", "v2s2")
	docker := p.fetch(t, "team/docker", "v1")
	p.push(t, old, "team/theirs", "moved")
	p.push(t, theirs, "team/theirs", "moved")
	p.push(t, old, "team/theirs/nested", "v1")
	p.stop(t)
	copyInto(t, store, "team/ours", map[string]*layout{"v1": ours})
	d := garbage(t, store, "team/ours", "garbage")

	r := registryfs(t, "gc", "--offline", "--grace", "0", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.NoFileExists(t, blobFile(store, d))
	require.Equal(t, 1, strings.Count(r.stdout, "link\t"), r.stdout)
	r = registryfs(t, "gc", "--offline", "--grace", "0", "--untagged", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Contains(t, r.stderr, "removed 3 manifests, 5 links", "the moved tag's: an index of two platforms")
	r = registryfs(t, "rm", store, "team/theirs/nested")
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Contains(t, r.stderr, "restart registries")
	r = registryfs(t, "gc", "--offline", "--grace", "0", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	for _, hex := range append(old.blobs, old.manifests...) {
		require.NoFileExists(t, blobFile(store, digest.Digest("sha256:"+hex)))
	}

	pulled := func() {
		t.Helper()
		p.start(t)
		p.checkPulled(t, "team/theirs", "v1", theirs)
		p.checkPulled(t, "team/theirs", "moved", theirs)
		p.checkPulled(t, "team/ours", "v1", ours)
		require.Equal(t, docker, p.fetch(t, "team/docker", "v1"))
		require.Equal(t, []string{"moved", "v1"}, p.tags(t, "team/theirs"))
	}
	pulled()
	p.stop(t)
	// Beside a mount as well, which has the store for that time.
	mounted := mountPoint(t)
	s := startServer(t, "--exclusive", store, mounted)
	garbage(t, store, "team/ours", "more garbage")
	for _, did := range []string{"aside", "removed"} {
		r = registryfs(t, "gc", "--grace", "0", "--untagged", store)
		require.Equal(t, exitOK, r.status, r.stderr)
		require.Equal(t, 2, strings.Count(r.stdout, "\t"+did+"\n"), r.stdout)
	}
	require.Equal(t, exitOK, registryfs(t, "unmount", mounted).status)
	s.end(t)
	pulled()
	p.push(t, old, "team/theirs", "again")
	p.checkPulled(t, "team/theirs", "again", old)
	p.stop(t)
	require.NotContains(t, p.collectGarbage(t), "blob eligible for deletion", "nothing is left to collect")
	mnt := mountPoint(t)
	startServer(t, store, mnt)
	checkMounted(t, mnt, "team/theirs", "v1", theirs.image)
	checkMounted(t, mnt, "team/ours", "v1", ours.image)
	p.start(t)
	p.checkPulled(t, "team/theirs", "again", old)
}

func TestRm(t *testing.T) {
	store, made := newStore(t), makeLayout(t, "kept")
	copyInto(t, store, "team/app", map[string]*layout{"v1": made})
	copyInto(t, store, "team/app/nested", map[string]*layout{"v1": made})
	before := state(t, store)
	for _, name := range []string{"team", "missing", "team/app/v1", "..", "Team", ""} {
		r := registryfs(t, "rm", store, name)
		require.Equal(t, exitFailed, r.status, name)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
	}
	require.Equal(t, before, state(t, store))
	r := registryfs(t, "rm", store, "team/app")
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Contains(t, r.stderr, "removed team/app")
	require.Empty(t, r.stdout)
	require.Equal(t, exitFailed, registryfs(t, "rm", store, "team/app").status)

	mnt := mountPoint(t)
	startServer(t, store, mnt)
	require.Equal(t, "nested", shell(t, `ls "$1/team/app"`, mnt))
	checkMounted(t, mnt, "team/app/nested", "v1", made.image)
}
