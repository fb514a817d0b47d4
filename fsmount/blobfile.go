package fsmount

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/digest"
	"registryfs/fsmount/loop"
	"registryfs/storage"
)

const (
	// contentValid is how long the kernel may keep the attributes of content:
	// they never change.
	contentValid = 24 * time.Hour
	// entryValid is how long it may keep that a repository has content, since
	// membership can end; others may end it without telling.
	entryValid = time.Second
	// openNoFlush says that closing a file needs no FLUSH (Linux 5.16,
	// FOPEN_NOFLUSH); the library does not know it.
	openNoFlush fuse.OpenResponseFlags = 1 << 5
)

// contentTime is the time of all content, in every mount, so that rsync finds
// nothing to do where the same content is.
var contentTime = time.Unix(1, 0)

// blobFile is a blob or a manifest of a repository, whichever view it is
// reached through.
type blobFile struct {
	fs     *fileSystem
	repo   string
	digest digest.Digest
}

var (
	_ fusefs.Node              = blobFile{}
	_ fusefs.NodeOpener        = blobFile{}
	_ fusefs.NodeSetattrer     = blobFile{}
	_ fusefs.NodeFsyncer       = blobFile{}
	_ fusefs.NodeGetxattrer    = blobFile{}
	_ fusefs.NodeListxattrer   = blobFile{}
	_ fusefs.NodeSetxattrer    = blobFile{}
	_ fusefs.NodeRemovexattrer = blobFile{}
	_ loop.Quick               = blobFile{}
)

// IsQuick is true for opening small content: verifying it takes no longer than
// handing it over.
func (b blobFile) IsQuick(req fuse.Request) bool {
	open, ok := req.(*fuse.OpenRequest)
	size, known := b.fs.content.size(b.digest)
	return ok && open.Flags.IsReadOnly() && known && size <= storage.MaxResident
}

func (f *fileSystem) contentEntry() time.Duration {
	if f.options.Exclusive {
		return f.options.AttrTimeout
	}
	return min(entryValid, f.options.AttrTimeout)
}

// path is the first that the content has in the mount, by what is known of it.
func (b blobFile) path() string {
	v := viewBlobs
	if b.fs.content.isManifest(b.digest) {
		v = viewManifests
	}
	return place{repo: b.repo, view: v, alg: b.digest.Algorithm().String()}.join(b.digest.Encoded())
}

func (b blobFile) Attr(ctx context.Context, a *fuse.Attr) error {
	a.Valid = contentValid
	size, known := b.fs.content.size(b.digest)
	if !known {
		if _, err := b.fs.viewOf(ctx, b.repo, b.digest); !isThere(err) {
			return errnoOf(err)
		}
		if size, known = b.fs.content.size(b.digest); !known {
			a.Valid = 0 // too damaged to tell
		}
	}
	b.fs.fileAttr(a, b.fs.inodes.of(b.digest), size)
	a.Nlink = 2
	a.Atime, a.Mtime, a.Ctime = contentTime, contentTime, contentTime
	return nil
}

// errGone is the answer to an open of content that is gone: the kernel knows the
// name from before, and looks again.
const errGone = syscall.ESTALE

func (b blobFile) Open(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	if !req.Flags.IsReadOnly() {
		h, err := b.openForWriting(ctx, req, resp)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errGone
		}
		if err != nil {
			return nil, b.fs.fail(&req.Header, "open", b.path(), err)
		}
		return h, nil
	}
	b.fs.readlinks.take(req.Header.Pid, b.repo, b.digest) // it was followed to read
	h, err := b.fs.openReader(b.path(), func() (openContent, error) { return b.openForReading(ctx) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errGone
	}
	if err != nil {
		return nil, b.fs.fail(&req.Header, "open", b.path(), err)
	}
	resp.Flags |= fuse.OpenKeepCache | openNoFlush
	h.closed = func() { b.fs.pages.close(b) }
	return h, nil
}

// openForReading verifies and opens the content, which is put into the page
// cache meanwhile where that can be.
func (b blobFile) openForReading(ctx context.Context) (storage.Blob, error) {
	file := b.fs.pages.enter(b)
	var options []storage.OpenOption
	if push := file.begin(b); push != nil {
		options = append(options, storage.Observe(push))
	}
	blob, err := b.fs.openContent(ctx, b.repo, b.digest, options...)
	if err == nil {
		if err = file.opened(); err != nil {
			_ = blob.Close()
		}
	}
	if err != nil {
		file.failed()
		b.fs.pages.leave(b)
		return nil, err
	}
	if size := blob.Descriptor().Size; size != b.size() {
		b.resize(size)
	}
	return blob, nil
}

func (b blobFile) size() int64 {
	size, _ := b.fs.content.size(b.digest)
	return size
}

// resize corrects the size of content that was corrupt when it was looked at
// first, and is not any more.
func (b blobFile) resize(size int64) {
	b.fs.content.setSize(b.digest, size)
	if b.fs.loop != nil {
		_ = b.fs.loop.DropAttr(b)
	}
}

// openForWriting begins a re-push of the content, or, where the thread came
// here by a tag or an alias, a push to that. Nothing is verified before it is
// read. Direct I/O keeps what is written out of the page cache that readers
// share.
func (b blobFile) openForWriting(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	link, isLinked := b.fs.readlinks.take(req.Header.Pid, b.repo, b.digest)
	t, err := b.target(ctx)
	if isLinked {
		t, err = link.place.targetOf(link.name)
	}
	if err != nil {
		return nil, err
	}
	file := b.fs.pages.enter(b)
	if err := file.opened(); err != nil {
		b.fs.pages.leave(b)
		return nil, err
	}
	h, err := b.fs.openTarget(b, storedBefore(b.digest, b.size()), t, req)
	if err != nil {
		b.fs.pages.close(b)
		return nil, err
	}
	resp.Flags |= fuse.OpenDirectIO
	return h, nil
}

// readAt reads the content for who has it not open for reading.
func (b blobFile) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	blob, err := b.fs.openContent(ctx, b.repo, b.digest)
	if err != nil {
		return 0, err
	}
	defer blob.Close()
	return blob.ReadAt(p, off)
}

// target is what writing under the digest itself means.
func (b blobFile) target(ctx context.Context) (target, error) {
	v, err := b.fs.viewOf(ctx, b.repo, b.digest)
	if !isThere(err) {
		return target{}, err
	}
	p := b.fs.placeOf(b.repo, max(v, viewBlobs), b.digest.Algorithm().String())
	return p.targetOf(b.digest.Encoded())
}

func (b blobFile) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	return b.fs.setSize(ctx, b, b.path(), req)
}

func (b blobFile) Fsync(ctx context.Context, req *fuse.FsyncRequest) error {
	return b.fs.fail(&req.Header, "fsync", b.path(), b.fs.handles.sync(ctx, b))
}
