package fsmount

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/fsmount/loop"
	"registryfs/storage"
)

// namedLink is a symlink with a name of its own: a tag, an alias, or the
// temporary of either. It answers what its name is now, and a rename gives it
// its new name, as the kernel does with the entry that it keeps. So an entry
// that is kept is not wrong after a rename, and need not be invalidated: an
// invalidation waits for the directory, and a daemon that is killed meanwhile
// leaves a mount that hangs for ever.
type namedLink struct {
	symlink
	fs   *fileSystem
	at   placeName // guarded by the table
	seen atomic.Pointer[seenTag]
}

// seenTag is the value of a tag as the kernel was told of it.
type seenTag struct {
	tag     storage.Tag
	when    time.Time
	version uint64 // of the repository
}

var (
	_ fusefs.NodeReadlinker = (*namedLink)(nil)
	_ fusefs.NodeForgetter  = (*namedLink)(nil)
	_ loop.EntryValider     = (*namedLink)(nil)
	_ loop.Known            = (*namedLink)(nil)
)

// namedLinks is the symlinks that the kernel knows, by name. Where it knows
// several, of which it has replaced all but one, the last counts.
type namedLinks struct {
	mu     sync.Mutex
	byName map[placeName][]*namedLink
}

func newNamedLinks() *namedLinks { return &namedLinks{byName: map[placeName][]*namedLink{}} }

// namedLink is the node of a name.
func (f *fileSystem) namedLink(p place, name string) *namedLink {
	at := placeName{p, name}
	f.links.mu.Lock()
	defer f.links.mu.Unlock()
	if known := f.links.byName[at]; len(known) > 0 {
		return known[len(known)-1]
	}
	return &namedLink{fs: f, at: at}
}

// rename gives a link another name.
func (ls *namedLinks) rename(from, to placeName) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if from == to {
		return
	}
	for _, l := range ls.byName[from] {
		l.at = to
		ls.byName[to] = append(ls.byName[to], l)
	}
	delete(ls.byName, from)
}

// name is what the link is called now.
func (l *namedLink) name() placeName {
	l.fs.links.mu.Lock()
	defer l.fs.links.mu.Unlock()
	return l.at
}

// Known makes the link one that is renamed when its name is.
func (l *namedLink) Known() {
	l.fs.links.mu.Lock()
	defer l.fs.links.mu.Unlock()
	l.fs.links.byName[l.at] = append(l.fs.links.byName[l.at], l)
}

func (l *namedLink) Forget() {
	l.fs.links.mu.Lock()
	defer l.fs.links.mu.Unlock()
	left := slices.DeleteFunc(l.fs.links.byName[l.at], func(other *namedLink) bool { return other == l })
	if len(left) == 0 {
		delete(l.fs.links.byName, l.at)
		return
	}
	l.fs.links.byName[l.at] = left
}

// EntryValid is that of a tag where it is one: what is of the mount alone can
// become something else without the kernel's doing.
func (l *namedLink) EntryValid() time.Duration {
	at := l.name()
	if _, isLocal := l.fs.names.get(at.place, at.name); isLocal || at.place.view != viewTags {
		return 0
	}
	return l.fs.options.AttrTimeout
}

// look reads the value of a tag. Errors: storage.ErrTagUnknown.
func (f *fileSystem) look(ctx context.Context, at placeName) (*seenTag, error) {
	seen := &seenTag{when: time.Now(), version: f.changes.version(at.place.repo)}
	var err error
	seen.tag, err = f.linkedTag(ctx, at)
	return seen, err
}

// tag is the value of the tag that the link is, for as long as that is the
// answer to what the kernel asks of the link: while it may keep the name, and
// this mount has changed nothing.
func (l *namedLink) tag(ctx context.Context, at placeName) (storage.Tag, error) {
	was := l.seen.Load()
	if was != nil && time.Since(was.when) < l.fs.options.AttrTimeout && was.version == l.fs.changes.version(at.place.repo) {
		return was.tag, nil
	}
	now, err := l.fs.look(ctx, at)
	if err == nil {
		l.seen.Store(now)
	}
	return now.tag, err
}

func (l *namedLink) Attr(ctx context.Context, a *fuse.Attr) error {
	at := l.name()
	size := contentSize
	if at.place.view == viewTags {
		size += len(manifestPrefix)
	}
	tag, err := l.tag(ctx, at)
	var local local
	if errors.Is(err, fs.ErrNotExist) {
		var ok bool
		if local, ok = l.fs.names.get(at.place, at.name); !ok {
			return syscall.ENOENT
		}
		if local.alias == "" {
			size = len(local.link)
		}
	}
	l.fs.linkAttr(a, linkInode(at.place, at.name), size)
	if err == nil {
		a.Atime, a.Mtime, a.Ctime = tag.ModTime, tag.ModTime, tag.ModTime
		a.Valid = l.fs.options.AttrTimeout
	} else {
		a.Valid = 0
	}
	return nil
}

func (l *namedLink) Readlink(ctx context.Context, req *fuse.ReadlinkRequest) (string, error) {
	at := l.name()
	tag, err := l.tag(ctx, at)
	if err == nil {
		l.fs.readlinks.follows(req.Header.Pid, followed{place: at.place, name: at.name, digest: tag.Digest})
		return contentText(manifestPrefix, tag.Digest), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", l.fs.fail(&req.Header, "readlink", at.place.join(at.name), err)
	}
	local, ok := l.fs.names.get(at.place, at.name)
	switch {
	case !ok || local.file != nil:
		return "", syscall.ENOENT
	case local.alias != "":
		l.fs.readlinks.follows(req.Header.Pid, followed{place: at.place, name: at.name, digest: local.alias})
		return contentText("", local.alias), nil
	}
	return local.link, nil
}
