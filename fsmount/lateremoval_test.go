package fsmount

import (
	"context"
	"os"
	"syscall"
	"testing"

	"bazil.org/fuse"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// twoMounts is two trees over one registry, as of two mounts of a store.
func twoMounts(t *testing.T) (ours, theirs *fileSystem) {
	t.Helper()
	d := memdriver.New()
	mount := func() *fileSystem {
		reg, err := storage.Open(t.Context(), d, storage.Options{Create: true, AllowDelete: true})
		require.NoError(t, err)
		return newFileSystem("/mnt/reg", reg, Options{AllowDelete: true})
	}
	return mount(), mount()
}

func (f *fileSystem) rm(t *testing.T, v view, name string) error {
	t.Helper()
	return f.remove(t.Context(), f.placeOf("app", v, digest.SHA256.String()), &fuse.RemoveRequest{Header: *me(), Name: name})
}

// A blob that a manifest references is hidden by rm, and goes later; what others
// put meanwhile does not.
func TestAHiddenBlobThatOthersPutAgainStays(t *testing.T) {
	for name, again := range map[string]func(f *fileSystem, content []byte) error{
		"nobody": nil,
		"another mount": func(f *fileSystem, content []byte) error {
			_, err := f.repository(t, "app").Blobs().Put(t.Context(), "", content)
			return err
		},
	} {
		for _, v := range []view{viewBlobs, viewLayoutBlobs} {
			t.Run(name+" "+v.String(), func(t *testing.T) {
				ours, theirs := twoMounts(t)
				blob, image := ours.putImage(t, "app", "v1")
				repo := ours.repository(t, "app")
				content, err := repo.Blobs().Get(t.Context(), blob)
				require.NoError(t, err)
				require.NoError(t, ours.rm(t, v, blob.Encoded()))
				if again != nil {
					require.NoError(t, again(theirs, content))
				}
				require.NoError(t, repo.Tags().Untag(t.Context(), "v1"))
				require.NoError(t, ours.rm(t, viewManifests, image.Encoded()))
				if v == viewLayoutBlobs { // it goes with the next index.json
					left := ours.layouts.bases.takeRemoved("app", processOf(uint32(os.Getpid())))
					require.Len(t, left, 1)
					require.NoError(t, ours.removeLeft(t.Context(), repo, left))
				}
				_, err = theirs.repository(t, "app").Blobs().Stat(t.Context(), blob)
				if again == nil {
					require.ErrorIs(t, err, storage.ErrBlobUnknown)
				} else {
					require.NoError(t, err)
				}
			})
		}
	}
}

// tagging is a repository that gets a tag just before a manifest is deleted.
type tagging struct {
	storage.Repository
	tag string
}

func (r tagging) Manifests() storage.ManifestStore {
	return taggingManifests{r.Repository.Manifests(), r}
}

type taggingManifests struct {
	storage.ManifestStore
	repo tagging
}

func (m taggingManifests) Delete(ctx context.Context, d digest.Digest, options ...storage.DeleteOption) error {
	if err := m.repo.Tags().Tag(ctx, m.repo.tag, d); err != nil {
		return err
	}
	return m.ManifestStore.Delete(ctx, d, options...)
}

// A tag that comes just before its manifest is removed stays, and keeps it.
func TestRemovingAManifestThatIsBeingTagged(t *testing.T) {
	reg, err := storage.Open(t.Context(), memdriver.New(), storage.Options{Create: true, AllowDelete: true})
	require.NoError(t, err)
	f := newFileSystem("/mnt/reg", storage.Wrap(reg, func(repo storage.Repository) storage.Repository {
		return tagging{repo, "new"}
	}), Options{AllowDelete: true})
	_, image := f.putImage(t, "app", "v1")
	require.NoError(t, f.repository(t, "app").Tags().Untag(t.Context(), "v1"))
	require.Equal(t, syscall.EBUSY, f.rm(t, viewManifests, image.Encoded()))
	tag, err := f.repository(t, "app").Tags().Get(t.Context(), "new")
	require.NoError(t, err)
	require.Equal(t, image, tag.Digest)
}
