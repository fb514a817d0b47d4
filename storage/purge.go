package storage

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"syscall"
	"time"

	"registryfs/driver"
)

// PurgeOptions say which uploads are purged.
type PurgeOptions struct {
	OlderThan time.Duration // by when they were started
	DryRun    bool          // only say which
}

// PurgedUpload is an upload that was purged, or would be.
type PurgedUpload struct {
	Repository string
	ID         string
	Size       int64
	Since      time.Time // when it was started, or last written to
}

// Purger is implemented by registries whose uploads can be purged.
type Purger interface {
	// PurgeUploads removes the uploads that were started long ago, but none
	// that somebody is writing to. Where the start is not known, the newest
	// time of its files counts. What fails is left, and joined in the error.
	PurgeUploads(ctx context.Context, o PurgeOptions) ([]PurgedUpload, error)
}

var _ Purger = (*registry)(nil)

func (r *registry) PurgeUploads(ctx context.Context, o PurgeOptions) ([]PurgedUpload, error) {
	if !o.DryRun {
		if err := r.writable(); err != nil {
			return nil, err
		}
	}
	before := r.clock.Now().Add(-o.OlderThan)
	var purged []PurgedUpload
	var failed []error
	err := Walk(ctx, r, func(name string) error {
		dirs, err := r.driver.List(ctx, uploadsPath(name))
		if err != nil {
			if !errors.Is(err, driver.ErrNotExist) {
				failed = append(failed, err)
			}
			return nil
		}
		for _, dir := range dirs {
			if !driver.ValidPath(dir) {
				continue // no upload has such an id
			}
			u, err := r.repository(name).old(ctx, path.Base(dir))
			if errors.Is(err, driver.ErrNotExist) {
				continue // it was committed or cancelled meanwhile
			}
			if err != nil {
				failed = append(failed, err)
			}
			if err != nil || !u.Since.Before(before) {
				continue
			}
			isPurged, err := r.repository(name).purge(ctx, u.ID, o.DryRun)
			if err != nil {
				failed = append(failed, err)
			} else if isPurged {
				purged = append(purged, u)
			}
		}
		return ctx.Err()
	})
	return purged, errors.Join(append(failed, err)...)
}

// old describes what is left of an upload, whole or not.
func (r *repository) old(ctx context.Context, id string) (PurgedUpload, error) {
	u := PurgedUpload{Repository: r.name, ID: id}
	var newest time.Time
	err := driver.Walk(ctx, r.registry.driver, uploadPath(r.name, id), func(info driver.FileInfo) error {
		if info.Path == uploadDataPath(r.name, id) {
			u.Size = info.Size
		}
		if info.ModTime.After(newest) {
			newest = info.ModTime
		}
		return nil
	})
	if err != nil {
		return u, err
	}
	if newest.IsZero() {
		info, err := r.registry.driver.Stat(ctx, uploadPath(r.name, id))
		if err != nil {
			return u, err
		}
		newest = info.ModTime
	}
	if u.Since = r.startedAt(ctx, id); u.Since.IsZero() {
		u.Since = newest
	}
	return u, nil
}

// isRefused says that a file could be written by others, but not from here.
func isRefused(err error) bool {
	return errors.Is(err, driver.ErrReadOnly) || errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

// purge removes an upload, unless somebody writes to it.
func (r *repository) purge(ctx context.Context, id string, dryRun bool) (bool, error) {
	d := r.registry.driver
	switch _, err := d.Stat(ctx, uploadDataPath(r.name, id)); {
	case errors.Is(err, driver.ErrNotExist), errors.Is(err, driver.ErrInvalidPath):
	case err != nil:
		return false, err
	default:
		// Whoever writes holds the file.
		w, err := d.Writer(ctx, uploadDataPath(r.name, id), true)
		if errors.Is(err, driver.ErrBusy) {
			return false, nil
		}
		if err != nil && !(dryRun && isRefused(err)) {
			return false, err
		}
		if err == nil {
			defer w.Close()
		}
	}
	if dryRun {
		return true, nil
	}
	return true, r.discardUpload(ctx, r.registry.driver, id)
}
