package fsmount

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/manifest"
	"registryfs/storage"
)

// imagesStore is a repository "app" in which anything can be tagged, as others
// may have stored it.
type imagesStore struct {
	fs     *fileSystem
	driver driver.Driver
	repo   storage.Repository
}

func newImagesStore(t *testing.T) *imagesStore {
	t.Helper()
	d := memdriver.New()
	reg, err := storage.Open(t.Context(), d, storage.Options{Create: true, AllowDelete: true, SparseIndexes: true})
	require.NoError(t, err)
	f := newFileSystem("/mnt/reg", reg, Options{})
	return &imagesStore{f, d, f.repository(t, "app")}
}

func (s *imagesStore) blob(t *testing.T, mediaType, content string) manifest.Descriptor {
	t.Helper()
	desc, err := s.repo.Blobs().Put(t.Context(), mediaType, []byte(content))
	require.NoError(t, err)
	desc.MediaType = mediaType
	return desc
}

func (s *imagesStore) put(t *testing.T, doc any) manifest.Descriptor {
	t.Helper()
	payload, err := json.Marshal(doc)
	require.NoError(t, err)
	desc, err := s.repo.Manifests().Put(t.Context(), "", payload, storage.SkipReferences(), storage.AcceptUnsigned())
	require.NoError(t, err)
	return desc
}

// plant stores a manifest that no registry accepts.
func (s *imagesStore) plant(t *testing.T, payload string) manifest.Descriptor {
	t.Helper()
	d := digest.FromBytes([]byte(payload))
	const root = "/docker/registry/v2/"
	require.NoError(t, s.driver.PutContent(t.Context(), root+"blobs/sha256/"+d.Encoded()[:2]+"/"+d.Encoded()+"/data", []byte(payload)))
	require.NoError(t, s.driver.PutContent(t.Context(), root+"repositories/app/_manifests/revisions/sha256/"+d.Encoded()+"/link", []byte(d)))
	return manifest.Descriptor{Digest: d, Size: int64(len(payload))}
}

func (s *imagesStore) tag(t *testing.T, tag string, d digest.Digest) {
	t.Helper()
	require.NoError(t, s.repo.Tags().Tag(t.Context(), tag, d))
}

// image stores an image whose configuration is that text.
func (s *imagesStore) image(t *testing.T, config string, layers ...manifest.Descriptor) manifest.Descriptor {
	t.Helper()
	return s.put(t, map[string]any{
		"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIManifest,
		"config": s.blob(t, manifest.MediaTypeOCIConfig, config),
		"layers": append([]manifest.Descriptor{}, layers...),
	})
}

func (s *imagesStore) index(t *testing.T, children ...manifest.Descriptor) manifest.Descriptor {
	t.Helper()
	return s.put(t, map[string]any{
		"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIIndex,
		"manifests": append([]manifest.Descriptor{}, children...),
	})
}

func forPlatform(desc manifest.Descriptor, os, arch, variant string) manifest.Descriptor {
	desc.Platform = &manifest.Platform{OS: os, Architecture: arch, Variant: variant}
	return desc
}

// tree lists what is below a directory, without the kernel, and cuts digests to
// six digits. Every name that is listed can be looked up, and its type and
// inode number are those listed.
func (s *imagesStore) tree(t *testing.T, path ...string) string {
	t.Helper()
	var lines []string
	s.list(t, path, "", &lines)
	return strings.Join(lines, "\n")
}

func (s *imagesStore) list(t *testing.T, path []string, below string, lines *[]string) {
	node, err := s.fs.lookup(t.Context(), append([]string{"app", "_images"}, path...)...)
	require.NoError(t, err, path)
	entries, err := node.(fusefs.HandleReadDirAller).ReadDirAll(t.Context())
	require.NoError(t, err, path)
	for _, e := range entries[2:] {
		at := append(append([]string{}, path...), e.Name)
		child, err := s.fs.lookup(t.Context(), append([]string{"app", "_images"}, at...)...)
		require.NoError(t, err, at)
		var a fuse.Attr
		require.NoError(t, child.Attr(t.Context(), &a), at)
		require.Equal(t, e.Inode, a.Inode, at)
		if link, ok := child.(fusefs.NodeReadlinker); ok {
			require.Equal(t, fuse.DT_Link, e.Type)
			text, err := link.Readlink(t.Context(), &fuse.ReadlinkRequest{})
			require.NoError(t, err)
			require.Len(t, text, int(a.Size))
			*lines = append(*lines, below+e.Name+" -> "+text[:len(text)-58])
			continue
		}
		require.Equal(t, fuse.DT_Dir, e.Type)
		*lines = append(*lines, below+e.Name+"/")
		s.list(t, at, below+e.Name+"/", lines)
	}
}

func to(view string, desc manifest.Descriptor) string {
	depth := 3
	if view == "layer" {
		depth, view = 4, "_blobs"
	}
	return " -> " + strings.Repeat("../", depth) + view + "/sha256/" + desc.Digest.Encoded()[:6]
}

func TestImagesOfATag(t *testing.T) {
	s := newImagesStore(t)
	tar := s.blob(t, manifest.MediaTypeOCILayer, "a layer")
	zst := s.blob(t, "application/vnd.oci.image.layer.v1.tar+zstd", "another")
	const arm = `{"os":"linux","architecture":"arm","variant":"v7"}`
	config := s.blob(t, manifest.MediaTypeOCIConfig, arm)
	image := s.image(t, arm, tar, zst, tar)
	amd64, arm64 := s.image(t, `{"n":1}`), s.image(t, `{"n":2}`)
	artifact := s.put(t, map[string]any{
		"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIManifest, "artifactType": "application/vnd.example",
		"config": s.blob(t, manifest.MediaTypeOCIEmpty, "{}"),
		"layers": []manifest.Descriptor{s.blob(t, "text/plain", "text")},
	})
	missing := manifest.Descriptor{MediaType: manifest.MediaTypeOCIManifest, Digest: digest.FromBytes([]byte("missing")), Size: 5}
	notOurs := manifest.Descriptor{MediaType: manifest.MediaTypeOCILayer, Digest: digest.FromBytes([]byte("elsewhere")), Size: 5}
	const wrongTypes = `{"os":["linux"],"architecture":{}}`
	elf, typed := s.image(t, "\x7fELF"), s.image(t, wrongTypes)
	elsewhere := s.put(t, map[string]any{
		"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIManifest, "config": missing, "layers": []any{notOurs},
	})
	broken := s.plant(t, `{"schemaVersion":2,"manifests":7}`)
	foreign := s.plant(t, `{"schemaVersion":2,"mediaType":"application/vnd.other+json"}`)
	noConfig := s.plant(t, `{"schemaVersion":2,"mediaType":"`+manifest.MediaTypeOCIManifest+`","layers":[]}`)
	schema1 := s.put(t, map[string]any{
		"schemaVersion": 1, "name": "app", "tag": "v1", "architecture": "amd64",
		"fsLayers": []any{map[string]any{"blobSum": zst.Digest}, map[string]any{"blobSum": tar.Digest}, map[string]any{"blobSum": zst.Digest}},
		"history": []any{
			map[string]any{"v1Compatibility": `{"id":"2","os":"linux","architecture":"amd64"}`},
			map[string]any{"v1Compatibility": `{"id":"1"}`}, map[string]any{"v1Compatibility": `{"id":"0"}`},
		},
	})

	only := func(name string, m manifest.Descriptor) string {
		return name + "/\n" + name + "/manifest.json" + to("_manifests", m)
	}
	// full is an image without layers.
	full := func(name string, m manifest.Descriptor, config string) string {
		return only(name, m) + "\n" + name + "/config.json" + to("_blobs", s.blob(t, "", config)) + "\n" + name + "/layers/"
	}
	tests := []struct {
		name string
		root manifest.Descriptor
		want []string
	}{
		{"an image, by its configuration", image, []string{
			"linux-arm-v7/", "linux-arm-v7/manifest.json" + to("_manifests", image), "linux-arm-v7/config.json" + to("_blobs", config),
			"linux-arm-v7/layers/", "linux-arm-v7/layers/00.tar.gz" + to("layer", tar),
			"linux-arm-v7/layers/01.tar.zst" + to("layer", zst), "linux-arm-v7/layers/02.tar.gz" + to("layer", tar),
		}},
		{"an index, by its descriptors", s.index(t, forPlatform(amd64, "linux", "amd64", ""), forPlatform(arm64, "linux", "arm64", "v8")),
			[]string{full("linux-amd64", amd64, `{"n":1}`), full("linux-arm64-v8", arm64, `{"n":2}`)}},
		{"a child without a platform, by its configuration", s.index(t, amd64, image), []string{
			full("unknown", amd64, `{"n":1}`), only("linux-arm-v7", image), "linux-arm-v7/config.json" + to("_blobs", config),
			"linux-arm-v7/layers/", "linux-arm-v7/layers/00.tar.gz" + to("layer", tar),
			"linux-arm-v7/layers/01.tar.zst" + to("layer", zst), "linux-arm-v7/layers/02.tar.gz" + to("layer", tar),
		}},
		{"several for one platform", s.index(t,
			forPlatform(amd64, "windows", "amd64", ""), forPlatform(arm64, "windows", "amd64", ""), forPlatform(amd64, "windows", "amd64", "")),
			[]string{full("windows-amd64", amd64, `{"n":1}`), full("windows-amd64.2", arm64, `{"n":2}`)}},
		{"one that has the name of a second", s.index(t,
			forPlatform(amd64, "a", "b.2", ""), forPlatform(amd64, "a", "b", ""), forPlatform(arm64, "a", "b", "")),
			[]string{full("a-b.2", amd64, `{"n":1}`), full("a-b", amd64, `{"n":1}`), full("a-b.3", arm64, `{"n":2}`)}},
		{"attestations are no images", s.index(t, forPlatform(amd64, "linux", "amd64", ""), forPlatform(artifact, "unknown", "unknown", "")),
			[]string{full("linux-amd64", amd64, `{"n":1}`)}},
		{"children that are not here", s.index(t, missing, forPlatform(missing, "linux", "amd64", ""), forPlatform(arm64, "linux", "arm64", "")),
			[]string{full("linux-arm64", arm64, `{"n":2}`)}},
		{"indexes in indexes", s.index(t, s.index(t, forPlatform(amd64, "linux", "amd64", "")), s.index(t), missing,
			s.index(t, s.index(t, forPlatform(arm64, "linux", "arm64", ""), forPlatform(amd64, "linux", "amd64", "")))),
			[]string{full("linux-amd64", amd64, `{"n":1}`), full("linux-arm64", arm64, `{"n":2}`)}},
		{"an empty index", s.index(t), nil},
		{"an artifact", artifact, []string{only("unknown", artifact), "unknown/config.json" + to("_blobs", s.blob(t, "", "{}")),
			"unknown/layers/", "unknown/layers/00.txt" + to("layer", s.blob(t, "", "text"))}},
		{"schema 1", schema1, []string{only("linux-amd64", schema1), "linux-amd64/layers/", "linux-amd64/layers/00.tar.gz" + to("layer", zst),
			"linux-amd64/layers/01.tar.gz" + to("layer", tar), "linux-amd64/layers/02.tar.gz" + to("layer", zst)}},
		{"layers and a configuration that are elsewhere", elsewhere, []string{only("unknown", elsewhere),
			"unknown/config.json" + to("_blobs", missing), "unknown/layers/", "unknown/layers/00.tar.gz" + to("layer", notOurs)}},
		{"a configuration that is no JSON", elf, []string{full("unknown", elf, "\x7fELF")}},
		{"a configuration of other types", typed, []string{full("unknown", typed, wrongTypes)}},
		{"a manifest that cannot be read", broken, []string{only("unknown", broken)}},
		{"a manifest of another type", foreign, []string{only("unknown", foreign)}},
		{"an image without a configuration", noConfig, []string{only("unknown", noConfig), "unknown/layers/"}},
		{"an index of what cannot be read", s.index(t, broken, forPlatform(broken, "linux", "amd64", "")),
			[]string{only("unknown", broken), only("linux-amd64", broken)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.tag(t, "v1", tt.root.Digest)
			require.Equal(t, strings.Join(tt.want, "\n"), s.tree(t, "v1"))
		})
	}
}

// What cannot be found at all, or only in part, fails nobody.
func TestImagesOfDamagedTags(t *testing.T) {
	s := newImagesStore(t)
	image := s.image(t, `{"os":"linux","architecture":"amd64"}`)
	for _, tag := range []string{"v1", "gone", "rotten"} {
		s.tag(t, tag, image.Digest)
	}
	const tags = "/docker/registry/v2/repositories/app/_manifests/tags/"
	require.NoError(t, s.driver.PutContent(t.Context(), tags+"gone/current/link", []byte(digest.FromBytes([]byte("gone")))))
	require.NoError(t, s.driver.PutContent(t.Context(), tags+"rotten/current/link", []byte("rotten")))
	tree := s.tree(t)
	require.Contains(t, tree, "gone/\nrotten/\nv1/\nv1/linux-amd64/\n")

	corrupt := digest.FromBytes([]byte("corrupt"))
	s.plant(t, "corrupt")
	require.NoError(t, s.driver.PutContent(t.Context(), "/docker/registry/v2/blobs/sha256/"+corrupt.Encoded()[:2]+"/"+corrupt.Encoded()+"/data", []byte("CORRUPT")))
	s.tag(t, "v1", corrupt)
	require.Equal(t, "unknown/\nunknown/manifest.json -> ../../../_manifests/sha256/"+corrupt.Encoded()[:6], s.tree(t, "v1"))
	require.Contains(t, string(s.fs.failures.content()), "/app/_images/v1/unknown")
}

// Who is in the directory of a tag stays with the image it named.
func TestImagesStayWithTheirManifest(t *testing.T) {
	s := newImagesStore(t)
	first, second := s.image(t, `{"os":"linux","architecture":"amd64","n":1}`), s.image(t, `{"os":"linux","architecture":"amd64","n":2}`)
	s.tag(t, "v1", first.Digest)
	path := []string{"app", "_images", "v1", "linux-amd64"}
	before, err := s.fs.lookup(t.Context(), path...)
	require.NoError(t, err)
	s.tag(t, "v1", second.Digest)
	after, err := s.fs.lookup(t.Context(), path...)
	require.NoError(t, err)
	require.False(t, before == after)
	for dir, want := range map[fusefs.Node]digest.Digest{before: first.Digest, after: second.Digest} {
		require.Equal(t, want, dir.(platformDir).manifest)
	}
}

func TestImagesAreBounded(t *testing.T) {
	s := newImagesStore(t)
	image := s.image(t, `{}`)
	var many []manifest.Descriptor
	for i := range maxPlatforms + 10 {
		many = append(many, forPlatform(image, "linux", fmt.Sprint("arch", i), ""))
	}
	s.tag(t, "wide", s.index(t, many...).Digest)
	node, err := s.fs.lookup(t.Context(), "app", "_images", "wide")
	require.NoError(t, err)
	entries, err := node.(fusefs.HandleReadDirAller).ReadDirAll(t.Context())
	require.NoError(t, err)
	require.Len(t, entries, 2+maxPlatforms)

	// Each of many levels names the one below several times: a path through
	// them can be chosen in more ways than could be followed.
	deep := s.index(t, forPlatform(image, "linux", "amd64", ""))
	for range maxIndexes + 10 {
		deep = s.index(t, deep, deep, deep)
	}
	s.tag(t, "deep", deep.Digest)
	require.Empty(t, s.tree(t, "deep"))
}

// Many layers are in the order of their names.
func TestLayersAreInOrder(t *testing.T) {
	s := newImagesStore(t)
	layer := s.blob(t, manifest.MediaTypeOCILayer, "layer")
	for n, want := range map[int][2]string{
		1: {"00.tar.gz", "00.tar.gz"}, 100: {"00.tar.gz", "99.tar.gz"}, 101: {"000.tar.gz", "100.tar.gz"},
	} {
		layers := make([]manifest.Descriptor, n)
		for i := range layers {
			layers[i] = layer
		}
		s.tag(t, "v1", s.image(t, `{}`, layers...).Digest)
		node, err := s.fs.lookup(t.Context(), "app", "_images", "v1", "unknown", "layers")
		require.NoError(t, err)
		entries, err := node.(fusefs.HandleReadDirAller).ReadDirAll(t.Context())
		require.NoError(t, err)
		require.Len(t, entries, 2+n)
		require.Equal(t, want, [2]string{entries[2].Name, entries[1+n].Name})
	}
}

// A look that is interrupted finds no other platform than the image has.
func TestImagesOfAnInterruptedLook(t *testing.T) {
	s := newImagesStore(t)
	s.tag(t, "v1", s.image(t, `{"os":"linux","architecture":"amd64"}`).Digest)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.fs.lookup(ctx, "app", "_images", "v1", "unknown")
	require.ErrorIs(t, err, context.Canceled)
}
