package fsmount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
	"registryfs/manifest"
)

const (
	imageManifest = "manifest.json"
	imageConfig   = "config.json"
	imageLayers   = "layers"
)

// platformDir is _images/<tag>/<os-arch>: one image. It shows what its manifest
// names, whether or not the repository has that: a layer that is elsewhere is
// a link that leads nowhere, and not a layer less. What cannot be read as a
// manifest has manifest.json alone.
type platformDir struct {
	imagesBelow
	manifest digest.Digest
}

var (
	_ fusefs.NodeRequestLookuper = platformDir{}
	_ fusefs.HandleReadDirAller  = platformDir{}
)

func (d platformDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = d.fs.options.AttrTimeout
	if req.Name == imageManifest {
		return d.manifestLink(), nil
	}
	parts := d.parts(ctx)
	switch {
	case req.Name == imageConfig && parts.config != "":
		return d.configLink(parts), nil
	case req.Name == imageLayers && parts.hasLayers:
		return d.layers(), nil
	}
	return nil, d.fs.failLookup(&req.Header, join(d.path, req.Name), fs.ErrNotExist)
}

func (d platformDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := append(listing(d.inode(), imageInode(join(d.path, ".."))), d.manifestLink().dirent())
	parts := d.parts(ctx)
	if parts.config != "" {
		entries = append(entries, d.configLink(parts).dirent())
	}
	if parts.hasLayers {
		entries = append(entries, fuse.Dirent{Inode: d.layers().inode(), Type: fuse.DT_Dir, Name: imageLayers})
	}
	return entries, nil
}

func (d platformDir) manifestLink() imageLink {
	return d.link(imageManifest, "../../../", viewManifests, d.manifest)
}

func (d platformDir) configLink(parts imageParts) imageLink {
	return d.link(imageConfig, "../../../", viewBlobs, parts.config)
}

func (d platformDir) layers() layersDir {
	return layersDir{imagesBelow{refusals{d.fs, join(d.path, imageLayers)}, d.place}, d}
}

// parts reads the manifest. Why it cannot be read is for who reads
// manifest.json; that the rest is not there is told here.
func (d platformDir) parts(ctx context.Context) imageParts {
	repo, err := d.fs.registry.Repository(d.place.repo)
	if err != nil {
		return imageParts{}
	}
	m, err := repo.Manifests().Get(ctx, d.manifest)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.fs.note(0, "list", d.path, err)
		}
		return imageParts{}
	}
	return partsOf(m)
}

// imageParts is what an image consists of.
type imageParts struct {
	config    digest.Digest // "" where there is none
	layers    []manifest.Descriptor
	hasLayers bool // it is an image, whether or not of any layers
}

// partsOf is what the manifest of an image names, the lowest layer first.
func partsOf(m manifest.Manifest) imageParts {
	switch m := m.(type) {
	case *manifest.Image:
		parts := imageParts{layers: m.Layers, hasLayers: true}
		if m.Config != nil {
			parts.config = m.Config.Digest
		}
		return parts
	case *manifest.Schema1:
		parts := imageParts{hasLayers: true}
		for i := len(m.Layers) - 1; i >= 0; i-- {
			parts.layers = append(parts.layers, manifest.Descriptor{MediaType: manifest.MediaTypeDockerLayer, Digest: m.Layers[i]})
		}
		return parts
	default:
		return imageParts{}
	}
}

// layersDir is _images/<tag>/<os-arch>/layers: the layers, numbered from the
// lowest, so that the order of the names is the order in which they are
// applied.
type layersDir struct {
	imagesBelow
	image platformDir
}

var (
	_ fusefs.NodeRequestLookuper = layersDir{}
	_ fusefs.HandleReadDirAller  = layersDir{}
)

func (d layersDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = d.fs.options.AttrTimeout
	for _, link := range d.links(ctx) {
		if link.name == req.Name {
			return link, nil
		}
	}
	return nil, d.fs.failLookup(&req.Header, join(d.path, req.Name), fs.ErrNotExist)
}

func (d layersDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := listing(d.inode(), d.image.inode())
	for _, link := range d.links(ctx) {
		entries = append(entries, link.dirent())
	}
	return entries, nil
}

func (d layersDir) links(ctx context.Context) []imageLink {
	layers := d.image.parts(ctx).layers
	digits := max(2, len(fmt.Sprint(len(layers)-1)))
	links := make([]imageLink, len(layers))
	for i, layer := range layers {
		name := fmt.Sprintf("%0*d.%s", digits, i, suffixOf(layer.MediaType))
		links[i] = d.link(name, "../../../../", viewBlobs, layer.Digest)
	}
	return links
}
