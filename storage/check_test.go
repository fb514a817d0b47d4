package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/storage"
)

// checkedStore is a store in a directory, with something of everything in it.
type checkedStore struct {
	dir                    string
	driver                 driver.Driver
	one, two, three, other pushed
	index                  digest.Digest
	content                []byte // of a layer that has two names
	canonical, alias       digest.Digest
}

// noSync makes nothing durable: no test of a check loses power.
type noSync struct{ filedriver.Sys }

func (noSync) Sync(*os.File) error    { return nil }
func (noSync) SyncDir(*os.File) error { return nil }

func newCheckedStore(t *testing.T) *checkedStore {
	t.Helper()
	s := &checkedStore{dir: t.TempDir(), content: []byte("content of two names")}
	s.driver = openDir(t, s.dir, filedriver.Options{Sys: noSync{filedriver.System()}})
	reg := create(t, s.driver)
	app, other := repository(t, reg, "app"), repository(t, reg, "app/other")
	s.one, s.two = push(t, app, "one", "v1"), push(t, app, "two", "moved")
	s.three = push(t, app, "three", "moved") // its history has two values
	s.other = push(t, other, "other", "v1")
	s.index = pushIndex(t, app, s.one, s.two)
	require.NoError(t, app.Tags().Tag(t.Context(), "multi", s.index))
	s.canonical, s.alias = digest.FromBytes(s.content), digest.SHA512.FromBytes(s.content)
	u, err := app.Blobs().Create(t.Context())
	require.NoError(t, err)
	_, err = u.Write(s.content)
	require.NoError(t, err)
	_, err = u.Commit(t.Context(), storage.Descriptor{Digest: s.alias})
	require.NoError(t, err)
	return s
}

// checkDriver checks a store as another process would, and returns the
// findings. Nobody but a repair has anything to write with.
func checkDriver(t *testing.T, d driver.Driver, o storage.CheckOptions) ([]storage.Finding, storage.CheckSummary) {
	t.Helper()
	var all []storage.Finding
	reg := openRegistry(t, d, storage.Options{ReadOnly: !o.Repair})
	summary, err := reg.(storage.Checker).Check(t.Context(), o, func(f storage.Finding) { all = append(all, f) })
	require.NoError(t, err)
	count := storage.CheckSummary{Found: map[storage.FindingKind]int{}}
	for _, f := range all {
		require.NotEmpty(t, f.Reason)
		require.True(t, driver.ValidPath(f.Path), f.Path)
		require.False(t, f.Repaired && !o.Repair, "%v", f)
		count.Found[f.Kind]++
		if f.Damage {
			count.Damaged++
			if f.Repaired {
				count.Repaired++
			}
		}
	}
	require.Equal(t, count.Found, summary.Found)
	require.Equal(t, []int{count.Damaged, count.Repaired, count.Found[storage.FindingLeftover]},
		[]int{summary.Damaged, summary.Repaired, summary.Leftovers})
	return all, summary
}

func (s *checkedStore) check(t *testing.T, o storage.CheckOptions) ([]storage.Finding, storage.CheckSummary) {
	t.Helper()
	d := s.driver
	if !o.Repair {
		d = openDir(t, s.dir, filedriver.Options{ReadOnly: true})
	}
	return checkDriver(t, d, o)
}

// lines is findings as "kind path" below v2, those of damage or the others.
func lines(findings []storage.Finding, damage bool) []string {
	found := []string{}
	for _, f := range findings {
		if f.Damage == damage {
			found = append(found, string(f.Kind)+" "+strings.TrimPrefix(f.Path, v2))
		}
	}
	return found
}

// line is what lines has of a finding.
func line(kind storage.FindingKind, p string) string {
	return string(kind) + " " + strings.TrimPrefix(p, v2)
}

// whole reads all of an image.
func (s *checkedStore) whole(t *testing.T, name, tag string, img pushed) {
	t.Helper()
	repo := repository(t, again(t, s.driver), name)
	value, err := repo.Tags().Get(t.Context(), tag)
	require.NoError(t, err)
	require.Equal(t, img.manifest, value.Digest)
	m, err := repo.Manifests().Get(t.Context(), img.manifest)
	require.NoError(t, err)
	require.Equal(t, string(img.payload), string(m.Payload()))
	require.NotEmpty(t, readAll(t, repo, img.layer))
	require.NotEmpty(t, readAll(t, repo, img.config))
}

func TestCheckClean(t *testing.T) {
	s := newCheckedStore(t)
	var hashed, total int64
	findings, summary := s.check(t, storage.CheckOptions{})
	require.Empty(t, findings)
	_, again := s.check(t, storage.CheckOptions{Repair: true})
	require.Equal(t, summary, again)
	for p, content := range filesOf(tree(t, s.driver)) {
		if path.Base(p) == "data" {
			total += int64(len(content))
			hashed++
		}
	}
	require.Equal(t, storage.CheckSummary{
		Repositories: 2, Manifests: 5, Tags: 4, Links: 20, Blobs: int(hashed), Bytes: total,
		Found: map[storage.FindingKind]int{},
	}, summary)
}

func TestCheckOfDrivers(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		findings, _ := checkDriver(t, d, storage.CheckOptions{})
		require.Empty(t, lines(findings, true), "an empty store")
		img := push(t, repository(t, reg, "app"), "one", "v1")
		overwrite(t, d, dataPath(img.layer), 0, []byte("X"))
		findings, _ = checkDriver(t, d, storage.CheckOptions{Repair: true})
		want := []string{
			line(storage.FindingCorrupt, dataPath(img.layer)),
			line(storage.FindingDangling, layerLink("app", img.layer)),
			line(storage.FindingMissing, revisionLink("app", img.manifest)),
		}
		require.Equal(t, want, lines(findings, true))
		push(t, repository(t, reg, "app"), "one", "v1")
		findings, _ = checkDriver(t, d, storage.CheckOptions{})
		require.Empty(t, lines(findings, true), "pushed again")
	})
}

func TestCheckProgress(t *testing.T) {
	s := newCheckedStore(t)
	big := noise(3<<20 + 17)
	putBlob(t, repository(t, again(t, s.driver), "app"), big)
	progress := make(chan [2]int64, 1000)
	_, summary := s.check(t, storage.CheckOptions{Progress: func(n, total int64) { progress <- [2]int64{n, total} }})
	close(progress)
	var sum int64
	for p := range progress {
		sum += p[0]
		require.Equal(t, summary.Bytes, p[1])
	}
	require.Equal(t, summary.Bytes, sum)
	require.Greater(t, sum, int64(len(big)))
}

// checkDamages is what may happen to a store, what a check says of it, and
// what of that a repair leaves.
var checkDamages = map[string]struct {
	do     func(t *testing.T, s *checkedStore)
	want   func(s *checkedStore) []string
	remain func(s *checkedStore) []string // after a repair; nil: nothing
	lost   []string                       // tags of app that are gone then, or "v1" for an image that is not whole
}{
	"BlobFlipped": {
		do:     func(t *testing.T, s *checkedStore) { overwrite(t, s.driver, dataPath(s.one.layer), 0, []byte("X")) },
		want:   lostLayer(storage.FindingCorrupt),
		remain: needsLayer, lost: []string{"v1"},
	},
	"BlobTruncated": {
		do:     func(t *testing.T, s *checkedStore) { truncate(t, s.driver, dataPath(s.one.layer), 3) },
		want:   lostLayer(storage.FindingCorrupt),
		remain: needsLayer, lost: []string{"v1"},
	},
	"BlobEmpty": {
		do:     func(t *testing.T, s *checkedStore) { truncate(t, s.driver, dataPath(s.one.layer), 0) },
		want:   lostLayer(storage.FindingCorrupt),
		remain: needsLayer, lost: []string{"v1"},
	},
	"BlobSwapped": {
		do:     func(t *testing.T, s *checkedStore) { put(t, s.driver, dataPath(s.one.layer), "layer of two") },
		want:   lostLayer(storage.FindingCorrupt),
		remain: needsLayer, lost: []string{"v1"},
	},
	"BlobIsDirectory": {
		do: func(t *testing.T, s *checkedStore) {
			s.remove(t, dataPath(s.one.layer))
			put(t, s.driver, dataPath(s.one.layer)+"/file", "x")
		},
		want:   lostLayer(storage.FindingCorrupt),
		remain: needsLayer, lost: []string{"v1"},
	},
	"BlobIsSymlink": {
		do: func(t *testing.T, s *checkedStore) {
			require.NoError(t, os.Rename(s.dir+dataPath(s.one.layer), s.dir+"/elsewhere"))
			require.NoError(t, os.Symlink(s.dir+"/elsewhere", s.dir+dataPath(s.one.layer)))
		},
		want:   lostLayer(storage.FindingCorrupt),
		remain: needsLayer, lost: []string{"v1"},
	},
	"BlobIsFIFO": {
		do:     func(t *testing.T, s *checkedStore) { s.fifo(t, dataPath(s.one.layer)) },
		want:   lostLayer(storage.FindingCorrupt),
		remain: needsLayer, lost: []string{"v1"},
	},
	"BlobMissing": {
		do: func(t *testing.T, s *checkedStore) { s.remove(t, path.Dir(dataPath(s.one.layer))) },
		want: func(s *checkedStore) []string {
			return []string{
				line(storage.FindingDangling, layerLink("app", s.one.layer)),
				line(storage.FindingMissing, revisionLink("app", s.one.manifest)),
			}
		},
		remain: needsLayer, lost: []string{"v1"},
	},
	"AliasedBlobMissing": {
		do: func(t *testing.T, s *checkedStore) { s.remove(t, dataPath(s.canonical)) },
		want: func(s *checkedStore) []string {
			return []string{
				line(storage.FindingDangling, layerLink("app", s.canonical)),
				line(storage.FindingDangling, layerLink("app", s.alias)),
			}
		},
	},
	"ManifestCorrupt": {
		do: func(t *testing.T, s *checkedStore) {
			overwrite(t, s.driver, dataPath(s.three.manifest), 5, []byte("X"))
		},
		want: func(s *checkedStore) []string {
			return []string{
				line(storage.FindingCorrupt, dataPath(s.three.manifest)),
				line(storage.FindingDangling, revisionLink("app", s.three.manifest)),
				line(storage.FindingDangling, currentLink("app", "moved")),
			}
		},
		lost: []string{"moved"},
	},
	"ManifestSwapped": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, dataPath(s.three.manifest), string(s.two.payload))
		},
		want: func(s *checkedStore) []string {
			return []string{
				line(storage.FindingCorrupt, dataPath(s.three.manifest)),
				line(storage.FindingDangling, revisionLink("app", s.three.manifest)),
				line(storage.FindingDangling, currentLink("app", "moved")),
			}
		},
		lost: []string{"moved"},
	},
	"ManifestMissing": {
		do: func(t *testing.T, s *checkedStore) { s.remove(t, dataPath(s.three.manifest)) },
		want: func(s *checkedStore) []string {
			return []string{
				line(storage.FindingDangling, revisionLink("app", s.three.manifest)),
				line(storage.FindingDangling, currentLink("app", "moved")),
			}
		},
		lost: []string{"moved"},
	},
	"RevisionMissing": {
		do: func(t *testing.T, s *checkedStore) { s.remove(t, path.Dir(revisionLink("app", s.three.manifest))) },
		want: func(s *checkedStore) []string {
			return []string{line(storage.FindingDangling, currentLink("app", "moved"))}
		},
		lost: []string{"moved"},
	},
	"LayerLinkMissing": {
		do: func(t *testing.T, s *checkedStore) { s.remove(t, path.Dir(layerLink("app", s.one.layer))) },
		want: func(s *checkedStore) []string {
			return []string{line(storage.FindingMissing, revisionLink("app", s.one.manifest))}
		},
	},
	"LayerLinkEmpty": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, layerLink("app", s.one.layer), "") },
		want: func(s *checkedStore) []string {
			return []string{
				line(storage.FindingHalfWritten, layerLink("app", s.one.layer)),
				line(storage.FindingMissing, revisionLink("app", s.one.manifest)),
			}
		},
	},
	"LayerLinkOfOther": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, layerLink("app", s.one.layer), s.two.layer.String())
		},
		want: badLayerLink,
	},
	"LayerLinkWithNewline": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, layerLink("app", s.one.layer), s.one.layer.String()+"\n")
		},
		want: badLayerLink,
	},
	"LayerLinkHuge": {
		do: func(t *testing.T, s *checkedStore) {
			require.NoError(t, os.Truncate(s.dir+layerLink("app", s.one.layer), 1<<30))
		},
		want: badLayerLink,
	},
	"LayerLinkIsDirectory": {
		do: func(t *testing.T, s *checkedStore) {
			s.remove(t, layerLink("app", s.one.layer))
			put(t, s.driver, layerLink("app", s.one.layer)+"/file", "x")
		},
		want: badLayerLink,
	},
	"LayerLinkIsFIFO": {
		do:   func(t *testing.T, s *checkedStore) { s.fifo(t, layerLink("app", s.one.layer)) },
		want: badLayerLink,
	},
	"LayerLinkIsSymlink": {
		do: func(t *testing.T, s *checkedStore) {
			s.remove(t, layerLink("app", s.one.layer))
			require.NoError(t, os.Symlink("../"+s.two.layer.Encoded()+"/link", s.dir+layerLink("app", s.one.layer)))
		},
		want: badLayerLink,
	},
	"RevisionLinkEmpty": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, revisionLink("app", s.one.manifest), "") },
		want: func(s *checkedStore) []string {
			return []string{
				line(storage.FindingHalfWritten, revisionLink("app", s.one.manifest)),
				line(storage.FindingDangling, currentLink("app", "v1")),
			}
		},
	},
	"EmptyLinkWithoutContent": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, layerLink("app", digest.FromBytes([]byte("absent"))), "")
		},
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingHalfWritten, layerLink("app", digest.FromBytes([]byte("absent"))))}
		},
	},
	"AliasOfOther": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, layerLink("app", s.alias), s.two.layer.String()) },
		want: func(s *checkedStore) []string {
			return []string{line(storage.FindingCorrupt, layerLink("app", s.alias))}
		},
	},
	"AliasEmpty": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, layerLink("app", s.alias), "") },
		want: func(s *checkedStore) []string {
			return []string{line(storage.FindingHalfWritten, layerLink("app", s.alias))}
		},
	},
	"SignatureDangling": {
		do: func(t *testing.T, s *checkedStore) {
			gone := digest.FromBytes([]byte("signature"))
			put(t, s.driver, checkedSignature(s, gone), gone.String())
		},
		want: func(s *checkedStore) []string {
			return []string{line(storage.FindingDangling, checkedSignature(s, digest.FromBytes([]byte("signature"))))}
		},
	},
	"TagEmptyWithOneValue": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, currentLink("app", "v1"), "") },
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingHalfWritten, currentLink("app", "v1"))}
		},
	},
	"TagEmptyWithTwoValues": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, currentLink("app", "moved"), "") },
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingHalfWritten, currentLink("app", "moved"))}
		},
		lost: []string{"moved"},
	},
	"TagGarbage": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, currentLink("app", "moved"), "gar\x00bage\n") },
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingCorrupt, currentLink("app", "moved"))}
		},
		lost: []string{"moved"},
	},
	"TagIsFIFO": {
		do: func(t *testing.T, s *checkedStore) { s.fifo(t, currentLink("app", "v1")) },
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingCorrupt, currentLink("app", "v1"))}
		},
	},
	"TagWithoutValue": {
		do: func(t *testing.T, s *checkedStore) { s.remove(t, path.Dir(currentLink("app", "moved"))) },
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingHalfWritten, currentLink("app", "moved"))}
		},
		lost: []string{"moved"},
	},
	"TagOfNothing": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, currentLink("app", "moved"), digest.FromBytes([]byte("absent")).String())
		},
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingDangling, currentLink("app", "moved"))}
		},
		lost: []string{"moved"},
	},
	"TagOfLayer": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, currentLink("app", "moved"), s.one.layer.String())
		},
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingDangling, currentLink("app", "moved"))}
		},
		lost: []string{"moved"},
	},
	"HistoryGarbage": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, indexLink("app", "v1", s.one.manifest), "?") },
		want: func(s *checkedStore) []string {
			return []string{line(storage.FindingCorrupt, indexLink("app", "v1", s.one.manifest))}
		},
	},
	"StrayFileInTags": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, repos+"/app/_manifests/tags/stray", "x") },
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingForeign, repos+"/app/_manifests/tags/stray")}
		},
	},
	"StrayDirectoryInTags": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, repos+"/app/_manifests/tags/.hidden/current/link", s.one.manifest.String())
		},
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingForeign, repos+"/app/_manifests/tags/.hidden")}
		},
	},
	"StrayFilesInBlobs": {
		do: func(t *testing.T, s *checkedStore) {
			for _, p := range strays {
				put(t, s.driver, p, "x")
			}
		},
		want: func(*checkedStore) []string {
			return []string{
				line(storage.FindingForeign, v2+"/blobs/README"),
				line(storage.FindingForeign, v2+"/blobs/md5"),
				line(storage.FindingForeign, v2+"/blobs/sha256/0f/data"),
				line(storage.FindingForeign, v2+"/blobs/sha256/long"),
			}
		},
	},
	"BlobInWrongShard": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, v2+"/blobs/sha256/zz/x", "x")
			put(t, s.driver, wrongShard, "x")
		},
		want: func(*checkedStore) []string {
			return []string{
				line(storage.FindingForeign, path.Dir(wrongShard)),
				line(storage.FindingForeign, v2+"/blobs/sha256/zz"),
			}
		},
	},
	"FIFOInTags": {
		do: func(t *testing.T, s *checkedStore) {
			require.NoError(t, unix.Mkfifo(s.dir+repos+"/app/_manifests/tags/fifo", 0o600))
		},
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingForeign, repos+"/app/_manifests/tags/fifo")}
		},
		remain: func(*checkedStore) []string {
			return []string{line(storage.FindingForeign, repos+"/app/_manifests/tags/fifo")}
		},
	},
	"SymlinkAmongRepositories": {
		do: func(t *testing.T, s *checkedStore) {
			require.NoError(t, os.Symlink("app", s.dir+repos+"/linked"))
		},
		want:   func(*checkedStore) []string { return []string{line(storage.FindingForeign, repos+"/linked")} },
		remain: func(*checkedStore) []string { return []string{line(storage.FindingForeign, repos+"/linked")} },
	},
	"NoLayersDirectory": {
		do: func(t *testing.T, s *checkedStore) { put(t, s.driver, revisionLink("bare", s.one.manifest), "") },
		want: func(s *checkedStore) []string {
			return []string{
				line(storage.FindingHalfWritten, repos+"/bare/_layers"),
				line(storage.FindingHalfWritten, revisionLink("bare", s.one.manifest)),
			}
		},
	},
	"LayersIsFile": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, repos+"/bare/_layers", "x")
			require.NoError(t, driver.MakeDir(t.Context(), s.driver, repos+"/bare/_manifests/tags"))
		},
		want: func(s *checkedStore) []string {
			return []string{
				line(storage.FindingCorrupt, repos+"/bare/_layers"),
				line(storage.FindingHalfWritten, repos+"/bare/_layers"),
			}
		},
	},
	"DigestIsFile": {
		do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, path.Dir(layerLink("app", digest.FromBytes([]byte("absent")))), "x")
		},
		want: func(*checkedStore) []string {
			return []string{line(storage.FindingCorrupt, path.Dir(layerLink("app", digest.FromBytes([]byte("absent")))))}
		},
	},
}

var (
	strays     = []string{v2 + "/blobs/README", v2 + "/blobs/md5/aa/x", v2 + "/blobs/sha256/0f/data", v2 + "/blobs/sha256/long/x"}
	wrongShard = v2 + "/blobs/sha256/ab/" + strings.Repeat("cd", 32) + "/data"
)

func checkedSignature(s *checkedStore, d digest.Digest) string {
	return path.Join(path.Dir(revisionLink("app", s.one.manifest)), "signatures/sha256", d.Encoded(), "link")
}

// lostLayer is what a check says of the layer of an image, and of what names it.
func lostLayer(kind storage.FindingKind) func(s *checkedStore) []string {
	return func(s *checkedStore) []string {
		return []string{
			line(kind, dataPath(s.one.layer)),
			line(storage.FindingDangling, layerLink("app", s.one.layer)),
			line(storage.FindingMissing, revisionLink("app", s.one.manifest)),
		}
	}
}

// needsLayer is what no repair can bring back.
func needsLayer(s *checkedStore) []string {
	return []string{line(storage.FindingMissing, revisionLink("app", s.one.manifest))}
}

func badLayerLink(s *checkedStore) []string {
	return []string{
		line(storage.FindingCorrupt, layerLink("app", s.one.layer)),
		line(storage.FindingMissing, revisionLink("app", s.one.manifest)),
	}
}

func (s *checkedStore) remove(t *testing.T, p string) {
	t.Helper()
	require.NoError(t, s.driver.Delete(t.Context(), p))
}

func (s *checkedStore) fifo(t *testing.T, p string) {
	t.Helper()
	require.NoError(t, os.Remove(s.dir+p))
	require.NoError(t, unix.Mkfifo(s.dir+p, 0o600))
}

// A check finds exactly the damage, and changes nothing; a repair puts right
// what can be, or says that it cannot, and harms nothing else.
func TestCheckDamage(t *testing.T) {
	for name, damage := range checkDamages {
		t.Run(name, func(t *testing.T) {
			s := newCheckedStore(t)
			damage.do(t, s)
			ageLinks(t, s.dir)
			before := inodes(t, pathsBelow(t, s.dir))
			findings, _ := s.check(t, storage.CheckOptions{})
			require.ElementsMatch(t, damage.want(s), lines(findings, true), "%+v", findings)
			again, _ := s.check(t, storage.CheckOptions{})
			require.Equal(t, findings, again, "the order is always the same")
			require.Equal(t, before, inodes(t, pathsBelow(t, s.dir)))

			contents := contentsOf(t, s.dir)
			var remain []string
			if damage.remain != nil {
				remain = damage.remain(s)
			}
			findings, summary := s.check(t, storage.CheckOptions{Repair: true})
			require.Equal(t, len(remain), summary.Damaged-summary.Repaired, "%+v", findings)
			for _, f := range findings {
				require.False(t, f.Damage && f.Remedy == "", "%+v", f)
			}
			findings, _ = s.check(t, storage.CheckOptions{})
			require.ElementsMatch(t, remain, lines(findings, true), "%+v", findings)
			require.Subset(t, contentsOf(t, s.dir), contents, "no content is deleted")
			s.rest(t, damage.lost)
		})
	}
}

// rest reads all that is not lost.
func (s *checkedStore) rest(t *testing.T, lost []string) {
	t.Helper()
	gone := map[string]bool{}
	for _, tag := range lost {
		gone[tag] = true
	}
	for tag, img := range map[string]pushed{"v1": s.one, "moved": s.three} {
		if !gone[tag] {
			s.whole(t, "app", tag, img)
		} else if tag != "v1" {
			_, err := repository(t, again(t, s.driver), "app").Tags().Get(t.Context(), tag)
			require.ErrorIs(t, err, storage.ErrTagUnknown)
		}
	}
	s.whole(t, "app/other", "v1", s.other)
	value, err := repository(t, again(t, s.driver), "app").Tags().Get(t.Context(), "multi")
	require.NoError(t, err)
	require.Equal(t, s.index, value.Digest)
}

// ageLinks makes all files of a store so old that no link is read again.
func ageLinks(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	for _, p := range pathsBelow(t, dir) {
		if info, err := os.Lstat(p); err == nil && info.Mode().IsRegular() {
			require.NoError(t, os.Chtimes(p, old, old))
		}
	}
}

// contentsOf is what all files of a directory hold that are longer than a link,
// wherever they are: by size, for what is too large to be read.
func contentsOf(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for _, p := range pathsBelow(t, dir) {
		info, err := os.Lstat(p)
		require.NoError(t, err)
		switch {
		case info.Mode().Type()&^fs.ModeDir != 0, info.IsDir():
		case path.Base(p) == "link" && info.Size() <= storage.MaxLink: // a repair rewrites these
		case info.Size() > 1<<20:
			all = append(all, fmt.Sprint(info.Size()))
		default:
			content, err := os.ReadFile(p)
			require.NoError(t, err)
			all = append(all, string(content))
		}
	}
	return all
}

// What may look like damage and is none.
func TestCheckHarmless(t *testing.T) {
	absent := digest.FromBytes([]byte("absent"))
	for name, test := range map[string]struct {
		do   func(t *testing.T, s *checkedStore)
		want []string
	}{
		"HistoryOfDeletedManifest": {do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, indexLink("app", "v1", absent), absent.String())
		}},
		"AbsentSubject": {do: func(t *testing.T, s *checkedStore) {
			putDocument(t, s, fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"mediaType":"application/x","digest":"%s","size":16},"layers":[],`+
				`"subject":{"mediaType":"application/x","digest":"%s","size":1}}`, s.one.config, absent))
		}},
		"SparseIndex": {do: func(t *testing.T, s *checkedStore) {
			putDocument(t, s, fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",`+
				`"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":1}]}`, absent))
		}},
		"ForeignLayer": {do: func(t *testing.T, s *checkedStore) {
			putDocument(t, s, fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"mediaType":"application/x","digest":"%s","size":16},"layers":[{"mediaType":"application/x",`+
				`"digest":"%s","size":1,"urls":["https://example.com/"]}]}`, s.one.config, absent))
		}},
		"NoManifest":   {do: func(t *testing.T, s *checkedStore) { putDocument(t, s, "no manifest") }},
		"UnknownType":  {do: func(t *testing.T, s *checkedStore) { putDocument(t, s, `{"mediaType":"application/x-unknown"}`) }},
		"HugeManifest": {do: func(t *testing.T, s *checkedStore) { putDocument(t, s, strings.Repeat(" ", 5<<20)) }},
		"UnlinkedBlob": {do: func(t *testing.T, s *checkedStore) { put(t, s.driver, dataPath(absent), "absent") }},
		"Sha512Blob": {do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, dataPath(digest.SHA512.FromBytes([]byte("absent"))), "absent")
		}},
		"EmptyDigestDirectories": {do: func(t *testing.T, s *checkedStore) {
			for _, p := range []string{dataPath(absent), layerLink("app", absent), revisionLink("app", absent), indexLink("app", "v1", absent)} {
				require.NoError(t, driver.MakeDir(t.Context(), s.driver, path.Dir(p)))
			}
		}},
		"EmptyRepository": {do: func(t *testing.T, s *checkedStore) {
			require.NoError(t, driver.MakeDir(t.Context(), s.driver, repos+"/team/empty/_layers"))
		}},
		"OldManifest": {do: func(t *testing.T, s *checkedStore) { // as registry 2.1.0 kept it
			for _, d := range []digest.Digest{s.one.config, s.one.layer, s.one.manifest} {
				put(t, s.driver, layerLink("old", d), d.String())
			}
			put(t, s.driver, currentLink("old", "v1"), s.one.manifest.String())
			put(t, s.driver, currentLink("old", "v2"), s.one.manifest.String())
		}},
		"UploadOnly": {
			do: func(t *testing.T, s *checkedStore) {
				put(t, s.driver, repos+"/begun/_uploads/"+uploadID+"/startedat", "")
			},
			want: []string{"leftover /repositories/begun/_uploads/" + uploadID},
		},
		"Temporaries": {
			do: func(t *testing.T, s *checkedStore) {
				put(t, s.driver, layerLink("app", absent)+".ABCDEF.tmp", "")
				put(t, s.driver, currentLink("app", "v1")+".ABCDEF.tmp", "")
				put(t, s.driver, dataPath(absent)+".ABCDEF.tmp", "")
			},
			want: []string{
				line(storage.FindingLeftover, dataPath(absent)+".ABCDEF.tmp"),
				line(storage.FindingLeftover, layerLink("app", absent)+".ABCDEF.tmp"),
				line(storage.FindingLeftover, currentLink("app", "v1")+".ABCDEF.tmp"),
			},
		},
		"Ours": {
			do: func(t *testing.T, s *checkedStore) {
				put(t, s.driver, "/registryfs/staging/"+uploadID+"/current/link", "")
				put(t, s.driver, "/registryfs/uploads/"+uploadID, "{}")
				put(t, s.driver, "/registryfs/trash/1-"+uploadID+"/app/v1/current/link", "")
				put(t, s.driver, "/registryfs/quarantine/sha256/"+absent.Encoded()+"-x", "")
				put(t, s.driver, "/registryfs/quarantine/check/1-x/blobs/y", "")
				put(t, s.driver, "/registryfs/exclusive", "")
			},
			want: []string{
				"leftover /registryfs/quarantine/check/1-x",
				"leftover /registryfs/quarantine/sha256/" + absent.Encoded() + "-x",
				"leftover /registryfs/staging/" + uploadID,
				"leftover /registryfs/trash/1-" + uploadID,
				"leftover /registryfs/uploads/" + uploadID,
			},
		},
		"RecordOfUpload": {
			do: func(t *testing.T, s *checkedStore) {
				put(t, s.driver, repos+"/app/_uploads/"+uploadID+"/data", "")
				put(t, s.driver, "/registryfs/uploads/"+uploadID, "{}")
			},
			want: []string{"leftover /repositories/app/_uploads/" + uploadID},
		},
		"StrangersElsewhere": {
			do: func(t *testing.T, s *checkedStore) {
				for _, p := range []string{"/README", "/repositories/README", "/repositories/app/README", "/repositories/Upper/x",
					"/repositories/app/_other/x", "/repositories/app/_uploads/x", "/repositories/app/_manifests/x",
					"/repositories/app/_layers/md5/x", "/repositories/app/_layers/sha256/short/link"} {
					put(t, s.driver, v2+p, "x")
				}
				put(t, s.driver, path.Dir(layerLink("app", s.one.layer))+"/x", "x")
				put(t, s.driver, "/scheduler-state.json", "{}")
			},
			want: []string{"foreign /README", "foreign /repositories/README", "foreign /repositories/app/README",
				"foreign /repositories/Upper", "foreign /repositories/app/_other", "foreign /repositories/app/_uploads/x",
				"foreign /repositories/app/_manifests/x", "foreign /repositories/app/_layers/md5",
				"foreign /repositories/app/_layers/sha256/short", "*/x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCheckedStore(t)
			test.do(t, s)
			findings, _ := s.check(t, storage.CheckOptions{})
			require.Empty(t, lines(findings, true), "%+v", findings)
			for i, want := range test.want {
				if want == "*/x" {
					test.want[i] = line(storage.FindingForeign, path.Dir(layerLink("app", s.one.layer))+"/x")
				}
			}
			require.ElementsMatch(t, test.want, lines(findings, false))

			contents := contentsOf(t, s.dir)
			_, summary := s.check(t, storage.CheckOptions{Repair: true})
			require.Zero(t, summary.Damaged)
			require.ElementsMatch(t, contentsOf(t, s.dir), contents)
			findings, _ = s.check(t, storage.CheckOptions{})
			require.Empty(t, lines(findings, true), "%+v", findings)
			s.rest(t, nil)
		})
	}
}

const uploadID = "00000000-0000-4000-8000-000000000000"

// putDocument stores a manifest in app as others may have.
func putDocument(t *testing.T, s *checkedStore, document string) {
	t.Helper()
	d := digest.FromBytes([]byte(document))
	put(t, s.driver, dataPath(d), document)
	put(t, s.driver, revisionLink("app", d), d.String())
}

// A signature that is there, of a manifest of schema 1, is no finding.
func TestCheckSignature(t *testing.T) {
	s := newCheckedStore(t)
	signature := putBlob(t, repository(t, again(t, s.driver), "app"), []byte("signature"))
	put(t, s.driver, checkedSignature(s, signature), signature.String())
	findings, _ := s.check(t, storage.CheckOptions{})
	require.Empty(t, findings)
}

// Directories that a store cannot be without are made.
func TestCheckMissingDirectories(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+v2, 0o755))
	findings, _ := checkDriver(t, openDir(t, dir, filedriver.Options{ReadOnly: true}), storage.CheckOptions{})
	require.Equal(t, []string{"half-written /blobs", "half-written /repositories"}, lines(findings, false))
	require.Empty(t, lines(findings, true), "a new store")
	d := openDir(t, dir, filedriver.Options{})
	checkDriver(t, d, storage.CheckOptions{Repair: true})
	require.Contains(t, tree(t, d), v2+"/blobs/")
	require.Contains(t, tree(t, d), repos+"/")
}

func TestCheckReadOnly(t *testing.T) {
	s := newCheckedStore(t)
	_, err := openRegistry(t, s.driver, storage.Options{ReadOnly: true}).(storage.Checker).
		Check(t.Context(), storage.CheckOptions{Repair: true}, func(storage.Finding) { t.Fail() })
	require.ErrorIs(t, err, storage.ErrReadOnly)
}

// Not even an access time changes.
func TestCheckLeavesNoTrace(t *testing.T) {
	s := newCheckedStore(t)
	overwrite(t, s.driver, dataPath(s.one.layer), 0, []byte("X"))
	paths := pathsBelow(t, s.dir)
	long := time.Now().Add(-48 * time.Hour)
	for _, p := range paths {
		require.NoError(t, os.Chtimes(p, long, time.Now()))
	}
	before := inodes(t, paths)
	findings, _ := s.check(t, storage.CheckOptions{})
	require.NotEmpty(t, findings)
	require.Equal(t, before, inodes(t, paths))
	require.Equal(t, paths, pathsBelow(t, s.dir))
}

// What cannot be read may be good: it is damage, but nothing is taken away.
func TestCheckUnreadable(t *testing.T) {
	for name, which := range map[string]func(s *checkedStore) string{
		"Layer":    func(s *checkedStore) string { return dataPath(s.one.layer) },
		"Manifest": func(s *checkedStore) string { return dataPath(s.one.manifest) },
		"Link":     func(s *checkedStore) string { return layerLink("app", s.one.layer) },
		"Tag":      func(*checkedStore) string { return currentLink("app", "v1") },
		"Blobs":    func(*checkedStore) string { return v2 + "/blobs/sha256" },
		"Tags":     func(*checkedStore) string { return repos + "/app/_manifests/tags" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newCheckedStore(t)
			before := tree(t, s.driver)
			d := &unreadableDriver{Driver: s.driver, path: which(s)}
			findings, summary := checkDriver(t, d, storage.CheckOptions{Repair: true})
			require.Contains(t, lines(findings, true), line(storage.FindingUnreadable, which(s)))
			require.Zero(t, summary.Repaired)
			require.Equal(t, before, tree(t, s.driver))
		})
	}
}

// unreadableDriver is a driver on a disk with a bad sector.
type unreadableDriver struct {
	driver.Driver
	path string
}

func (d *unreadableDriver) fail(p string) error {
	if p == d.path {
		return &fs.PathError{Op: "read", Path: p, Err: syscall.EIO}
	}
	return nil
}

func (d *unreadableDriver) List(ctx context.Context, p string) ([]string, error) {
	if err := d.fail(p); err != nil {
		return nil, err
	}
	return d.Driver.List(ctx, p)
}

func (d *unreadableDriver) OpenAt(ctx context.Context, p string) (driver.File, error) {
	if err := d.fail(p); err != nil {
		return nil, err
	}
	return driver.OpenAt(ctx, d.Driver, p)
}

func (d *unreadableDriver) Reader(ctx context.Context, p string, offset int64) (io.ReadCloser, error) {
	if err := d.fail(p); err != nil {
		return nil, err
	}
	return d.Driver.Reader(ctx, p, offset)
}

func (d *unreadableDriver) MoveDir(ctx context.Context, src, dst string) error {
	return driver.MoveDir(ctx, d.Driver, src, dst)
}

// A disk that is not mounted looks as if all content were gone. Nothing is
// taken away for that.
func TestRepairWithoutContent(t *testing.T) {
	s := newCheckedStore(t)
	require.NoError(t, os.Rename(s.dir+v2+"/blobs", s.dir+"/elsewhere"))
	require.NoError(t, os.Mkdir(s.dir+v2+"/blobs", 0o755))
	before := tree(t, s.driver)
	_, summary := s.check(t, storage.CheckOptions{Repair: true})
	require.NotZero(t, summary.Damaged)
	require.Zero(t, summary.Repaired)
	require.Equal(t, before, tree(t, s.driver))
	require.NoError(t, os.Remove(s.dir+v2+"/blobs"))
	require.NoError(t, os.Rename(s.dir+"/elsewhere", s.dir+v2+"/blobs"))
	findings, _ := s.check(t, storage.CheckOptions{})
	require.Empty(t, findings)
}

// A repair that is interrupted anywhere is ended by the next.
func TestRepairInterrupted(t *testing.T) {
	damage := func(t *testing.T) *checkedStore {
		s := newCheckedStore(t)
		overwrite(t, s.driver, dataPath(s.three.manifest), 5, []byte("X"))
		put(t, s.driver, layerLink("app", s.one.layer), "")
		put(t, s.driver, layerLink("app", s.one.config), strings.Repeat("x", 1000))
		put(t, s.driver, revisionLink("app", s.one.manifest), "forged")
		put(t, s.driver, currentLink("app", "v1"), "")
		s.remove(t, path.Dir(layerLink("app/other", s.other.layer)))
		put(t, s.driver, strays[0], "x")
		ageLinks(t, s.dir)
		return s
	}
	n := 0
	for stopped := true; stopped; n++ {
		s := damage(t)
		d := &stoppingDriver{Driver: s.driver, left: n}
		checkDriver(t, d, storage.CheckOptions{Repair: true})
		stopped = d.left < 0
		_, summary := s.check(t, storage.CheckOptions{Repair: true})
		require.Equal(t, summary.Damaged, summary.Repaired)
		findings, _ := s.check(t, storage.CheckOptions{})
		require.Empty(t, lines(findings, true), "stopped at change %d: %+v", n, findings)
		s.rest(t, []string{"moved"})
	}
	require.Greater(t, n, 8)
	t.Logf("stopped at %d changes", n-1)
}

// stoppingDriver changes things so often, and then no more.
type stoppingDriver struct {
	driver.Driver
	left int
}

var errStopped = errors.New("stopped")

func (d *stoppingDriver) change(fn func() error) error {
	if d.left--; d.left < 0 {
		return errStopped
	}
	return fn()
}

func (d *stoppingDriver) PutContent(ctx context.Context, p string, content []byte) error {
	return d.change(func() error { return d.Driver.PutContent(ctx, p, content) })
}

func (d *stoppingDriver) Move(ctx context.Context, src, dst string) error {
	return d.change(func() error { return d.Driver.Move(ctx, src, dst) })
}

func (d *stoppingDriver) MoveDir(ctx context.Context, src, dst string) error {
	return d.change(func() error { return driver.MoveDir(ctx, d.Driver, src, dst) })
}

func (d *stoppingDriver) Delete(context.Context, string) error { return errors.New("a repair deletes") }

func TestCheckEnds(t *testing.T) {
	s := newCheckedStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	put(t, s.driver, strays[0], "x")
	_, err := again(t, s.driver).(storage.Checker).Check(ctx, storage.CheckOptions{}, func(storage.Finding) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
}

// Many repositories share one image, as they often do.
func TestCheckManyRepositories(t *testing.T) {
	s := newCheckedStore(t)
	const many = 1000
	for i := range many {
		name := fmt.Sprintf("team%d/app%d", i%10, i)
		for p, d := range map[string]digest.Digest{
			layerLink(name, s.one.config):         s.one.config,
			layerLink(name, s.one.layer):          s.one.layer,
			revisionLink(name, s.one.manifest):    s.one.manifest,
			currentLink(name, "v1"):               s.one.manifest,
			indexLink(name, "v1", s.one.manifest): s.one.manifest,
		} {
			require.NoError(t, os.MkdirAll(path.Dir(s.dir+p), 0o755))
			require.NoError(t, os.WriteFile(s.dir+p, []byte(d), 0o644))
		}
	}
	start := time.Now()
	findings, summary := s.check(t, storage.CheckOptions{})
	require.Empty(t, findings)
	require.Equal(t, many+2, summary.Repositories)
	t.Logf("%d repositories in %v", summary.Repositories, time.Since(start))
}
