package storage_test

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
)

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
