package storage_test

import (
	"fmt"
	"path"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// A manifest that cannot be read keeps all that each repository has which has
// it, whether one collection meets all of them or each its own.
func TestCollectSharedDamage(t *testing.T) {
	const artifact = "artifact"
	for name, damage := range map[string]func(t *testing.T, d driver.Driver, img pushed) driver.Driver{
		"Corrupt": func(t *testing.T, d driver.Driver, img pushed) driver.Driver {
			put(t, d, dataPath(img.manifest), string(img.payload)+" ")
			return d
		},
		"Missing": func(t *testing.T, d driver.Driver, img pushed) driver.Driver {
			require.NoError(t, d.Delete(t.Context(), path.Dir(dataPath(img.manifest))))
			return d
		},
		"NoShard": func(t *testing.T, d driver.Driver, img pushed) driver.Driver {
			require.NoError(t, d.Delete(t.Context(), path.Dir(path.Dir(dataPath(img.manifest)))))
			return d
		},
		"Denied": func(_ *testing.T, d driver.Driver, img pushed) driver.Driver {
			return &gate{d, func(op, p string) error {
				if p == dataPath(img.manifest) && op != "stat" {
					return syscall.EACCES
				}
				return nil
			}}
		},
		// Of this type nobody knows what it references.
		artifact: func(_ *testing.T, d driver.Driver, _ pushed) driver.Driver { return d },
	} {
		for run, once := range map[string]func(t *testing.T, d driver.Driver, clock storage.Clock, o storage.CollectOptions) collected{
			"Offline": func(t *testing.T, d driver.Driver, _ storage.Clock, o storage.CollectOptions) collected {
				o.Offline = true
				return collect(t, again(t, d), o)
			},
			"Online": func(t *testing.T, d driver.Driver, clock storage.Clock, o storage.CollectOptions) collected {
				_, end := exclusive(t, d, clock)
				defer end()
				return collectOnline(t, d, clock, o)
			},
		} {
			t.Run(name+"/"+run, func(t *testing.T) {
				onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
					reg, clock := create(t, d), newClock()
					var img pushed
					for _, repo := range []string{"a", "b", "b/c"} {
						img = push(t, repository(t, reg, repo), "image", "")
						if name == artifact {
							img.payload = fmt.Appendf(nil, `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json",`+
								`"blobs":[{"mediaType":"text/plain","digest":"%s","size":14}]}`, img.layer)
							img.manifest = digest.FromBytes(img.payload)
							put(t, d, dataPath(img.manifest), string(img.payload))
							put(t, d, revisionLink(repo, img.manifest), img.manifest.String())
						}
						put(t, d, currentLink(repo, "v1"), img.manifest.String())
					}
					garbage := putBlob(t, repository(t, reg, "whole"), []byte("garbage"))
					damaged := damage(t, d, img)
					kept := filesOf(tree(t, d))
					delete(kept, layerLink("whole", garbage))
					delete(kept, dataPath(garbage))

					for _, o := range []storage.CollectOptions{{}, {Untagged: true}} {
						for range 2 { // online the second removes what the first has set aside
							done := once(t, damaged, clock, o)
							require.Equal(t, 1, done.Damage, "%v", done.things)
							require.Equal(t, kept, inStore(tree(t, d)))
						}
					}
					require.NoError(t, again(t, d).(storage.RepositoryRemover).RemoveRepository(t.Context(), "a"))
					for p := range kept {
						if strings.HasPrefix(p, repos+"/a/") {
							delete(kept, p)
						}
					}
					for range 2 {
						once(t, damaged, clock, online)
						require.Equal(t, kept, inStore(tree(t, d)))
					}
				})
			})
		}
	}
}

// inStore is the files of a tree that a stock registry knows.
func inStore(all map[string]string) map[string]string {
	files := filesOf(all)
	for p := range files {
		if !strings.HasPrefix(p, v2+"/") {
			delete(files, p)
		}
	}
	return files
}

// What may not be looked into is named; whatever its links may lead to stays, and
// the rest goes on.
func TestCollectBesideDenied(t *testing.T) {
	for name, test := range map[string]struct {
		denied      func(img pushed) string
		contentKept bool
		stats       bool // not even what is in it can be described
	}{
		"Repository": {denied: func(pushed) string { return repos + "/denied" }, contentKept: true},
		"Namespace":  {denied: func(pushed) string { return repos + "/team" }, contentKept: true},
		"Links":      {denied: func(pushed) string { return repos + "/denied/_layers/sha256" }, contentKept: true},
		"Shard":      {denied: func(img pushed) string { return path.Dir(path.Dir(dataPath(img.layer))) }},
		"Blob":       {denied: func(img pushed) string { return dataPath(img.config) }, stats: true},
	} {
		t.Run(name, func(t *testing.T) {
			d, clock := memdriver.New(), newClock()
			reg := create(t, d)
			img := push(t, repository(t, reg, "denied"), "image", "v1")
			push(t, repository(t, reg, "team/app"), "image", "v1")
			whole := repository(t, reg, "whole")
			garbage := putBlob(t, whole, []byte("garbage"))
			untagged := push(t, whole, "image", "")
			denied := test.denied(img)
			g := &gate{d, func(op, p string) error {
				if p == denied && (test.stats || op == "list") {
					return syscall.EACCES
				}
				return nil
			}}
			if !test.contentKept { // so that it would go
				require.NoError(t, d.Delete(t.Context(), repos+"/denied"))
				require.NoError(t, d.Delete(t.Context(), repos+"/team"))
			}
			kept := filesOf(tree(t, d))
			gone := []string{layerLink("whole", garbage), layerLink("whole", untagged.layer), layerLink("whole", untagged.config), revisionLink("whole", untagged.manifest)}
			if !test.contentKept {
				gone = append(gone, dataPath(garbage), dataPath(untagged.layer), dataPath(untagged.config), dataPath(untagged.manifest))
			}
			for _, p := range gone {
				if path.Dir(path.Dir(p)) != denied && p != denied {
					delete(kept, p)
				}
			}
			_, end := exclusive(t, d, clock)
			done := collectOnline(t, g, clock, onlineUntagged)
			end()
			require.Equal(t, 1, done.Damage, "%v", done.things)
			require.Equal(t, test.contentKept, done.ContentKept)
			require.Equal(t, kept, inStore(tree(t, d)))
			done = collect(t, again(t, g), nowUntagged)
			require.Equal(t, 1, done.Damage, "%v", done.things)
			require.Equal(t, kept, inStore(tree(t, d)))
		})
	}
}

// Where nothing can be read any more, a collection fails.
func TestCollectOfLostStore(t *testing.T) {
	d := memdriver.New()
	push(t, repository(t, create(t, d), "app"), "image", "v1")
	isLost := false
	reg := again(t, &gate{d, func(string, string) error {
		if isLost {
			return syscall.EIO
		}
		return nil
	}})
	isLost = true
	_, err := reg.(storage.Collector).Collect(t.Context(), storage.CollectOptions{DryRun: true}, nil)
	require.ErrorIs(t, err, syscall.EIO)
}
