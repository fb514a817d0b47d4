package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"github.com/google/uuid"

	"registryfs/digest"
	"registryfs/driver"
)

// createUpload begins an upload. Nobody has been promised that it lasts: that
// is for Sync and Close.
func createUpload(ctx context.Context, repo *repository, set links) (*upload, error) {
	if err := repo.prepare(ctx); err != nil {
		return nil, err
	}
	digester, err := digest.NewDigester(digest.SHA256)
	if err != nil {
		return nil, err
	}
	u := &upload{repo: repo, links: set, id: uuid.NewString(), started: repo.registry.clock.Now().UTC().Truncate(time.Second), pos: atEnd}
	if err := u.make(ctx); err != nil {
		// What there was no room for takes none.
		_ = repo.discardUpload(context.WithoutCancel(ctx), driver.Unsynced(repo.registry.driver), u.id)
		return nil, err
	}
	u.hash.init(u.writer, digester)
	return u, nil
}

// make makes the files of an upload.
func (u *upload) make(ctx context.Context) (err error) {
	d := u.repo.registry.driver
	startedAt := []byte(u.started.Format(time.RFC3339))
	if err := driver.Unsynced(d).PutContent(ctx, uploadStartedPath(u.repo.name, u.id), startedAt); err != nil {
		return err
	}
	u.writer, err = d.Writer(ctx, uploadDataPath(u.repo.name, u.id), false)
	return err
}

func resumeUpload(ctx context.Context, repo *repository, set links, id string) (*upload, error) {
	if err := repo.registry.writable(); err != nil {
		return nil, err
	}
	info, err := statUpload(ctx, repo, id)
	if err != nil {
		return nil, err
	}
	w, err := repo.registry.driver.Writer(ctx, uploadDataPath(repo.name, id), true)
	if errors.Is(err, driver.ErrBusy) {
		return nil, ErrUploadBusy
	}
	if err != nil {
		return nil, err
	}
	if _, isCommitted := repo.registry.commits.Load(id); isCommitted {
		// Its data is a blob by now: this is another file.
		return nil, errors.Join(ErrUploadBusy, w.Cancel(ctx))
	}
	u := &upload{repo: repo, links: set, id: id, started: info.StartedAt, writer: w, resumed: true, size: w.Size(), pos: atEnd}
	digester, err := repo.loadState(ctx, id, u.size)
	u.hash.init(w, digester)
	if err == nil {
		err = repo.dropStates(ctx, id)
	}
	if random, ok := w.(driver.RandomWriter); ok && err == nil {
		err, u.durable = random.Sync(), u.size
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return u, nil
}

// listUploads describes the uploads of a repository, in the order of their
// ids.
func listUploads(ctx context.Context, repo *repository) ([]UploadInfo, error) {
	dirs, err := repo.registry.driver.List(ctx, uploadsPath(repo.name))
	if errors.Is(err, driver.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(dirs)
	infos := make([]UploadInfo, 0, len(dirs))
	for _, dir := range dirs {
		info, err := statUpload(ctx, repo, path.Base(dir))
		if errors.Is(err, ErrUploadUnknown) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// statUpload describes an upload. It exists where its data or its startedat
// does: a stock registry begins with the one and makes the other when the first
// byte comes, and a torn or missing startedat is no reason to lose bytes.
func statUpload(ctx context.Context, repo *repository, id string) (UploadInfo, error) {
	if _, err := uuid.Parse(id); err != nil {
		return UploadInfo{}, fmt.Errorf("%w: %q", ErrUploadUnknown, id)
	}
	info := UploadInfo{ID: id}
	d := repo.registry.driver
	data, err := d.Stat(ctx, uploadDataPath(repo.name, id))
	if errors.Is(err, driver.ErrNotExist) {
		data, err = d.Stat(ctx, uploadStartedPath(repo.name, id))
		data.Size = 0
	}
	switch {
	case errors.Is(err, driver.ErrNotExist), errors.Is(err, driver.ErrInvalidPath):
		return UploadInfo{}, fmt.Errorf("%w: %s", ErrUploadUnknown, id)
	case err != nil:
		return UploadInfo{}, err
	}
	info.Size, info.ModTime = data.Size, data.ModTime
	info.StartedAt = repo.startedAt(ctx, id)
	return info, nil
}

// startedAt is when an upload was begun, or zero where that is not known.
func (r *repository) startedAt(ctx context.Context, id string) time.Time {
	content, _, err := driver.GetFile(ctx, r.registry.driver, uploadStartedPath(r.name, id), MaxLink)
	if err != nil {
		return time.Time{}
	}
	when, err := time.Parse(time.RFC3339, string(content))
	if err != nil {
		return time.Time{}
	}
	return when
}

// syncUpload makes the names of an upload durable.
func (r *repository) syncUpload(ctx context.Context, id string) error {
	err := driver.Sync(ctx, r.registry.driver, uploadStartedPath(r.name, id))
	if errors.Is(err, driver.ErrNotExist) || errors.Is(err, driver.ErrInvalidPath) {
		err = driver.Sync(ctx, r.registry.driver, uploadDataPath(r.name, id))
	}
	return err
}

// discardUpload removes all that is left of an upload, by the registry's driver
// or by one that leaves it to later to make that durable.
func (r *repository) discardUpload(ctx context.Context, d driver.Driver, id string) error {
	for _, p := range []string{uploadPath(r.name, id), closePath(id)} {
		if err := d.Delete(ctx, p); err != nil && !errors.Is(err, driver.ErrNotExist) {
			return err
		}
	}
	return nil
}

func openUpload(ctx context.Context, repo *repository, id string) (UploadContent, error) {
	if _, err := uuid.Parse(id); err != nil {
		return nil, fmt.Errorf("%w: %q", ErrUploadUnknown, id)
	}
	f, err := driver.OpenAt(ctx, repo.registry.driver, uploadDataPath(repo.name, id))
	if errors.Is(err, driver.ErrNotExist) || errors.Is(err, driver.ErrInvalidPath) {
		if _, err := statUpload(ctx, repo, id); err != nil {
			return nil, err
		}
		return noContent{}, nil
	}
	return f, err
}

// noContent is what an upload has that has no file of data: none was made yet,
// or it is a blob already, and who made it that was killed.
type noContent struct{}

func (noContent) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

func (noContent) Close() error { return nil }
