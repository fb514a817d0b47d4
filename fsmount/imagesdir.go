package fsmount

import (
	"context"
	"errors"
	"io/fs"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
	"registryfs/storage"
)

// imagesAreRead is why nothing can be written in _images.
const imagesAreRead = "_images is for reading: push to _tags"

// imagesDir is _images of a repository: its images by tag and platform, under
// names that need no digest.
//
//	_images/<tag>/<os-arch[-variant]>/
//	├── manifest.json               -> ../../../_manifests/<alg>/<hex>
//	├── config.json                 -> ../../../_blobs/<alg>/<hex>
//	└── layers/00.tar.gz, 01.tar …  -> ../../../../_blobs/<alg>/<hex>
//
// Whoever is in the directory of a tag stays with the image that it named
// then, so that what is read there belongs together.
type imagesDir struct {
	refusals
	place place
}

var (
	_ fusefs.NodeRequestLookuper = imagesDir{}
	_ fusefs.HandleReadDirAller  = imagesDir{}
)

func (f *fileSystem) imagesDirectory(p place) imagesDir {
	return imagesDir{refusals{f, p.path()}, p}
}

func (d imagesDir) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, viewInode(d.place))
	return nil
}

func (d imagesDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0 // the tag can be moved, and nothing tells the kernel
	if storage.CheckTag(req.Name) != nil {
		return nil, d.fs.failLookup(&req.Header, join(d.path, req.Name), storage.ErrTagUnknown)
	}
	tag, err := d.fs.tag(ctx, d.place.repo, req.Name)
	if err != nil && !errors.Is(err, storage.ErrCorrupt) {
		return nil, d.fs.failLookup(&req.Header, join(d.path, req.Name), err)
	}
	return d.image(req.Name, tag.Digest), nil
}

func (d imagesDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := listing(viewInode(d.place), repoInode(d.place.repo))
	repo, err := d.fs.registry.Repository(d.place.repo)
	if err != nil {
		return nil, d.fs.fail(&fuse.Header{}, "list", d.path, err)
	}
	tags, err := repo.Tags().All(ctx)
	if err != nil {
		return nil, d.fs.fail(&fuse.Header{}, "list", d.path, err)
	}
	for _, tag := range tags {
		entries = append(entries, fuse.Dirent{Inode: d.image(tag, "").inode(), Type: fuse.DT_Dir, Name: tag})
	}
	return entries, nil
}

// image is the directory of a tag that names that manifest, or, with "", one
// that cannot be read.
func (d imagesDir) image(tag string, manifest digest.Digest) tagImagesDir {
	return tagImagesDir{imagesBelow{refusals{d.fs, join(d.path, tag)}, d.place}, manifest}
}

// imagesBelow is what the directories below _images answer alike.
type imagesBelow struct {
	refusals
	place place
}

// inode is derived from the path. Nothing there has a second name.
func (d imagesBelow) inode() uint64 { return imageInode(d.path) }

func imageInode(path string) uint64 { return derivedInode(classImage, path) }

func (d imagesBelow) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, d.inode())
	return nil
}

// tagImagesDir is _images/<tag>: the platforms of the image.
type tagImagesDir struct {
	imagesBelow
	manifest digest.Digest // that the tag named when it was looked up
}

var (
	_ fusefs.NodeRequestLookuper = tagImagesDir{}
	_ fusefs.HandleReadDirAller  = tagImagesDir{}
)

func (d tagImagesDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0 // images come and go, and others then have their numbers
	images, err := d.images(ctx)
	if err != nil {
		return nil, d.fs.failLookup(&req.Header, join(d.path, req.Name), err)
	}
	for _, image := range images {
		if image.name == req.Name {
			return d.platform(image), nil
		}
	}
	return nil, d.fs.failLookup(&req.Header, join(d.path, req.Name), fs.ErrNotExist)
}

func (d tagImagesDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := listing(d.inode(), viewInode(d.place))
	images, err := d.images(ctx)
	if err != nil {
		return nil, d.fs.fail(&fuse.Header{}, "list", d.path, err)
	}
	for _, image := range images {
		entries = append(entries, fuse.Dirent{Inode: d.platform(image).inode(), Type: fuse.DT_Dir, Name: image.name})
	}
	return entries, nil
}

func (d tagImagesDir) images(ctx context.Context) ([]platformImage, error) {
	if d.manifest == "" {
		return nil, nil
	}
	repo, err := d.fs.registry.Repository(d.place.repo)
	if err != nil {
		return nil, err
	}
	return platformImages(ctx, repo, d.manifest)
}

func (d tagImagesDir) platform(image platformImage) platformDir {
	return platformDir{imagesBelow{refusals{d.fs, join(d.path, image.name)}, d.place}, image.manifest}
}
