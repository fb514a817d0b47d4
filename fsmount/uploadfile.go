package fsmount

import (
	"context"
	"errors"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/storage"
)

// uploadFile is an upload in progress: a file that grows, can be appended to,
// renamed to what it is, and removed.
type uploadFile struct {
	fs    *fileSystem
	place place
	id    string
}

var (
	_ fusefs.NodeOpener    = uploadFile{}
	_ fusefs.NodeSetattrer = uploadFile{}
	_ fusefs.NodeFsyncer   = uploadFile{}
)

func (u uploadFile) inode() uint64 { return derivedInode(classUpload, u.path()) }

func (u uploadFile) path() string { return u.place.join(u.id) }

func (u uploadFile) blobs() (storage.BlobStore, error) {
	repo, err := u.fs.registry.Repository(u.place.repo)
	if err != nil {
		return nil, err
	}
	return repo.Blobs(), nil
}

func (u uploadFile) stat(ctx context.Context) (storage.UploadInfo, error) {
	blobs, err := u.blobs()
	if err != nil {
		return storage.UploadInfo{}, err
	}
	return blobs.Upload(ctx, u.id)
}

func (u uploadFile) Attr(ctx context.Context, a *fuse.Attr) error {
	info, err := u.stat(ctx)
	if err != nil {
		return errnoOf(err)
	}
	u.fs.fileAttr(a, u.inode(), info.Size)
	a.Atime, a.Mtime, a.Ctime = info.ModTime, info.ModTime, info.ModTime
	a.Valid = 0
	return nil
}

func (u uploadFile) Open(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	blobs, err := u.blobs()
	if err != nil {
		return nil, u.fs.fail(&req.Header, "open", u.path(), err)
	}
	resp.Flags |= fuse.OpenDirectIO // it grows without the kernel's doing
	if req.Flags.IsReadOnly() {
		h, err := u.fs.openReader(u.path(), func() (openContent, error) { return blobs.OpenUpload(ctx, u.id) })
		if err != nil {
			return nil, u.fs.fail(&req.Header, "open", u.path(), err)
		}
		return h, nil
	}
	h, err := u.resume(ctx, blobs, req.Header.Pid)
	if err != nil {
		return nil, u.fs.fail(&req.Header, "open", u.path(), err)
	}
	return h, nil
}

// resume begins a handle that goes on with the upload. Closing keeps it.
func (u uploadFile) resume(ctx context.Context, blobs storage.BlobStore, tid uint32) (*writeHandle, error) {
	if u.fs.isClosing() {
		return nil, refuse(errClosing, "the mount is being closed")
	}
	bytes, err := u.fs.newStaging(u.place.repo)
	if err != nil {
		return nil, err
	}
	if err := u.fs.files.take(writerFiles); err != nil {
		return nil, err
	}
	upload, err := u.take(ctx, blobs)
	if err != nil {
		u.fs.files.give(writerFiles)
		return nil, err
	}
	bytes.upload = upload
	bytes.size.Store(upload.Size())
	t := target{place: u.place, name: u.id, means: anUpload}
	return u.fs.newWriteHandle(u, t, bytes, tid), nil
}

// take makes the upload the caller's own. Neither who has just closed it holds
// it up, nor a temporary that nobody has open.
func (u uploadFile) take(ctx context.Context, blobs storage.BlobStore) (storage.Upload, error) {
	upload, err := blobs.Resume(ctx, u.id)
	if errors.Is(err, storage.ErrUploadBusy) && u.fs.handles.released(ctx, u) {
		if err := u.fs.giveUp(ctx, u.id); err != nil {
			return nil, err
		}
		return blobs.Resume(ctx, u.id)
	}
	return upload, err
}

// giveUp takes its name from a temporary that nobody has open, such as that of
// a program that was killed, and leaves its bytes as the upload that they are.
func (f *fileSystem) giveUp(ctx context.Context, id string) error {
	for _, file := range f.names.files() {
		t := file.goal()
		if t.means != aScratch || file.content().uploadID() != id {
			continue
		}
		if !f.handles.released(ctx, file) || file.handles() > 0 {
			return nil
		}
		f.names.remove(t.place, t.name, local{file: file})
		_, err := file.content().keep()
		return err
	}
	return nil
}

func (u uploadFile) Setattr(ctx context.Context, req *fuse.SetattrRequest, resp *fuse.SetattrResponse) error {
	return u.fs.setSize(ctx, u, u.path(), req)
}

func (u uploadFile) Fsync(ctx context.Context, req *fuse.FsyncRequest) error {
	return u.fs.fail(&req.Header, "fsync", u.path(), u.fs.handles.sync(ctx, u))
}
