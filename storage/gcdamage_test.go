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

// Whatever cannot be read is reported, keeps all that its repository has, and
// keeps nothing of other repositories from going.
func TestCollectBesideDamage(t *testing.T) {
	const unknown = `{"schemaVersion":2,"mediaType":"application/vnd.example+json","layers":[]}`
	moveAway := func(t *testing.T, dir, p string) {
		require.NoError(t, os.Rename(dir+p, dir+"/elsewhere"))
		require.NoError(t, os.Symlink(dir+"/elsewhere", dir+p))
	}
	for _, test := range []struct {
		name string
		// damage returns the path that is to be reported; img is tagged v1.
		damage      func(t *testing.T, d driver.Driver, dir string, img pushed) string
		onlyFile    bool // nothing else holds such things
		contentKept bool
	}{
		{name: "ManifestCorrupt", damage: func(t *testing.T, d driver.Driver, _ string, img pushed) string {
			overwrite(t, d, dataPath(img.manifest), 0, []byte("X"))
			return dataPath(img.manifest)
		}},
		{name: "ManifestMissing", damage: func(t *testing.T, d driver.Driver, _ string, img pushed) string {
			require.NoError(t, d.Delete(t.Context(), dataPath(img.manifest)))
			return dataPath(img.manifest)
		}},
		{name: "ManifestUnknown", damage: func(t *testing.T, d driver.Driver, _ string, _ pushed) string {
			b := digest.FromBytes([]byte(unknown))
			put(t, d, dataPath(b), unknown)
			put(t, d, revisionLink("damaged", b), b.String())
			return dataPath(b)
		}},
		{name: "ManifestTooLarge", damage: func(t *testing.T, d driver.Driver, _ string, _ pushed) string {
			content := strings.Repeat(" ", 4<<20+1)
			b := digest.FromBytes([]byte(content))
			put(t, d, dataPath(b), content)
			put(t, d, revisionLink("damaged", b), b.String())
			return dataPath(b)
		}},
		{name: "RevisionEmpty", damage: func(t *testing.T, d driver.Driver, _ string, img pushed) string {
			put(t, d, revisionLink("damaged", img.manifest), "")
			return revisionLink("damaged", img.manifest)
		}},
		{name: "RevisionOfAnother", damage: func(t *testing.T, d driver.Driver, _ string, img pushed) string {
			elsewhere := digest.FromBytes([]byte("elsewhere"))
			put(t, d, dataPath(elsewhere), "elsewhere")
			put(t, d, revisionLink("damaged", img.manifest), elsewhere.String())
			return revisionLink("damaged", img.manifest)
		}},
		{name: "TagEmpty", damage: func(t *testing.T, d driver.Driver, _ string, _ pushed) string {
			put(t, d, currentLink("damaged", "v1"), "")
			return currentLink("damaged", "v1")
		}},
		{name: "TagWithNewline", damage: func(t *testing.T, d driver.Driver, _ string, img pushed) string {
			put(t, d, currentLink("damaged", "v1"), img.manifest.String()+"\n")
			return currentLink("damaged", "v1")
		}},
		{name: "TagOfNothing", damage: func(t *testing.T, d driver.Driver, _ string, _ pushed) string {
			absent := digest.FromBytes([]byte("absent"))
			put(t, d, currentLink("damaged", "v1"), absent.String())
			return dataPath(absent)
		}},
		{name: "LayerGarbage", damage: func(t *testing.T, d driver.Driver, _ string, img pushed) string {
			put(t, d, layerLink("damaged", img.layer), strings.Repeat("x", 1<<20))
			return layerLink("damaged", img.layer)
		}},
		{name: "AliasEmpty", contentKept: true, damage: func(t *testing.T, d driver.Driver, _ string, _ pushed) string {
			alias := digest.SHA512.FromBytes([]byte("alias"))
			put(t, d, layerLink("damaged", alias), "")
			return layerLink("damaged", alias)
		}},
		{name: "UnknownAlgorithm", contentKept: true, damage: func(t *testing.T, d driver.Driver, _ string, img pushed) string {
			dir := path.Join(repos, "damaged/_layers/sha384")
			put(t, d, path.Join(dir, strings.Repeat("0", 96), "link"), img.layer.String())
			return dir
		}},
		{name: "Name", damage: func(t *testing.T, d driver.Driver, _ string, _ pushed) string {
			require.NoError(t, driver.MoveDir(t.Context(), d, path.Join(repos, "damaged"), path.Join(repos, "Damaged")))
			return path.Join(repos, "Damaged")
		}},
		{name: "SymlinkRepository", onlyFile: true, contentKept: true, damage: func(t *testing.T, _ driver.Driver, dir string, _ pushed) string {
			moveAway(t, dir, repos+"/damaged")
			return repos + "/damaged"
		}},
		{name: "SymlinkLayers", onlyFile: true, contentKept: true, damage: func(t *testing.T, _ driver.Driver, dir string, _ pushed) string {
			moveAway(t, dir, repos+"/damaged/_layers")
			return repos + "/damaged/_layers"
		}},
		{name: "SymlinkTags", onlyFile: true, contentKept: true, damage: func(t *testing.T, _ driver.Driver, dir string, _ pushed) string {
			moveAway(t, dir, repos+"/damaged/_manifests/tags")
			return repos + "/damaged/_manifests/tags"
		}},
		{name: "SymlinkTag", onlyFile: true, damage: func(t *testing.T, _ driver.Driver, dir string, _ pushed) string {
			moveAway(t, dir, path.Dir(path.Dir(currentLink("damaged", "v1"))))
			return currentLink("damaged", "v1")
		}},
		{name: "FIFO", onlyFile: true, damage: func(t *testing.T, _ driver.Driver, dir string, img pushed) string {
			p := revisionLink("damaged", img.manifest)
			require.NoError(t, os.Remove(dir+p))
			require.NoError(t, unix.Mkfifo(dir+p, 0o600))
			return p
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, dir string) {
				if test.onlyFile && dir == "" {
					return
				}
				reg := create(t, d)
				repo := repository(t, reg, "damaged")
				img := push(t, repo, "one", "v1")
				push(t, repo, "untagged", "")
				putBlob(t, repo, []byte("needed by what cannot be read"))
				put(t, d, revisionLink("damaged", digest.FromBytes([]byte("half made")))+".XYZ.tmp", "")
				other := repository(t, reg, "other")
				push(t, other, "whole", "v1")
				garbage := putBlob(t, other, []byte("garbage"))
				at := test.damage(t, d, dir, img)

				for _, o := range []storage.CollectOptions{{DryRun: true, Untagged: true}, nowUntagged} {
					kept := filesOf(everything(t, d, dir))
					done := collect(t, again(t, d), o)
					require.Equal(t, 1, done.Damage, "%v", done.things)
					require.Equal(t, test.contentKept, done.ContentKept)
					for _, it := range done.things {
						if it.Kind == storage.CollectDamage {
							require.Equal(t, at, it.Path)
							require.Error(t, it.Err)
							require.True(t, strings.EqualFold("damaged", it.Repository), it.Repository)
						}
					}
					want := goneLines("other", nil, []digest.Digest{garbage}, nil)
					if !test.contentKept {
						want = goneLines("other", nil, []digest.Digest{garbage}, []digest.Digest{garbage})
					}
					require.Equal(t, want, done.gone())
					if !o.DryRun {
						delete(kept, layerLink("other", garbage))
						if !test.contentKept {
							delete(kept, dataPath(garbage))
						}
					}
					require.Equal(t, kept, filesOf(everything(t, d, dir)))
				}
			})
		})
	}
}

// everything is tree, and what a driver refuses to look at.
func everything(t *testing.T, d driver.Driver, dir string) map[string]string {
	t.Helper()
	if dir == "" {
		return tree(t, d)
	}
	files := map[string]string{}
	for _, p := range pathsBelow(t, dir) {
		st, err := os.Lstat(p)
		require.NoError(t, err)
		rel := strings.TrimPrefix(p, dir)
		switch {
		case st.IsDir():
			files[rel+"/"] = ""
		case st.Mode().IsRegular():
			content, err := os.ReadFile(p)
			require.NoError(t, err)
			files[rel] = string(content)
		default:
			files[rel] = st.Mode().String()
		}
	}
	return files
}
