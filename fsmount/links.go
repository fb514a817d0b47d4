package fsmount

import (
	"context"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
)

// symlink is what all symlinks answer alike.
type symlink struct{}

var (
	_ fusefs.NodeSetattrer = symlink{}
	_ fusefs.NodeFsyncer   = symlink{}
)

func (symlink) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	return nil
}

func (symlink) Fsync(ctx context.Context, req *fuse.FsyncRequest) error { return nil }

func linkInode(p place, name string) uint64 { return derivedInode(classLink, p.join(name)) }

// contentText is the text of a symlink to content, from its own view; from
// another, prefix leads there.
func contentText(prefix string, d digest.Digest) string {
	return prefix + d.Algorithm().String() + "/" + d.Encoded()
}

const (
	manifestPrefix = "../_manifests/"
	contentSize    = len("sha256/") + 64
)

// digestLink is content under <alg>:<hex>, as digests are pasted.
type digestLink struct {
	symlink
	fs     *fileSystem
	place  place
	digest digest.Digest
}

var _ fusefs.NodeReadlinker = digestLink{}

func (l digestLink) Attr(ctx context.Context, a *fuse.Attr) error {
	text := contentText("", l.digest)
	l.fs.linkAttr(a, linkInode(l.place, l.digest.String()), len(text))
	a.Valid = contentValid
	return nil
}

func (l digestLink) Readlink(ctx context.Context, req *fuse.ReadlinkRequest) (string, error) {
	return contentText("", l.digest), nil
}
