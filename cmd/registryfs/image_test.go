package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

// platforms are those of every image made here.
var platforms = []string{"amd64", "arm64"}

const (
	commonLayer = 1 << 20   // bytes of the layer that platforms share
	ownLayer    = 300 << 10 // bytes of the layer that each has of its own
)

// image lists, in hex and in order, what an image consists of.
type image struct {
	root             string // its index
	manifests, blobs []string
}

func (i *image) addManifest(d digest.Digest) {
	if !slices.Contains(i.manifests, d.Encoded()) {
		i.manifests = append(i.manifests, d.Encoded())
		slices.Sort(i.manifests)
	}
}

func (i *image) addBlob(d digest.Digest) {
	if !slices.Contains(i.blobs, d.Encoded()) {
		i.blobs = append(i.blobs, d.Encoded())
		slices.Sort(i.blobs)
	}
}

// merge is what a repository holds that has all of these images.
func merge(images ...image) image {
	var all image
	for _, i := range images {
		all.manifests = append(all.manifests, i.manifests...)
		all.blobs = append(all.blobs, i.blobs...)
	}
	slices.Sort(all.manifests)
	slices.Sort(all.blobs)
	all.manifests, all.blobs = slices.Compact(all.manifests), slices.Compact(all.blobs)
	return all
}

// layout is an OCI image layout on disk that holds one image, for several
// platforms, as "v1".
type layout struct {
	image
	dir string
}

// file is the path of one of the image's parts.
func (l *layout) file(hex string) string { return filepath.Join(l.dir, "blobs/sha256", hex) }

// formats are the media types that images of one kind have.
type formats struct{ index, manifest, config, layer string }

var (
	ociFormats = formats{
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageLayerGzip,
	}
	dockerFormats = formats{
		"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip",
	}
)

// makeLayout makes an image whose bytes follow from a seed.
func makeLayout(t *testing.T, seed string) *layout {
	t.Helper()
	return makeIndex(t, seed, ociFormats)
}

// makeIndex makes an image for several platforms.
func makeIndex(t *testing.T, seed string, f formats) *layout {
	t.Helper()
	l := newLayout(t)
	var children []ocispec.Descriptor
	common := layer(t, seed+" common", commonLayer)
	for _, arch := range platforms {
		children = append(children, l.addPlatform(t, f, arch, common, layer(t, seed+" "+arch, ownLayer)))
	}
	return l.holding(t, l.addIndex(t, f, children...))
}

func newLayout(t *testing.T) *layout {
	t.Helper()
	l := &layout{dir: filepath.Join(publicDir(t), "layout")}
	require.NoError(t, os.MkdirAll(filepath.Join(l.dir, "blobs/sha256"), 0o755))
	return l
}

// holding ends the making of a layout: it holds that as "v1".
func (l *layout) holding(t *testing.T, root ocispec.Descriptor) *layout {
	t.Helper()
	l.root = root.Digest.Encoded()
	root.Platform = nil
	root.Annotations = map[string]string{ocispec.AnnotationRefName: "v1"}
	top := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{root}}
	require.NoError(t, os.WriteFile(filepath.Join(l.dir, ocispec.ImageIndexFile), marshal(t, top), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(l.dir, ocispec.ImageLayoutFile),
		marshal(t, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}), 0o644))
	return l
}

func (l *layout) addIndex(t *testing.T, f formats, children ...ocispec.Descriptor) ocispec.Descriptor {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: f.index, Manifests: children}
	desc := l.put(t, index.MediaType, marshal(t, index))
	l.addManifest(desc.Digest)
	return desc
}

func (l *layout) addPlatform(t *testing.T, f formats, arch string, tars ...[]byte) ocispec.Descriptor {
	config := ocispec.Image{
		Platform: ocispec.Platform{Architecture: arch, OS: "linux"},
		RootFS:   ocispec.RootFS{Type: "layers"},
		Config:   ocispec.ImageConfig{Cmd: []string{"/bin/true"}},
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: f.manifest}
	made := time.Unix(0, 0).UTC()
	for _, content := range tars {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(content))
		config.History = append(config.History, ocispec.History{Created: &made, CreatedBy: "test"})
		desc := l.put(t, f.layer, compress(t, content))
		l.addBlob(desc.Digest)
		m.Layers = append(m.Layers, desc)
	}
	m.Config = l.put(t, f.config, marshal(t, config))
	l.addBlob(m.Config.Digest)
	desc := l.put(t, m.MediaType, marshal(t, m))
	l.addManifest(desc.Digest)
	desc.Platform = &config.Platform
	return desc
}

// put writes a file of the layout.
func (l *layout) put(t *testing.T, mediaType string, content []byte) ocispec.Descriptor {
	d := digest.FromBytes(content)
	require.NoError(t, os.WriteFile(l.file(d.Encoded()), content, 0o644))
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(content))}
}

// layer is a tar archive of one file that does not compress.
func layer(t *testing.T, seed string, size int) []byte {
	content := make([]byte, size)
	_, err := rand.NewChaCha8([32]byte([]byte(digest.FromBytes([]byte(seed)).Encoded())[:32])).Read(content)
	require.NoError(t, err)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	name := strings.ReplaceAll(seed, " ", "-")
	require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(size)}))
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func compress(t *testing.T, content []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func marshal(t *testing.T, v any) []byte {
	content, err := json.Marshal(v)
	require.NoError(t, err)
	return content
}

// checkMounted reads all of an image through a mount, and compares every byte
// with its digest.
func checkMounted(t *testing.T, mnt, repo, tag string, want image) {
	t.Helper()
	var sums strings.Builder
	for _, hex := range want.manifests {
		sums.WriteString(hex + "  _manifests/sha256/" + hex + "\n")
	}
	for _, hex := range want.blobs {
		sums.WriteString(hex + "  _blobs/sha256/" + hex + "\n")
	}
	sums.WriteString(want.root + "  _tags/" + tag + "\n")
	list := filepath.Join(t.TempDir(), "sums")
	require.NoError(t, os.WriteFile(list, []byte(sums.String()), 0o644))
	shell(t, `cd "$1"; sha256sum --quiet --strict -c "$2"`, filepath.Join(mnt, repo), list)
	require.Equal(t, "../_manifests/sha256/"+want.root, shell(t, `readlink "$1"`, filepath.Join(mnt, repo, "_tags", tag)))
}

// checkListed requires that a repository holds these blobs and manifests, and
// no others.
func checkListed(t *testing.T, mnt, repo string, want image) {
	t.Helper()
	dir := filepath.Join(mnt, repo)
	require.Equal(t, want.manifests, strings.Fields(shell(t, `ls "$1/_manifests/sha256"`, dir)))
	require.Equal(t, want.blobs, strings.Fields(shell(t, `ls "$1/_blobs/sha256"`, dir)))
}

// copyIn pushes an image through the mount alone, by cp, children first, and
// tags it by a link.
func copyIn(t *testing.T, l *layout, mnt, repo, tag string) {
	t.Helper()
	dir := filepath.Join(mnt, repo)
	shell(t, `mkdir -p "$1"`, dir)
	for _, hex := range l.blobs {
		shell(t, `cp "$1" "$2/_blobs/sha256/"`, l.file(hex), dir)
	}
	for _, hex := range l.manifests {
		shell(t, `cp "$1" "$2/_manifests/sha256/"`, l.file(hex), dir)
	}
	shell(t, `ln -s "../_manifests/sha256/$2" "$1/_tags/$3"`, dir, l.root, tag)
}
