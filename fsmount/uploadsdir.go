package fsmount

import (
	"context"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// uploadsDir is _uploads of a repository: what is being written, also by other
// processes, and what was interrupted.
type uploadsDir struct {
	refusals
	place place
}

var (
	_ fusefs.NodeRequestLookuper = uploadsDir{}
	_ fusefs.HandleReadDirAller  = uploadsDir{}
)

func (f *fileSystem) uploadsDirectory(p place) uploadsDir {
	return uploadsDir{refusals{f, p.path()}, p}
}

func (d uploadsDir) Attr(ctx context.Context, a *fuse.Attr) error {
	d.fs.dirAttr(a, viewInode(d.place))
	return nil
}

func (d uploadsDir) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	resp.EntryValid = 0
	file := uploadFile{d.fs, d.place, req.Name}
	if _, err := file.stat(ctx); err != nil {
		return nil, d.fs.failLookup(&req.Header, file.path(), err)
	}
	return file, nil
}

func (d uploadsDir) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	entries := listing(viewInode(d.place), repoInode(d.place.repo))
	repo, err := d.fs.registry.Repository(d.place.repo)
	if err != nil {
		return nil, d.fs.fail(&fuse.Header{}, "list", d.path, err)
	}
	uploads, err := repo.Blobs().Uploads(ctx)
	if err != nil {
		return nil, d.fs.fail(&fuse.Header{}, "list", d.path, err)
	}
	for _, u := range uploads {
		file := uploadFile{d.fs, d.place, u.ID}
		entries = append(entries, fuse.Dirent{Inode: file.inode(), Type: fuse.DT_File, Name: u.ID})
	}
	return entries, nil
}

func (d uploadsDir) Remove(ctx context.Context, req *fuse.RemoveRequest) error {
	return d.fs.fail(&req.Header, "remove", d.place.join(req.Name), d.cancel(ctx, req.Name))
}

func (d uploadsDir) cancel(ctx context.Context, id string) error {
	repo, err := d.fs.registry.Repository(d.place.repo)
	if err != nil {
		return err
	}
	u, err := uploadFile{d.fs, d.place, id}.take(ctx, repo.Blobs())
	if err != nil {
		return err
	}
	return u.Cancel(ctx)
}

func (d uploadsDir) Rename(ctx context.Context, req *fuse.RenameRequest, newDir fusefs.Node) error {
	to, ok := placeOf(newDir)
	err := refuse(errPerm, "an upload is finished by renaming it to what it is")
	if ok && to.view != viewUploads {
		err = d.fs.renameUpload(ctx, d.place, req.OldName, to, req.NewName)
	}
	return d.fs.fail(&req.Header, "rename", d.place.join(req.OldName), err)
}
