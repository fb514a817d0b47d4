package fsmount

import (
	"context"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
)

// imageLink is a symlink below _images, to a manifest or a blob.
type imageLink struct {
	symlink
	fs     *fileSystem
	place  place
	dir    string // its directory in the mount
	name   string
	text   string
	digest digest.Digest
}

var _ fusefs.NodeReadlinker = imageLink{}

// link is a link to content; up leads to the repository.
func (d imagesBelow) link(name, up string, v view, dgst digest.Digest) imageLink {
	text := contentText(up+v.String()+"/", dgst)
	return imageLink{fs: d.fs, place: d.place, dir: d.path, name: name, text: text, digest: dgst}
}

func (l imageLink) inode() uint64 { return imageInode(join(l.dir, l.name)) }

func (l imageLink) dirent() fuse.Dirent {
	return fuse.Dirent{Inode: l.inode(), Type: fuse.DT_Link, Name: l.name}
}

func (l imageLink) Attr(ctx context.Context, a *fuse.Attr) error {
	l.fs.linkAttr(a, l.inode(), len(l.text))
	a.Valid = contentValid
	return nil
}

// Readlink remembers who follows the link: to open it for writing is refused
// then, where it would otherwise be a re-push of the content.
func (l imageLink) Readlink(ctx context.Context, req *fuse.ReadlinkRequest) (string, error) {
	l.fs.readlinks.follows(req.Header.Pid, followed{place: l.place, name: l.name, digest: l.digest})
	return l.text, nil
}
