package storage_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// The places of things, written out: what the layout must be is not to be
// learnt from the code that makes it.
const (
	v2    = "/docker/registry/v2"
	repos = v2 + "/repositories"
)

func dataPath(d digest.Digest) string {
	return path.Join(v2, "blobs", d.Algorithm().String(), d.Encoded()[:2], d.Encoded(), "data")
}

func layerLink(repo string, d digest.Digest) string {
	return path.Join(repos, repo, "_layers", d.Algorithm().String(), d.Encoded(), "link")
}

func revisionLink(repo string, d digest.Digest) string {
	return path.Join(repos, repo, "_manifests/revisions", d.Algorithm().String(), d.Encoded(), "link")
}

func currentLink(repo, tag string) string {
	return path.Join(repos, repo, "_manifests/tags", tag, "current/link")
}

func indexLink(repo, tag string, d digest.Digest) string {
	return path.Join(repos, repo, "_manifests/tags", tag, "index", d.Algorithm().String(), d.Encoded(), "link")
}

// onDrivers runs a test on each kind of driver. dir is where the store is, or
// "" where it is nowhere.
func onDrivers(t *testing.T, fn func(t *testing.T, d driver.Driver, dir string)) {
	t.Run("Mem", func(t *testing.T) { fn(t, memdriver.New(), "") })
	t.Run("File", func(t *testing.T) {
		dir := t.TempDir()
		fn(t, openDir(t, dir, filedriver.Options{}), dir)
	})
}

// create opens a new registry.
func create(t *testing.T, d driver.Driver) storage.Registry {
	t.Helper()
	return openRegistry(t, d, storage.Options{Create: true})
}

// again opens a registry as another process would, which remembers nothing.
func again(t *testing.T, d driver.Driver) storage.Registry {
	t.Helper()
	return openRegistry(t, d, storage.Options{})
}

func repository(t *testing.T, reg storage.Registry, name string) storage.Repository {
	t.Helper()
	repo, err := reg.Repository(name)
	require.NoError(t, err)
	return repo
}

func noise(size int) []byte {
	p := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p) // never fails
	return p
}

func putBlob(t *testing.T, repo storage.Repository, content []byte) digest.Digest {
	t.Helper()
	desc, err := repo.Blobs().Put(t.Context(), "", content)
	require.NoError(t, err)
	require.Equal(t, digest.FromBytes(content), desc.Digest)
	return desc.Digest
}

// pushed is an image in a repository.
type pushed struct {
	config, layer, manifest digest.Digest
	payload                 []byte
}

// push stores an image, and tags it unless tag is empty.
func push(t *testing.T, repo storage.Repository, word, tag string) pushed {
	t.Helper()
	config, layer := []byte(`{"config":"`+word+`"}`), []byte("layer of "+word)
	img := pushed{config: putBlob(t, repo, config), layer: putBlob(t, repo, layer)}
	img.payload = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"%s","size":%d}]}`,
		img.config, len(config), img.layer, len(layer))
	desc, err := repo.Manifests().Put(t.Context(), "", img.payload)
	require.NoError(t, err)
	img.manifest = desc.Digest
	if tag != "" {
		require.NoError(t, repo.Tags().Tag(t.Context(), tag, img.manifest))
	}
	return img
}

// pushIndex stores an index of images.
func pushIndex(t *testing.T, repo storage.Repository, images ...pushed) digest.Digest {
	t.Helper()
	var children bytes.Buffer
	for i, img := range images {
		if i > 0 {
			children.WriteByte(',')
		}
		fmt.Fprintf(&children, `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d}`,
			img.manifest, len(img.payload))
	}
	desc, err := repo.Manifests().Put(t.Context(), "", fmt.Appendf(nil,
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}`, &children))
	require.NoError(t, err)
	return desc.Digest
}

// readAll reads a blob and closes it.
func readAll(t *testing.T, repo storage.Repository, d digest.Digest) []byte {
	t.Helper()
	blob, err := repo.Blobs().Open(t.Context(), d)
	require.NoError(t, err)
	defer blob.Close()
	content, err := io.ReadAll(io.NewSectionReader(blob, 0, blob.Descriptor().Size))
	require.NoError(t, err)
	return content
}

// overwrite changes bytes of a file where it is, as a disk or an editor does.
func overwrite(t *testing.T, d driver.Driver, p string, off int64, content []byte) {
	t.Helper()
	w, err := d.Writer(t.Context(), p, true)
	require.NoError(t, err)
	_, err = w.(driver.RandomWriter).WriteAt(content, off)
	require.NoError(t, err)
	require.NoError(t, w.Commit(t.Context()))
}

// truncate changes the size of a file where it is.
func truncate(t *testing.T, d driver.Driver, p string, size int64) {
	t.Helper()
	w, err := d.Writer(t.Context(), p, true)
	require.NoError(t, err)
	require.NoError(t, w.(driver.RandomWriter).Truncate(size))
	require.NoError(t, w.Commit(t.Context()))
}

func put(t *testing.T, d driver.Driver, p, content string) {
	t.Helper()
	require.NoError(t, d.PutContent(t.Context(), p, []byte(content)))
}

// tree is every file of a store with its content, and every directory with "/"
// after its path and nothing.
func tree(t *testing.T, d driver.Driver) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, driver.Walk(t.Context(), d, "/", func(info driver.FileInfo) error {
		if info.IsDir {
			files[info.Path+"/"] = ""
			return nil
		}
		content, err := d.GetContent(t.Context(), info.Path)
		files[info.Path] = string(content)
		return err
	}))
	return files
}
