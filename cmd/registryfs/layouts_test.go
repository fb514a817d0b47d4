package main

import (
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// smallLayer is the bytes of a layer of which the size does not matter.
const smallLayer = 10 << 10

// makeImage makes a small image for one platform.
func makeImage(t *testing.T, seed string, f formats) *layout {
	t.Helper()
	l := newLayout(t)
	return l.holding(t, l.addPlatform(t, f, platforms[0], layer(t, seed+" common", smallLayer), layer(t, seed, smallLayer)))
}

// makeArtifact makes an artifact that is about an image, which is subject.
func makeArtifact(t *testing.T, seed string) (artifact, subject *layout) {
	t.Helper()
	subject = newLayout(t)
	about := subject.addPlatform(t, ociFormats, platforms[0], layer(t, seed, smallLayer))
	about.Platform = nil
	subject.root = about.Digest.Encoded()

	artifact = &layout{dir: subject.dir}
	note := artifact.put(t, "text/plain", []byte("about "+seed))
	empty := artifact.put(t, ocispec.MediaTypeEmptyJSON, []byte("{}"))
	root := artifact.put(t, ocispec.MediaTypeImageManifest, marshal(t, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example.note", Config: empty, Layers: []ocispec.Descriptor{note}, Subject: &about,
	}))
	artifact.addBlob(note.Digest)
	artifact.addBlob(empty.Digest)
	artifact.addManifest(root.Digest)
	return artifact.holding(t, root), subject
}
