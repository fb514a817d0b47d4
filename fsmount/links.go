package fsmount

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

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

// tagLink is a tag.
type tagLink struct {
	symlink
	fs    *fileSystem
	place place
	name  string
}

var _ fusefs.NodeReadlinker = tagLink{}

func (f *fileSystem) tagLink(p place, name string) tagLink {
	return tagLink{fs: f, place: p, name: name}
}

func (l tagLink) Attr(ctx context.Context, a *fuse.Attr) error {
	l.fs.linkAttr(a, linkInode(l.place, l.name), len(manifestPrefix)+contentSize)
	a.Valid = l.fs.options.AttrTimeout
	if tag, err := l.fs.tag(ctx, l.place.repo, l.name); err == nil {
		a.Atime, a.Mtime, a.Ctime = tag.ModTime, tag.ModTime, tag.ModTime
	}
	return nil
}

func (l tagLink) Readlink(ctx context.Context, req *fuse.ReadlinkRequest) (string, error) {
	tag, err := l.fs.tag(ctx, l.place.repo, l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", syscall.ENOENT
	}
	if err != nil {
		return "", l.fs.fail(&req.Header, "readlink", l.place.join(l.name), err)
	}
	l.fs.readlinks.note(req.Header.Pid, followed{place: l.place, name: l.name, digest: tag.Digest})
	return contentText(manifestPrefix, tag.Digest), nil
}

// aliasLink is another name of content, for the life of the mount.
type aliasLink struct {
	symlink
	fs    *fileSystem
	place place
	name  string
}

var _ fusefs.NodeReadlinker = aliasLink{}

func (l aliasLink) Attr(ctx context.Context, a *fuse.Attr) error {
	l.fs.linkAttr(a, linkInode(l.place, l.name), contentSize)
	a.Valid = 0
	return nil
}

func (l aliasLink) Readlink(ctx context.Context, req *fuse.ReadlinkRequest) (string, error) {
	target, ok := l.fs.names.get(l.place, l.name)
	if !ok || target.alias == "" {
		return "", syscall.ENOENT
	}
	l.fs.readlinks.note(req.Header.Pid, followed{place: l.place, name: l.name, digest: target.alias})
	return contentText("", target.alias), nil
}

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

// tempLink is a symlink under a temporary name, which waits for its rename.
type tempLink struct {
	symlink
	fs    *fileSystem
	place place
	name  string
	text  string
}

var _ fusefs.NodeReadlinker = tempLink{}

func (l tempLink) Attr(ctx context.Context, a *fuse.Attr) error {
	l.fs.linkAttr(a, linkInode(l.place, l.name), len(l.text))
	a.Valid = 0
	return nil
}

func (l tempLink) Readlink(ctx context.Context, req *fuse.ReadlinkRequest) (string, error) {
	return l.text, nil
}
