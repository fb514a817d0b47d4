package storage_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
)

// note is a wrapper that notes what is stored through it.
type note struct {
	storage.Repository
	by  string
	log *[]string
}

func (n *note) Unwrap() storage.Repository { return n.Repository }

func (n *note) Blobs() storage.BlobStore { return &noteBlobs{n.Repository.Blobs(), n} }

type noteBlobs struct {
	storage.BlobStore
	note *note
}

func (b *noteBlobs) Put(ctx context.Context, mediaType string, content []byte) (storage.Descriptor, error) {
	*b.note.log = append(*b.note.log, b.note.by+" "+b.note.Name())
	return b.BlobStore.Put(ctx, mediaType, content)
}

// opaque is a wrapper that nobody can look into.
type opaque struct{ storage.Repository }

func noting(by string, log *[]string) storage.RepositoryMiddleware {
	return func(repo storage.Repository) storage.Repository { return &note{repo, by, log} }
}

func TestWrapOrder(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		var log []string
		reg := storage.Wrap(create(t, d), noting("inner", &log), noting("middle", &log), noting("outer", &log))
		repo := repository(t, reg, "team/app")
		require.Equal(t, "team/app", repo.Name())
		content := []byte("content")
		desc := putBlob(t, repo, content)
		require.Equal(t, []string{"outer team/app", "middle team/app", "inner team/app"}, log)
		require.Equal(t, content, readAll(t, repository(t, again(t, d), "team/app"), desc))

		_, err := reg.Repository("Invalid")
		require.ErrorIs(t, err, storage.ErrNameInvalid)
		names, err := reg.List(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{"team"}, names)
	})
}

func TestWrapNothing(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		require.Same(t, reg, storage.Wrap(reg))
	})
}

// hidden is a registry without the repositories of one name.
type hidden struct {
	storage.Registry
	name string
}

func (h hidden) Repository(name string) (storage.Repository, error) {
	if name == h.name {
		return nil, storage.ErrRepositoryUnknown
	}
	return h.Registry.Repository(name)
}

func TestRegistryMiddleware(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		var log []string
		var hide storage.RegistryMiddleware = func(reg storage.Registry) storage.Registry { return hidden{reg, "secret"} }
		reg := storage.Wrap(hide(create(t, d)), noting("one", &log))
		_, err := reg.Repository("secret")
		require.ErrorIs(t, err, storage.ErrRepositoryUnknown)
		putBlob(t, repository(t, reg, "app"), []byte("content"))
		require.Equal(t, []string{"one app"}, log)
	})
}

// Wrappers do not stand between two repositories of one registry.
func TestMountThroughWrappers(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		var log []string
		plain := create(t, d)
		wrapped := storage.Wrap(plain, noting("a", &log), noting("b", &log))
		img := push(t, repository(t, wrapped, "from"), "one", "")
		for name, c := range map[string]struct{ from, to storage.Registry }{
			"plain-plain": {plain, plain}, "wrapped-plain": {wrapped, plain},
			"plain-wrapped": {plain, wrapped}, "wrapped-wrapped": {wrapped, wrapped},
		} {
			from, to := repository(t, c.from, "from"), repository(t, c.to, name)
			_, err := to.Blobs().Mount(t.Context(), from, img.layer)
			require.NoError(t, err, name)
			require.Equal(t, "layer of one", string(readAll(t, to, img.layer)))
			_, err = to.Manifests().Mount(t.Context(), from, img.manifest)
			require.NoError(t, err, name)
			require.ElementsMatch(t, []digest.Digest{img.config, img.layer}, blobsOf(t, to))
		}

		to := repository(t, wrapped, "to")
		for name, from := range map[string]storage.Repository{
			"opaque":           opaque{repository(t, plain, "from")},
			"opaque inside":    &note{opaque{repository(t, plain, "from")}, "c", &log},
			"another registry": repository(t, storage.Wrap(again(t, d), noting("d", &log)), "from"),
			"nothing":          &note{nil, "e", &log},
		} {
			_, err := to.Blobs().Mount(t.Context(), from, img.layer)
			require.ErrorIs(t, err, storage.ErrUnsupported, name)
			_, err = to.Manifests().Mount(t.Context(), from, img.manifest)
			require.ErrorIs(t, err, storage.ErrUnsupported, name)
		}
	})
}
