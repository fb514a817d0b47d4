package storage_test

import (
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/filedriver"
	"registryfs/storage"
)

// makeForeign makes a file that no driver can, and what it is in.
func makeForeign(t *testing.T, dir, p string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(path.Dir(dir+p), 0o755))
	require.NoError(t, os.WriteFile(dir+p, []byte("precious"), 0o644))
}

// What somebody has moved, or put by a name that no registry gives, may lead to
// any content: it stays where it is, and so does all content.
func TestCollectForeign(t *testing.T) {
	for name, test := range map[string]struct {
		from, to string // what is moved
		at       string // what is told; empty: to
	}{
		"Repository":        {repos + "/app", repos + "/app~before-the-move", ""},
		"Newline":           {repos + "/app", repos + "/app\n", ""},
		"InNamespace":       {repos + "/app", repos + "/team/app (before the move)", ""},
		"BelowForeign":      {repos + "/app", repos + "/old ones/app", repos + "/old ones"},
		"Reserved":          {repos + "/app", repos + "/_app", ""},
		"BelowReserved":     {repos + "/app", repos + "/team/_old/app", repos + "/team/_old"},
		"BelowRepository":   {repos + "/app", repos + "/other/app~", ""},
		"Layers":            {repos + "/app/_layers", repos + "/app/_layers~", ""},
		"LayersReserved":    {repos + "/app/_layers", repos + "/app/_layers.old", ""},
		"Manifests":         {repos + "/app/_manifests", repos + "/app/_manifests (copy)", ""},
		"ManifestsReserved": {repos + "/app/_manifests", repos + "/app/_old", ""},
		"Revisions":         {repos + "/app/_manifests/revisions", repos + "/app/_manifests/revisions~", ""},
		"RevisionsValid":    {repos + "/app/_manifests/revisions", repos + "/app/_manifests/old", ""},
		"Tags":              {repos + "/app/_manifests/tags", repos + "/app/_manifests/tags~", ""},
		"Algorithm":         {repos + "/app/_layers/sha256", repos + "/app/_layers/sha256~", ""},
		"AlgorithmValid":    {repos + "/app/_layers/sha256", repos + "/app/_layers/old", ""},
		"Links":             {repos + "/app/_layers/sha256", repos + "/app/_layers/sha256/old~/sha256", repos + "/app/_layers/sha256/old~"},
		"LinksValid":        {repos + "/app/_layers/sha256", repos + "/app/_layers/sha256/old/sha256", repos + "/app/_layers/sha256/old"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := openDir(t, dir, filedriver.Options{Sys: noSync{filedriver.System()}})
			reg := create(t, d)
			app := repository(t, reg, "app")
			push(t, app, "one", "v1")
			push(t, app, "untagged", "")
			putBlob(t, app, []byte("of nobody else"))
			push(t, repository(t, reg, "other"), "two", "v1")
			require.NoError(t, os.Rename(dir+test.from, dir+"/moved"))
			require.NoError(t, os.MkdirAll(path.Dir(dir+test.to), 0o755))
			require.NoError(t, os.Rename(dir+"/moved", dir+test.to))
			at := test.at
			if at == "" {
				at = test.to
			}
			before := everything(t, d, dir)

			for _, o := range []storage.CollectOptions{{DryRun: true}, now} {
				done := collect(t, again(t, d), o)
				require.True(t, done.ContentKept)
				require.Zero(t, done.Blobs)
				var told []string
				for _, it := range done.things {
					if it.Kind == storage.CollectDamage {
						told = append(told, it.Path)
						require.Error(t, it.Err)
					}
				}
				require.Equal(t, []string{at}, told)
			}
			require.Equal(t, before, everything(t, d, dir))

			clock := newClock()
			exclusive(t, d, clock)
			done := collectOnline(t, d, clock, online)
			require.True(t, done.ContentKept)
			require.Zero(t, done.CollectCounts)
			require.Zero(t, done.Aside)
		})
	}
}

// A directory goes only while nothing is in it, whoever has put that there.
func TestCollectBesideForeign(t *testing.T) {
	missing := digest.FromBytes([]byte("missing"))
	for name, test := range map[string]struct {
		at          func(b digest.Digest) string
		contentKept bool
	}{
		"Link":           {func(b digest.Digest) string { return layerLink("app", b) + "~" }, true},
		"LinkValid":      {func(b digest.Digest) string { return layerLink("app", b) + ".old" }, true},
		"NoLink":         {func(digest.Digest) string { return layerLink("app", missing) + "~" }, true},
		"NoRevision":     {func(digest.Digest) string { return revisionLink("app", missing) + ".old" }, true},
		"Content":        {func(b digest.Digest) string { return dataPath(b) + " (copy)" }, false},
		"NoContent":      {func(digest.Digest) string { return dataPath(missing) + "~" }, false},
		"NoContentValid": {func(digest.Digest) string { return dataPath(missing) + ".old" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := openDir(t, dir, filedriver.Options{Sys: noSync{filedriver.System()}})
			reg := create(t, d)
			b := putBlob(t, repository(t, reg, "app"), []byte("garbage"))
			other := putBlob(t, repository(t, reg, "other"), []byte("other garbage"))
			at := test.at(b)
			makeForeign(t, dir, at)
			clock := newClock()
			_, end := exclusive(t, d, clock)
			kept := func(done collected) {
				t.Helper()
				require.Equal(t, test.contentKept, done.ContentKept)
				require.Equal(t, 1, done.Damage)
				for _, it := range done.things {
					if it.Kind == storage.CollectDamage {
						require.Equal(t, at, it.Path)
					}
				}
				require.FileExists(t, dir+at)
			}
			if strings.HasPrefix(at, repos) || strings.HasPrefix(at, path.Dir(dataPath(b))) {
				kept(collectOnline(t, d, clock, online)) // it leaves empty directories of content
			}
			end()
			planned := collect(t, again(t, d), storage.CollectOptions{DryRun: true})
			done := collect(t, again(t, d), now)
			require.Equal(t, planned, done)
			kept(done)
			_, err := os.Stat(dir + dataPath(other))
			require.Equal(t, test.contentKept, err == nil)
			if name == "Link" || name == "LinkValid" || name == "Content" {
				require.FileExists(t, dir+dataPath(b))
			}
		})
	}
}

// Foreign names are not taken for old entries of the trash.
func TestCollectForeignTrash(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir, filedriver.Options{})
	reg := create(t, d)
	repo := repository(t, reg, "app")
	push(t, repo, "one", "v1")
	old := trash + "/1-old"
	makeForeign(t, dir, old+"~/file")
	put(t, d, old+"/file", "")
	require.NoError(t, repo.Tags().Untag(t.Context(), "v1"))
	require.NoDirExists(t, dir+old)
	put(t, d, old+"/file", "")
	require.Equal(t, 1, collect(t, again(t, d), now).Leftovers)
	require.NoDirExists(t, dir+old)
	require.FileExists(t, dir+old+"~/file")
}

// Uploads are purged beside what is none.
func TestPurgeForeign(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir, filedriver.Options{})
	create(t, d)
	put(t, d, repos+"/app/_uploads/"+uploadID+"/data", "content")
	makeForeign(t, dir, repos+"/app/_uploads/"+uploadID+"~/data")
	purged, err := purge(t, d, storage.PurgeOptions{OlderThan: -time.Hour})
	require.NoError(t, err)
	require.Equal(t, []string{uploadID}, ids(purged))
	require.FileExists(t, dir+repos+"/app/_uploads/"+uploadID+"~/data")
}

// A repository is removed without what is below its name and not its own.
func TestRemoveRepositoryLeavesForeign(t *testing.T) {
	for name, below := range map[string]string{
		"Uppercase": "Upper/file", "Words": "two words/file", "Moved": "_layers (copy)/file", "File": "README",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := openDir(t, dir, filedriver.Options{})
			reg := create(t, d)
			repo := repository(t, reg, "app")
			push(t, repo, "one", "v1")
			require.NoError(t, second(repo.Blobs().Create(t.Context())))
			makeForeign(t, dir, repos+"/app/"+below)
			require.NoError(t, reg.(storage.RepositoryRemover).RemoveRepository(t.Context(), "app"))
			require.Empty(t, names(t, again(t, d)))
			require.FileExists(t, dir+repos+"/app/"+below)
			entries, err := os.ReadDir(dir + repos + "/app")
			require.NoError(t, err)
			require.Len(t, entries, 1)
			require.ErrorIs(t, reg.(storage.RepositoryRemover).RemoveRepository(t.Context(), "app"), storage.ErrRepositoryUnknown)
		})
	}
}

// A check tells of names that no registry gives, and a repair does not take what
// they may hide for missing.
func TestCheckForeign(t *testing.T) {
	for name, test := range map[string]struct {
		from   func(s *checkedStore) string // what is moved; nil: it is made
		to     string
		damage bool
	}{
		"Repository": {func(*checkedStore) string { return repos + "/app" }, repos + "/app~", true},
		"Namespace":  {nil, repos + "/team/two words", true},
		"Part":       {nil, repos + "/app/_layers (copy)", false},
		"Revisions": {func(*checkedStore) string { return repos + "/app/_manifests/revisions" },
			repos + "/app/_manifests/revisions\n", false},
		"Revision": {func(s *checkedStore) string { return path.Dir(revisionLink("app", s.three.manifest)) },
			repos + "/app/_manifests/revisions/sha256/moved~", false},
		"Layers": {func(*checkedStore) string { return repos + "/app/_layers/sha256" }, repos + "/app/_layers/sha256~", false},
		"Tag":    {nil, repos + "/app/_manifests/tags/v1~", true},
		"Upload": {nil, repos + "/app/_uploads/x~", false},
		"Blobs":  {nil, v2 + "/blobs/lost+found", true},
		"Blob":   {nil, v2 + "/blobs/sha256/ab~", true},
		"Top":    {nil, v2 + "/lost+found", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCheckedStore(t)
			if test.from == nil {
				makeForeign(t, s.dir, test.to+"/file")
			} else {
				require.NoError(t, os.Rename(s.dir+test.from(s), s.dir+test.to))
			}
			before := everything(t, s.driver, s.dir)
			findings, _ := s.check(t, storage.CheckOptions{})
			require.Contains(t, lines(findings, test.damage), line(storage.FindingForeign, test.to))
			_, summary := s.check(t, storage.CheckOptions{Repair: true})
			require.Zero(t, summary.Repaired)
			require.Equal(t, before, everything(t, s.driver, s.dir))
		})
	}
}
