package fsmount

import (
	"context"
	"fmt"
	"time"

	"bazil.org/fuse"
)

const (
	// scratchAge is how long a temporary stays that nobody writes to: a program
	// that was killed does not come back for it.
	scratchAge = 24 * time.Hour
	// sweepPause is how often such temporaries are looked for.
	sweepPause = time.Hour
)

// appendScratch appends the temporaries of a place to its listing.
func (f *fileSystem) appendScratch(entries []fuse.Dirent, p place) []fuse.Dirent {
	f.names.each(p, func(name string, l local) {
		switch {
		case l.file != nil:
			entries = append(entries, fuse.Dirent{Inode: l.file.inode, Type: fuse.DT_File, Name: name})
		case l.dir != nil:
			entries = append(entries, fuse.Dirent{Inode: l.dir.inode, Type: fuse.DT_Dir, Name: name})
		}
	})
	return entries
}

// sweepLater looks for old temporaries after a while, and again for as long as
// there are any.
func (f *fileSystem) sweepLater() {
	if !f.sweeping.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(sweepPause, func() {
		f.sweeping.Store(false)
		if f.sweep(time.Now()) && !f.isClosing() {
			f.sweepLater()
		}
	})
}

// sweep removes temporaries that are old, and tags that have waited for long,
// and reports whether others are left. Directories go once they are empty.
func (f *fileSystem) sweep(now time.Time) (more bool) {
	f.abandon(func(t *pendingTag) bool { return now.Sub(t.since) > pendingAge }, fmt.Sprint("it was waited for ", pendingAge))
	before := now.Add(-scratchAge)
	for _, at := range f.names.all() {
		l, ok := f.names.get(at.place, at.name)
		switch {
		case !ok:
		case l.file != nil && l.file.isIdleSince(before):
			f.names.remove(at.place, at.name, l)
			if err := l.file.content().drop(context.Background()); err != nil {
				f.log.Warn("cannot remove a temporary", "path", l.file.path(), "error", err)
			}
		case l.link != "" && f.pending.shown(at) == nil && l.made.Before(before):
			f.names.remove(at.place, at.name, l)
		case l.dir != nil && l.dir.made.Before(before) && f.names.removeDir(at.place, at.name, l.dir):
		case l.file != nil || l.dir != nil || l.link != "":
			more = true
		}
	}
	return more
}
