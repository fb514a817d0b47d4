package storage_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/filedriver"
	"registryfs/storage"
	"registryfs/storage/storagetest"
)

// namings is all that names content which is there already, in a store in which
// another has stored the image one with the tag v1, an index of it, and a loose
// blob; and what must be there when it has succeeded.
var namings = map[string]func(ctx context.Context, app, prod storage.Repository) (hold, error){
	"mount a blob": func(ctx context.Context, app, prod storage.Repository) (hold, error) {
		_, err := prod.Blobs().Mount(ctx, app, digest.FromBytes(loose))
		return hold{repo: "prod", digest: digest.FromBytes(loose)}, err
	},
	"put a manifest": func(ctx context.Context, app, _ storage.Repository) (hold, error) {
		_, _, payload := image("one")
		_, err := app.Manifests().Put(ctx, "", payload)
		return hold{repo: "app", digest: imageDigest("one"), manifest: true}, err
	},
	"tag": func(ctx context.Context, app, _ storage.Repository) (hold, error) {
		return hold{repo: "app", digest: imageDigest("one"), manifest: true, tag: "v2"}, app.Tags().Tag(ctx, "v2", imageDigest("one"))
	},
	"tag an index": func(ctx context.Context, app, _ storage.Repository) (hold, error) {
		return hold{repo: "app", digest: indexDigest("one"), manifest: true, tag: "v1"}, app.Tags().Tag(ctx, "v1", indexDigest("one"))
	},
	"rename a tag": func(ctx context.Context, app, _ storage.Repository) (hold, error) {
		return hold{repo: "app", digest: imageDigest("one"), manifest: true, tag: "stable"}, app.Tags().Rename(ctx, "v1", "stable")
	},
	"promote an index": func(ctx context.Context, app, prod storage.Repository) (hold, error) {
		_, err := prod.Manifests().Mount(ctx, app, indexDigest("one"))
		return hold{repo: "prod", digest: indexDigest("one"), manifest: true}, err
	},
}

// What others have stored, who make nothing durable, is durable when a name for
// it has been acknowledged.
func TestPowerLossOfWhatOthersStored(t *testing.T) {
	for name, do := range namings {
		t.Run(name, func(t *testing.T) {
			dir := storagetest.MemoryDir(t)
			create(t, openDir(t, dir, filedriver.Options{Sys: &hooked{}}))
			d := newDisk(t, dir)
			storeUnsynced(t, dir, d)
			reg := again(t, openDir(t, dir, filedriver.Options{Sys: d}))
			want, err := do(t.Context(), repository(t, reg, "app"), repository(t, reg, "prod"))
			require.NoError(t, err)
			requireKept(t, d, want)
		})
	}
}

// storeUnsynced stores what namings name.
func storeUnsynced(t *testing.T, dir string, sys filedriver.Sys) {
	t.Helper()
	repo := repository(t, again(t, openDir(t, dir, filedriver.Options{Sys: sys, NoSync: true})), "app")
	require.Equal(t, indexDigest("one"), pushIndex(t, repo, push(t, repo, "one", "v1")))
	putBlob(t, repo, loose)
}

// To name what this process has stored, or named before, costs no sync but those
// of the names.
func TestWhatIsDurableIsNotSyncedAgain(t *testing.T) {
	for name, do := range namings {
		for _, ours := range []bool{true, false} {
			who := map[bool]string{true: "ours", false: "others"}[ours]
			t.Run(name+", "+who, func(t *testing.T) {
				dir := t.TempDir()
				var mu sync.Mutex
				var synced []string
				sys := &hooked{hook: func(c *sysCall, do func() error) error {
					if c.op == "sync" {
						mu.Lock()
						defer mu.Unlock()
						synced = append(synced, strings.TrimPrefix(c.file.Name(), dir))
					}
					return do()
				}}
				reg := openRegistry(t, openDir(t, dir, filedriver.Options{Sys: sys}), storage.Options{Create: true})
				app, prod := repository(t, reg, "app"), repository(t, reg, "prod")
				if ours {
					pushIndex(t, app, push(t, app, "one", "v1"))
					putBlob(t, app, loose)
				} else {
					storeUnsynced(t, dir, &hooked{})
					_, err := do(t.Context(), app, prod)
					require.NoError(t, err)
					require.NoError(t, app.Tags().Tag(t.Context(), "v1", imageDigest("one")))
				}
				synced = nil
				_, err := do(t.Context(), app, prod)
				require.NoError(t, err)
				written := slices.DeleteFunc(synced, func(p string) bool {
					return strings.HasSuffix(p, ".tmp") || strings.Contains(p, "/_uploads/")
				})
				require.Empty(t, written)
			})
		}
	}
}

// What others replace is made durable anew.
func TestWhatOthersReplaceIsSyncedAgain(t *testing.T) {
	dir := storagetest.MemoryDir(t)
	create(t, openDir(t, dir, filedriver.Options{Sys: &hooked{}}))
	d := newDisk(t, dir)
	repo := repository(t, again(t, openDir(t, dir, filedriver.Options{Sys: d})), "app")
	one := push(t, repo, "one", "v1")
	for _, p := range []string{dataPath(one.layer), layerLink("app", one.layer), revisionLink("app", one.manifest)} {
		require.NoError(t, os.Remove(dir+p))
	}
	other := repository(t, again(t, openDir(t, dir, filedriver.Options{Sys: d, NoSync: true})), "app")
	push(t, other, "one", "")
	require.NoError(t, repo.Tags().Tag(t.Context(), "v2", one.manifest))
	requireKept(t, d, hold{repo: "app", digest: one.manifest, manifest: true, tag: "v2"})
}

// requireKept fails where a loss of power would take what must be there. Names
// that others have given are in the journal before ours.
func requireKept(t *testing.T, d *disk, want hold) {
	t.Helper()
	for _, loss := range []string{"names", "zeros"} {
		left := storagetest.MemoryDir(t)
		require.NoError(t, restore(left, d.left(losses[loss])))
		reg := again(t, openDir(t, left, filedriver.Options{Sys: &hooked{}}))
		require.NoError(t, want.check(t.Context(), reg), "power lost, leaving %s", loss)
	}
}
