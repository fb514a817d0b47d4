package fsmount_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/manifest"
)

// file is a file outside the mount and the digest of its content.
type file struct {
	path string
	hex  string
	size int
}

func (f file) digest() string { return "sha256:" + f.hex }

// file writes a file into the work directory.
func (r *repo) file(t *testing.T, name string, content []byte) file {
	t.Helper()
	path := filepath.Join(r.work, name)
	require.NoError(t, os.WriteFile(path, content, 0o644))
	sum := sha256.Sum256(content)
	return file{path, hex.EncodeToString(sum[:]), len(content)}
}

// random writes a file of so many bytes that are like no other's.
func (r *repo) random(t *testing.T, name string, size int) file {
	t.Helper()
	content := make([]byte, size)
	_, _ = rand.Read(content)
	return r.file(t, name, content)
}

// image is an image of a configuration and two layers.
type image struct {
	config   file
	layers   []file
	manifest file
}

func (i image) blobs() []file { return append([]file{i.config}, i.layers...) }

type object = map[string]any

func descriptor(mediaType string, f file) object {
	return object{"mediaType": mediaType, "digest": f.digest(), "size": f.size}
}

// image writes an image into the work directory, its files beginning with a
// name. Nothing is pushed.
func (r *repo) image(t *testing.T, name string) image {
	t.Helper()
	i := image{
		config: r.file(t, name+"-config.json", []byte(`{"name":"`+name+r.name+`"}`)),
		layers: []file{r.random(t, name+"-0.tar.gz", 5000), r.random(t, name+"-1.tar.gz", 70_000)},
	}
	i.manifest = r.json(t, name+".json", object{
		"schemaVersion": 2,
		"mediaType":     manifest.MediaTypeOCIManifest,
		"config":        descriptor(manifest.MediaTypeOCIConfig, i.config),
		"layers": []object{
			descriptor(manifest.MediaTypeOCILayer, i.layers[0]),
			descriptor(manifest.MediaTypeOCILayer, i.layers[1]),
		},
	})
	return i
}

// json writes a document, in lines so that editors have something to do.
func (r *repo) json(t *testing.T, name string, v any) file {
	t.Helper()
	content, err := json.MarshalIndent(v, "", "  ")
	require.NoError(t, err)
	return r.file(t, name, append(content, '\n'))
}

// index writes an index of images into the work directory.
func (r *repo) index(t *testing.T, name string, images ...image) file {
	t.Helper()
	var children []object
	for _, i := range images {
		children = append(children, descriptor(manifest.MediaTypeOCIManifest, i.manifest))
	}
	return r.json(t, name+".json", object{
		"schemaVersion": 2,
		"mediaType":     manifest.MediaTypeOCIIndex,
		"manifests":     children,
	})
}

// pushBlobs copies blobs in.
func (r *repo) pushBlobs(t *testing.T, files ...file) {
	t.Helper()
	for _, f := range files {
		r.ok(t, `cp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
	}
}

// push pushes an image, with tags.
func (r *repo) push(t *testing.T, i image, tags ...string) {
	t.Helper()
	r.pushBlobs(t, i.blobs()...)
	r.ok(t, `cp "$1" "$R/_manifests/sha256/$2"`, i.manifest.path, i.manifest.hex)
	for _, tag := range tags {
		r.ok(t, `ln -s "$1" "$R/_tags/$2"`, i.manifest.digest(), tag)
	}
}

// pushed makes an image and pushes it.
func (r *repo) pushed(t *testing.T, name string, tags ...string) image {
	t.Helper()
	i := r.image(t, name)
	r.push(t, i, tags...)
	return i
}

// pushedIndex pushes an image for two platforms under a tag.
func (r *repo) pushedIndex(t *testing.T, tag string) (file, []image) {
	t.Helper()
	images := []image{r.pushed(t, "amd64"), r.pushed(t, "arm64")}
	index := r.index(t, "index", images...)
	r.ok(t, `cp "$1" "$R/_tags/$2"`, index.path, tag)
	return index, images
}

// requireTag checks what a tag names, and that it can be read.
func (r *repo) requireTag(t *testing.T, tag string, want file) {
	t.Helper()
	require.Equal(t, "../_manifests/sha256/"+want.hex, r.ok(t, `readlink "$R/_tags/$1"`, tag))
	require.Equal(t, want.hex, r.ok(t, `sha256sum < "$R/_tags/$1" | cut -c-64`, tag))
}

// requireBlob checks that a blob is there, and its bytes.
func (r *repo) requireBlob(t *testing.T, want file) {
	t.Helper()
	require.Equal(t, want.hex, r.ok(t, `sha256sum < "$R/_blobs/sha256/$1" | cut -c-64`, want.hex))
}

func (f file) content() ([]byte, error) { return os.ReadFile(f.path) }
