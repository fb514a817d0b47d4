package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"registryfs/driver"
)

// Locks keep the processes that work on a store from each other. They are on
// directories that are there anyway, so that they need no room and leave
// nothing behind, and end with their process.
//
//	lockUse     held by whoever writes: shared by writing mounts, alone by an
//	            exclusive one and by whoever needs the store for himself
//	lockSweep   held alone by whoever collects, repairs or removes
//	blobs/<alg>/<hex[:2]>/<hex>   held alone by whoever replaces bad content
//
// The second is taken first, and looked at after the first has been taken.
const (
	lockUse   = layoutRepos
	lockSweep = layoutRoot
)

// A lock that is taken only to see who has it is not held for long.
const (
	lockWait  = 250 * time.Millisecond
	lockPause = 5 * time.Millisecond
)

// lock is lockDir in the store.
func (r *registry) lock(ctx context.Context, dir string, shared bool) (io.Closer, error) {
	return lockDir(ctx, r.driver, dir, shared)
}

// lockDir takes a lock, or is [ErrInUse]. Where the driver has none, nobody
// else is known.
func lockDir(ctx context.Context, d driver.Driver, dir string, shared bool) (io.Closer, error) {
	for deadline := time.Now().Add(lockWait); ; {
		held, err := driver.Lock(ctx, d, dir, shared)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return unlocked{}, nil
		case !errors.Is(err, driver.ErrBusy):
			return held, err
		case !time.Now().Before(deadline):
			return nil, ErrInUse
		}
		if err := pause(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

// unlocked is a lock of a driver that has none.
type unlocked struct{}

func (unlocked) Close() error { return nil }

// lockAll takes a store for this process alone, for what nobody may write
// beside.
func (r *registry) lockAll(ctx context.Context) (io.Closer, error) {
	sweep, err := r.lockSweep(ctx)
	if err != nil {
		return nil, err
	}
	use, err := r.lock(ctx, lockUse, false)
	if err != nil {
		sweep.Close()
		return nil, r.inUse(ctx, err)
	}
	return closers{use, sweep}, nil
}

func (r *registry) lockSweep(ctx context.Context) (io.Closer, error) {
	held, err := r.lock(ctx, lockSweep, false)
	if errors.Is(err, ErrInUse) {
		err = fmt.Errorf("%w: another process collects garbage, repairs it or removes a repository", err)
	}
	return held, err
}

// closers closes in order.
type closers []io.Closer

func (c closers) Close() error {
	var failed []error
	for _, closer := range c {
		failed = append(failed, closer.Close())
	}
	return errors.Join(failed...)
}
