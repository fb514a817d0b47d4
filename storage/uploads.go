package storage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/google/uuid"

	"registryfs/digest"
	"registryfs/driver"
)

func createUpload(ctx context.Context, repo *repository, set links) (*upload, error) {
	if err := repo.prepare(ctx); err != nil {
		return nil, err
	}
	u := &upload{repo: repo, links: set, id: uuid.NewString(), started: time.Now().UTC().Truncate(time.Second)}
	d := repo.registry.driver
	startedAt := []byte(u.started.Format(time.RFC3339))
	if err := d.PutContent(ctx, uploadStartedPath(repo.name, u.id), startedAt); err != nil {
		return nil, err
	}
	w, err := d.Writer(ctx, uploadDataPath(repo.name, u.id), false)
	if err != nil {
		return nil, err
	}
	u.writer, u.hash = w, digest.SHA256.Hash()
	return u, nil
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
	return &upload{
		repo: repo, links: set, id: id, started: info.StartedAt,
		writer: w, size: w.Size(), hashed: -1,
	}, nil
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

// statUpload describes an upload. It exists where its data does: a torn or
// missing startedat is no reason to lose bytes.
func statUpload(ctx context.Context, repo *repository, id string) (UploadInfo, error) {
	if _, err := uuid.Parse(id); err != nil {
		return UploadInfo{}, fmt.Errorf("%w: %q", ErrUploadUnknown, id)
	}
	d := repo.registry.driver
	data, err := d.Stat(ctx, uploadDataPath(repo.name, id))
	if errors.Is(err, driver.ErrNotExist) || errors.Is(err, driver.ErrInvalidPath) {
		return UploadInfo{}, fmt.Errorf("%w: %s", ErrUploadUnknown, id)
	}
	if err != nil {
		return UploadInfo{}, err
	}
	info := UploadInfo{ID: id, Size: data.Size, ModTime: data.ModTime}
	if content, err := readLimited(ctx, d, uploadStartedPath(repo.name, id), MaxLink); err == nil {
		info.StartedAt, _ = time.Parse(time.RFC3339, string(content))
	}
	return info, nil
}

func openUpload(ctx context.Context, repo *repository, id string) (UploadContent, error) {
	if _, err := uuid.Parse(id); err != nil {
		return nil, fmt.Errorf("%w: %q", ErrUploadUnknown, id)
	}
	f, err := driver.OpenAt(ctx, repo.registry.driver, uploadDataPath(repo.name, id))
	if errors.Is(err, driver.ErrNotExist) || errors.Is(err, driver.ErrInvalidPath) {
		return nil, fmt.Errorf("%w: %s", ErrUploadUnknown, id)
	}
	return f, err
}
