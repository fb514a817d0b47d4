package storage

import (
	"context"
	"errors"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"registryfs/driver"
)

const (
	// trashKept is how long what was removed can be brought back by hand.
	trashKept = 24 * time.Hour
	// trashPause is the time between two looks for what is too old.
	trashPause = time.Hour
)

// moveToTrash moves a directory out of sight, in one step, into the trash, and
// returns where it is there. name says what it was.
func (r *registry) moveToTrash(ctx context.Context, dir, name string) (string, error) {
	entry := r.now().String() + "." + uuid.NewString()
	dst := path.Join(layoutTrash, entry, name)
	return dst, driver.MoveDir(ctx, r.driver, dir, dst)
}

// tidyTrash empties the trash of what is too old, once in a while.
func (r *registry) tidyTrash(ctx context.Context) {
	now, last := r.now(), r.emptied.Load()
	if last != nil && now.since(*last) < trashPause || !r.emptied.CompareAndSwap(last, &now) {
		return
	}
	if err := r.emptyTrash(ctx); err != nil {
		r.log.Warn("cannot empty the trash", "error", err)
	}
}

// emptyTrash deletes what has been in the trash for long enough.
func (r *registry) emptyTrash(ctx context.Context) error {
	entries, err := r.driver.List(ctx, layoutTrash)
	if errors.Is(err, driver.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	now := r.now()
	for _, entry := range entries {
		if when, ok := discardedAt(entry); !ok || !driver.ValidPath(entry) || now.since(when) <= trashKept {
			continue
		}
		if err := r.driver.Delete(ctx, entry); err != nil && !errors.Is(err, driver.ErrNotExist) {
			return err
		}
	}
	return nil
}

// discardedAt is when something was moved to an entry of the trash, whose name
// may begin with no more than the seconds.
func discardedAt(entry string) (when stamp, ok bool) {
	text, _, _ := strings.Cut(path.Base(entry), ".")
	if when, ok = parseStamp(text); ok {
		return when, true
	}
	seconds, _, _ := strings.Cut(text, "-")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	return stamp{wall: time.Unix(unix, 0)}, err == nil
}
