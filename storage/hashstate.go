package storage

import (
	"context"
	"encoding/json"
	"errors"

	"registryfs/digest"
	"registryfs/driver"
)

// closed is what an upload was like when we closed it. The state of its hash
// lies in the upload, where stock registries look for it, and anybody may write
// there: it is trusted only as long as this record of our own, elsewhere in the
// store, says that neither the state nor the data have changed since.
type closed struct {
	Version string        `json:"version"` // of the data
	Offset  int64         `json:"offset"`  // bytes that the state stands for
	State   digest.Digest `json:"state"`
}

// maxClosed is the size in bytes of the largest record that is read.
const maxClosed = 1024

// saveState leaves the state of the hash for who resumes the upload. The bytes
// it stands for must be durable. Where that cannot be had before the writer is
// closed, they are hashed again.
func (u *upload) saveState(ctx context.Context) error {
	if _, ok := u.writer.(driver.RandomWriter); !ok || u.err != nil || u.hash.offset() == 0 {
		return nil
	}
	d := u.repo.registry.driver
	state, err := u.hash.digester.MarshalBinary()
	if err != nil {
		return err
	}
	if err := d.PutContent(ctx, statePath(u.repo.name, u.id, u.hash.offset()), state); err != nil {
		return err
	}
	info, err := d.Stat(ctx, uploadDataPath(u.repo.name, u.id))
	if err != nil || info.Version == "" {
		return err
	}
	record, err := json.Marshal(closed{info.Version, u.hash.offset(), digest.FromBytes(state)})
	if err != nil {
		return err
	}
	return d.PutContent(ctx, closePath(u.id), record)
}

// loadState is the digester to go on with, where that can be trusted: nil
// where the bytes must be hashed again.
func (r *repository) loadState(ctx context.Context, id string, size int64) (*digest.Digester, error) {
	if size == 0 {
		return digest.NewDigester(digest.SHA256)
	}
	d := r.registry.driver
	record, _, err := driver.GetFile(ctx, d, closePath(id), maxClosed)
	if err != nil {
		return nil, ignore(err)
	}
	var was closed
	if json.Unmarshal(record, &was) != nil || was.Offset <= 0 || was.Offset > size {
		return nil, nil
	}
	info, err := d.Stat(ctx, uploadDataPath(r.name, id))
	if err != nil || info.Version != was.Version {
		return nil, err
	}
	state, _, err := driver.GetFile(ctx, d, statePath(r.name, id, was.Offset), digest.MaxState)
	if err != nil {
		return nil, ignore(err)
	}
	if digest.FromBytes(state) != was.State {
		return nil, nil
	}
	digester, err := digest.Resume(digest.SHA256, state, was.Offset)
	if err != nil {
		return nil, nil // then it is hashed again
	}
	return digester, nil
}

// dropStates removes the states of an upload that is about to be written to. A
// stock registry trusts one by its offset alone, also when the bytes before
// that have changed.
func (r *repository) dropStates(ctx context.Context, id string) error {
	return ignore(r.registry.driver.Delete(ctx, statesPath(r.name, id)))
}

// ignore is nil for the errors of looking for what need not be there.
func ignore(err error) error {
	if errors.Is(err, driver.ErrNotExist) || errors.Is(err, driver.ErrInvalidPath) || errors.Is(err, driver.ErrTooLarge) {
		return nil
	}
	return err
}
