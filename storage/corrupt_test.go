package storage_test

import (
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
)

// damages is what may happen to a file of content. dir is where the store is,
// if it is anywhere.
var damages = map[string]struct {
	onlyFile bool
	do       func(t *testing.T, d driver.Driver, dir, p string, content []byte)
}{
	"FlipFirst": {false, func(t *testing.T, d driver.Driver, _, p string, content []byte) {
		overwrite(t, d, p, 0, []byte{content[0] ^ 1})
	}},
	"FlipMiddle": {false, func(t *testing.T, d driver.Driver, _, p string, content []byte) {
		overwrite(t, d, p, int64(len(content)/2), []byte{content[len(content)/2] ^ 1})
	}},
	"FlipLast": {false, func(t *testing.T, d driver.Driver, _, p string, content []byte) {
		overwrite(t, d, p, int64(len(content)-1), []byte{content[len(content)-1] ^ 1})
	}},
	"Truncated": {false, func(t *testing.T, d driver.Driver, _, p string, content []byte) {
		truncate(t, d, p, int64(len(content)-1))
	}},
	"Empty": {false, func(t *testing.T, d driver.Driver, _, p string, _ []byte) { truncate(t, d, p, 0) }},
	"Longer": {false, func(t *testing.T, d driver.Driver, _, p string, content []byte) {
		truncate(t, d, p, int64(len(content)+1))
	}},
	"Replaced": {false, func(t *testing.T, d driver.Driver, _, p string, content []byte) {
		put(t, d, p, strings.Repeat("x", len(content)))
	}},
	"Directory": {false, func(t *testing.T, d driver.Driver, _, p string, _ []byte) {
		require.NoError(t, d.Delete(t.Context(), p))
		put(t, d, p+"/file", "")
	}},
	"Symlink": {true, func(t *testing.T, _ driver.Driver, dir, p string, _ []byte) {
		// To the very content: it is not followed all the same.
		require.NoError(t, os.Rename(dir+p, dir+"/elsewhere"))
		require.NoError(t, os.Symlink(dir+"/elsewhere", dir+p))
	}},
	"FIFO": {true, func(t *testing.T, _ driver.Driver, dir, p string, _ []byte) {
		require.NoError(t, os.Remove(dir+p))
		require.NoError(t, unix.Mkfifo(dir+p, 0o600))
	}},
}

// onDamages runs a test for each damage to the layer, or the manifest, of an
// image.
func onDamages(t *testing.T, fn func(t *testing.T, d driver.Driver, reg storage.Registry, img pushed, damage func(digest.Digest))) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, dir string) {
				if damage.onlyFile && dir == "" {
					return // nothing else holds such things
				}
				reg := create(t, d)
				img := push(t, repository(t, reg, "app"), "one", "v1")
				fn(t, d, reg, img, func(which digest.Digest) {
					content, err := d.GetContent(t.Context(), dataPath(which))
					require.NoError(t, err)
					damage.do(t, d, dir, dataPath(which), content)
				})
			})
		})
	}
}

func TestCorruptBlob(t *testing.T) {
	onDamages(t, func(t *testing.T, d driver.Driver, reg storage.Registry, img pushed, damage func(digest.Digest)) {
		// Known to be good until now, which must not count any more.
		require.Equal(t, "layer of one", string(readAll(t, repository(t, reg, "app"), img.layer)))
		damage(img.layer)
		for _, reg := range []storage.Registry{reg, again(t, d)} {
			repo := repository(t, reg, "app")
			for range 2 {
				for op, err := range map[string]error{
					"open": second(repo.Blobs().Open(t.Context(), img.layer)),
					"get":  second(repo.Blobs().Get(t.Context(), img.layer)),
				} {
					require.ErrorIs(t, err, storage.ErrCorrupt, op)
					require.ErrorContains(t, err, dataPath(img.layer), op)
				}
			}
			require.Contains(t, blobsOf(t, repo), img.layer)
			require.NotEmpty(t, readAll(t, repo, img.config))
		}
	})
}

func TestCorruptManifest(t *testing.T) {
	onDamages(t, func(t *testing.T, d driver.Driver, reg storage.Registry, img pushed, damage func(digest.Digest)) {
		damage(img.manifest)
		for _, reg := range []storage.Registry{reg, again(t, d)} {
			repo := repository(t, reg, "app")
			for op, err := range map[string]error{
				"open": second(repo.Manifests().Open(t.Context(), img.manifest)),
				"get":  second(repo.Manifests().Get(t.Context(), img.manifest)),
				"tag":  repo.Tags().Tag(t.Context(), "v2", img.manifest),
			} {
				require.ErrorIs(t, err, storage.ErrCorrupt, op)
				require.ErrorContains(t, err, dataPath(img.manifest), op)
			}
			names, err := repo.Tags().All(t.Context())
			require.NoError(t, err)
			require.Equal(t, []string{"v1"}, names)
		}
	})
}

// A push of the same content puts it right, for every repository that has it,
// and keeps what was wrong where it can be looked at.
func TestCorruptHeals(t *testing.T) {
	onDamages(t, func(t *testing.T, d driver.Driver, reg storage.Registry, img pushed, damage func(digest.Digest)) {
		other := repository(t, reg, "other")
		_, err := other.Blobs().Mount(t.Context(), repository(t, reg, "app"), img.layer)
		require.NoError(t, err)
		damage(img.layer)
		damage(img.manifest)
		require.Equal(t, img, push(t, repository(t, reg, "app"), "one", "v1"))

		for _, reg := range []storage.Registry{reg, again(t, d)} {
			for _, name := range []string{"app", "other"} {
				require.Equal(t, "layer of one", string(readAll(t, repository(t, reg, name), img.layer)))
			}
			m, err := repository(t, reg, "app").Manifests().Get(t.Context(), img.manifest)
			require.NoError(t, err)
			require.Equal(t, string(img.payload), string(m.Payload()))
		}
		kept, err := d.List(t.Context(), "/registryfs/quarantine/sha256")
		require.NoError(t, err)
		require.Len(t, kept, 2)
		for _, entry := range kept {
			hex, _, _ := strings.Cut(path.Base(entry), "-")
			require.Contains(t, []string{img.layer.Encoded(), img.manifest.Encoded()}, hex)
		}
		for _, which := range []digest.Digest{img.layer, img.manifest} {
			beside, err := d.List(t.Context(), path.Dir(dataPath(which)))
			require.NoError(t, err)
			require.Equal(t, []string{dataPath(which)}, beside, "a stock registry finds nothing else here")
		}
	})
}

// Of many pushes one puts it right; the others find it good.
func TestCorruptHealsOnce(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(200_000)
		repo := repository(t, create(t, d), "app")
		which := putBlob(t, repo, content)
		overwrite(t, d, dataPath(which), 0, []byte("XXXX"))
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				_, err := repo.Blobs().Put(t.Context(), "", content)
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		require.Equal(t, which, digest.FromBytes(readAll(t, repo, which)))
		kept, err := d.List(t.Context(), "/registryfs/quarantine/sha256")
		require.NoError(t, err)
		require.Len(t, kept, 1)
	})
}

// Content that is good stays: a push does not replace it.
func TestPushKeepsGoodContent(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := []byte("content")
		which := putBlob(t, repository(t, create(t, d), "app"), content)
		before, err := d.Stat(t.Context(), dataPath(which))
		require.NoError(t, err)
		putBlob(t, repository(t, again(t, d), "other"), content)
		after, err := d.Stat(t.Context(), dataPath(which))
		require.NoError(t, err)
		require.Equal(t, before, after)
		_, err = d.Stat(t.Context(), "/registryfs/quarantine")
		require.ErrorIs(t, err, driver.ErrNotExist)
	})
}

func TestContentMissing(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		repo := repository(t, reg, "app")
		img := push(t, repo, "one", "v1")
		for _, which := range []digest.Digest{img.layer, img.manifest} {
			require.NoError(t, d.Delete(t.Context(), path.Dir(dataPath(which))))
		}
		for op, err := range map[string]error{
			"stat": second(repo.Blobs().Stat(t.Context(), img.layer)),
			"open": second(repo.Blobs().Open(t.Context(), img.layer)),
			"get":  second(repo.Blobs().Get(t.Context(), img.layer)),
		} {
			require.ErrorIs(t, err, storage.ErrBlobUnknown, op)
		}
		for op, err := range map[string]error{
			"stat": second(repo.Manifests().Stat(t.Context(), img.manifest)),
			"open": second(repo.Manifests().Open(t.Context(), img.manifest)),
			"get":  second(repo.Manifests().Get(t.Context(), img.manifest)),
			"tag":  repo.Tags().Tag(t.Context(), "v2", img.manifest),
		} {
			require.ErrorIs(t, err, storage.ErrManifestUnknown, op)
		}
		_, err := repo.Manifests().Put(t.Context(), "", img.payload)
		var missing *storage.MissingError
		require.ErrorAs(t, err, &missing)
		require.Equal(t, []digest.Digest{img.layer}, missing.Blobs)

		require.Equal(t, img, push(t, repo, "one", "v1"))
		require.Equal(t, "layer of one", string(readAll(t, repo, img.layer)))
	})
}

// What others stored and is no manifest for us can be read, and refers to
// nothing.
func TestUnparsableManifest(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, openRegistry(t, d, storage.Options{Create: true, AllowDelete: true}), "app")
		img := push(t, repo, "one", "")
		for _, payload := range []string{"no manifest", `[]`, `{"mediaType":"application/x-unknown"}`, ""} {
			which := digest.FromBytes([]byte(payload))
			put(t, d, dataPath(which), payload)
			put(t, d, revisionLink("app", which), which.String())
			blob, err := repo.Manifests().Open(t.Context(), which)
			require.NoError(t, err)
			p := make([]byte, len(payload))
			_, _ = blob.ReadAt(p, 0)
			require.Equal(t, payload, string(p))
			require.NoError(t, blob.Close())
			_, err = repo.Manifests().Get(t.Context(), which)
			require.Error(t, err)
			require.NotErrorIs(t, err, storage.ErrCorrupt)
			require.NoError(t, repo.Tags().Tag(t.Context(), "odd", which))
		}
		require.NoError(t, repo.Manifests().Delete(t.Context(), img.manifest))
		require.NoError(t, repo.Blobs().Delete(t.Context(), img.layer))
	})
}
