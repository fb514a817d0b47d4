package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/filedriver"
	"registryfs/storage"
)

// fillStore stores an image, tagged v1, and returns the path of its layer.
func fillStore(t *testing.T, store string) string {
	t.Helper()
	d, err := filedriver.New(store, filedriver.Options{})
	require.NoError(t, err)
	reg, err := storage.Open(t.Context(), d, storage.Options{})
	require.NoError(t, err)
	repo, err := reg.Repository("team/app")
	require.NoError(t, err)
	put := func(content string) string {
		desc, err := repo.Blobs().Put(t.Context(), "", []byte(content))
		require.NoError(t, err)
		return `{"mediaType":"application/octet-stream","digest":"` + desc.Digest.String() + `","size":` + itoa(len(content)) + `}`
	}
	manifest, err := repo.Manifests().Put(t.Context(), "", []byte(`{"schemaVersion":2,`+
		`"mediaType":"application/vnd.oci.image.manifest.v1+json","config":`+put("{}")+`,"layers":[`+put("layer")+`]}`))
	require.NoError(t, err)
	require.NoError(t, repo.Tags().Tag(t.Context(), "v1", manifest.Digest))
	hex := digest.FromBytes([]byte("layer")).Encoded()
	return filepath.Join(store, storeDir, "blobs/sha256", hex[:2], hex, "data")
}

func TestCheckCommand(t *testing.T) {
	store := newStore(t)
	layer := fillStore(t, store)
	const clean = "registryfs: checked 1 repository, 1 manifest, 1 tag, 4 links and 3 blobs with "

	r := registryfs(t, "check", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Empty(t, r.stdout)
	require.Contains(t, r.stderr, clean)
	require.Contains(t, r.stderr, ": 0 damaged, 0 repaired, 0 left over\n")
	require.Equal(t, 1, strings.Count(r.stderr, "\n"), "no bar without a terminal: %s", r.stderr)

	// What is left over is no damage.
	upload := filepath.Join(store, storeDir, "repositories/team/app/_uploads/00000000-0000-4000-8000-000000000000")
	require.NoError(t, os.MkdirAll(upload, 0o755))
	r = registryfs(t, "check", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Equal(t, "leftover\tharmless\t"+strings.TrimPrefix(upload, store)+"\tan upload that has not ended\n", r.stdout)
	require.Contains(t, r.stderr, "1 left over")

	require.NoError(t, os.WriteFile(layer, []byte("LAYER"), 0o644))
	r = registryfs(t, "check", store)
	require.Equal(t, exitDamage, r.status)
	found := strings.Split(r.stdout, "\n")
	require.Len(t, found, 5)
	require.Regexp(t, "^corrupt\tdamage\t"+strings.TrimPrefix(layer, store)+"\t.*holds sha256:.*; push it again$", found[0])
	require.Regexp(t, "^dangling\tdamage\t/docker/.*/_layers/", found[1])
	require.Regexp(t, "^missing\tdamage\t/docker/.*/_manifests/revisions/", found[2])
	require.Regexp(t, "^leftover\tharmless\t", found[3])
	require.Contains(t, r.stderr, "3 damaged, 0 repaired, 1 left over; --repair")
	require.Equal(t, 1, strings.Count(r.stderr, "\n"))

	r = registryfs(t, "check", "--json", store)
	require.Equal(t, exitDamage, r.status)
	objects := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	require.Len(t, objects, 5)
	var first storage.Finding
	require.NoError(t, json.Unmarshal([]byte(objects[0]), &first))
	require.Equal(t, storage.FindingCorrupt, first.Kind)
	require.True(t, first.Damage)
	var last struct{ Summary storage.CheckSummary }
	require.NoError(t, json.Unmarshal([]byte(objects[4]), &last))
	require.Equal(t, 3, last.Summary.Damaged)
	require.Equal(t, 1, last.Summary.Repositories)

	// No repair can make up a layer, but pushing it again can.
	r = registryfs(t, "check", store, "--repair")
	require.Equal(t, exitDamage, r.status)
	require.Contains(t, r.stdout, "corrupt\trepaired\t")
	require.Contains(t, r.stdout, "cannot be repaired: push sha256:")
	require.Contains(t, r.stderr, "3 damaged, 2 repaired")
	r = registryfs(t, "check", store)
	require.Equal(t, exitDamage, r.status)
	require.Contains(t, r.stderr, "1 damaged, 0 repaired")
	require.Contains(t, r.stderr, "--repair cannot help")
	kept, err := filepath.Glob(filepath.Join(store, "registryfs/quarantine/sha256/*"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
	content, err := os.ReadFile(kept[0])
	require.NoError(t, err)
	require.Equal(t, "LAYER", string(content))
	fillStore(t, store)
	r = registryfs(t, "check", store)
	require.Equal(t, exitOK, r.status, r.stdout)
	require.Contains(t, r.stderr, clean)

	// What it puts right is no damage any more.
	require.NoError(t, os.WriteFile(filepath.Join(store, storeDir, "repositories/team/app/_manifests/tags/stray"), nil, 0o644))
	require.Equal(t, exitDamage, registryfs(t, "check", store).status)
	r = registryfs(t, "check", "--repair", store)
	require.Equal(t, exitOK, r.status, r.stdout)
	require.Contains(t, r.stdout, "foreign\trepaired\t")
}

func TestCheckCannotRun(t *testing.T) {
	for args, status := range map[string]int{
		"check":                     exitUsage,
		"check a b":                 exitUsage,
		"check --bogus a":           exitUsage,
		"check /missing":            exitFailed,
		"check mem:":                exitFailed,
		"check --repair mem:":       exitFailed,
		"check " + publicDir(t):     exitFailed,
		"check https://example.com": exitFailed,
	} {
		r := registryfs(t, strings.Fields(args)...)
		require.Equal(t, status, r.status, args)
		require.Empty(t, r.stdout, args)
		require.NotEmpty(t, r.stderr, args)
	}
}

// Read-only media can be checked, and are not repaired.
func TestCheckReadOnlyMedia(t *testing.T) {
	const store = "mkdir -p $2/s/" + storeDir + "/blobs $2/s/" + storeDir + "/repositories; mount --bind -r $2/s $2/s;"
	r := elsewhere(t, store+"$1 check $2/s")
	require.Equal(t, exitOK, r.status, r.stderr)
	r = elsewhere(t, store+"exec $1 check --repair $2/s")
	require.Equal(t, exitFailed, r.status, r.stderr)
	require.Contains(t, r.stderr, "without --repair")
}

// On a terminal a bar shows how far it is.
func TestCheckProgressBar(t *testing.T) {
	store := newStore(t)
	fillStore(t, store)
	needProgram(t, "script", "bsdutils")
	out := shell(t, `script -qec "'$1' check '$2' 2>&1 >/dev/null" /dev/null </dev/null`, program, store)
	require.Contains(t, out, "checking")
	require.Contains(t, out, "0 damaged")
	require.NotContains(t, shell(t, `"$1" check "$2" 2>&1`, program, store), "checking")
}

// What a stock registry leaves, and what both write together, is clean.
func TestCheckOfStockRegistry(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, theirs, ours := startPeer(t, store), makeLayout(t, "theirs"), makeLayout(t, "ours")
	p.push(t, theirs, "team/theirs", "v1")
	p.push(t, ours, "team/theirs", "v1")
	p.push(t, theirs, "team/docker", "v1", "--format", "v2s2")
	gone := p.tagged(t, "team/docker", "v1")
	_, _, err := p.do("DELETE", "team/docker/manifests/sha256:"+gone, "", nil)
	require.NoError(t, err)
	_, _, err = p.do("POST", "team/begun/blobs/uploads/", "", nil)
	require.NoError(t, err)
	s := startServer(t, store, mnt)
	copyIn(t, ours, mnt, "team/ours", "v1")
	shell(t, `ln -s v1 "$1/team/ours/_tags/v2"; rm "$1/team/ours/_tags/v1"`, mnt)
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	status, _ := s.end(t)
	require.Equal(t, exitOK, status)
	p.stop(t)

	for range 2 {
		r := registryfs(t, "check", store)
		require.Equal(t, exitOK, r.status, "%s%s", r.stdout, r.stderr)
		for line := range strings.Lines(r.stdout) {
			require.Regexp(t, "^leftover\tharmless\t", line)
		}
		require.Contains(t, r.stderr, ": 0 damaged,")
		p.collectGarbage(t)
	}
	r := registryfs(t, "check", "--repair", store)
	require.Equal(t, exitOK, r.status, r.stdout)
	require.NotContains(t, r.stdout, "repaired\t")
	p.start(t)
	p.checkPulled(t, "team/ours", "v2", ours)
}

// On a terminal a bar tells how fast it goes, and how long it will take.
func TestCheckOnATerminal(t *testing.T) {
	store := newStore(t)
	garbage(t, store, "app", strings.Repeat("a large blob\n", 16<<20/13))
	for i := range 8 {
		garbage(t, store, "app", strings.Repeat(itoa(i), 8<<20))
	}
	r := execute(t, "script", "-qec", program+" check "+store, "/dev/null")
	require.Equal(t, exitOK, r.status, r.stdout)
	require.Regexp(t, `checking +[0-9]+% \|.*\| \([0-9.]+ [KMG]iB/s\) \[[0-9a-z]+:[0-9a-z]+\]`, r.stdout)
	require.Contains(t, r.stdout, "0 damaged")
	r = execute(t, "sh", "-c", `"$1" check "$2" 2>&1`, "sh", program, store)
	require.NotContains(t, r.stdout, "checking", "no bar in a log")
}
