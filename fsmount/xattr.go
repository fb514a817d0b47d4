package fsmount

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"bazil.org/fuse"

	"registryfs/manifest"
)

// The extended attributes of content. Tags cost a look at every tag, so they
// are not listed and answer only by name. All other names are ENOTSUP, the
// kernel's and SELinux's too: then coreutils stop asking.
const (
	xattrDigest    = "user.registryfs.digest"
	xattrMediaType = "user.registryfs.mediatype"
	xattrSize      = "user.registryfs.size"
	xattrTags      = "user.registryfs.tags"
)

func isOurXattr(name string) bool {
	switch name {
	case xattrDigest, xattrMediaType, xattrSize, xattrTags:
		return true
	}
	return false
}

func (b blobFile) Getxattr(ctx context.Context, req *fuse.GetxattrRequest, resp *fuse.GetxattrResponse) error {
	if !isOurXattr(req.Name) {
		return syscall.ENOTSUP
	}
	value, err := b.xattr(ctx, req.Name)
	resp.Xattr = []byte(value)
	return b.fs.fail(&req.Header, "getxattr", b.path(), err)
}

func (b blobFile) xattr(ctx context.Context, name string) (string, error) {
	switch name {
	case xattrDigest:
		return b.digest.String(), nil
	case xattrMediaType:
		return b.mediaType(ctx)
	case xattrTags:
		repo, err := b.fs.registry.Repository(b.repo)
		if err != nil {
			return "", err
		}
		names, err := repo.Tags().Lookup(ctx, b.digest)
		return strings.Join(names, " "), err
	default:
		var a fuse.Attr
		err := b.Attr(ctx, &a)
		return strconv.FormatUint(a.Size, 10), err
	}
}

// mediaType is what the content says of itself where it is a manifest; of
// blobs the registry knows nothing.
func (b blobFile) mediaType(ctx context.Context) (string, error) {
	v, err := b.fs.viewOf(ctx, b.repo, b.digest)
	if err != nil {
		return "", err
	}
	if v == viewBlobs {
		return manifest.MediaTypeOctetStream, nil
	}
	repo, err := b.fs.registry.Repository(b.repo)
	if err != nil {
		return "", err
	}
	known, err := b.fs.facts(ctx, repo, b.digest)
	if errors.Is(err, manifest.ErrTooLarge) {
		return manifest.MediaTypeOctetStream, nil
	}
	if err != nil {
		return "", err
	}
	return known.mediaType, nil
}

func (b blobFile) Listxattr(ctx context.Context, req *fuse.ListxattrRequest, resp *fuse.ListxattrResponse) error {
	resp.Append(xattrDigest, xattrMediaType, xattrSize)
	return nil
}

// Setxattr lets tools that copy attributes succeed.
func (b blobFile) Setxattr(ctx context.Context, req *fuse.SetxattrRequest) error {
	return acceptXattr(req.Name)
}

func (b blobFile) Removexattr(ctx context.Context, req *fuse.RemovexattrRequest) error {
	return acceptXattr(req.Name)
}

func (n *stagedFile) Setxattr(ctx context.Context, req *fuse.SetxattrRequest) error {
	return acceptXattr(req.Name)
}

func acceptXattr(name string) error {
	if isOurXattr(name) {
		return nil
	}
	return syscall.ENOTSUP
}
