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
