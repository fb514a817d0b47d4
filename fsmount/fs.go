package fsmount

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/storage"
)

// fileSystem is a registry as a tree of nodes. Nodes are comparable values
// that say what they stand for; everything that changes is in the tables here,
// since the server may still hold a node that the kernel has forgotten.
type fileSystem struct {
	registry storage.Registry
	options  Options
	log      *slog.Logger
	mounted  time.Time
	at       string // the mount point, absolute

	failures  *failures
	inodes    *inodes
	content   *content
	names     *names
	waiting   *waiting
	readlinks *readlinks
	recent    *recent
	handles   *handles
	pending   *pending
	links     *namedLinks

	server  *fusefs.Server // nil without a kernel
	closing atomic.Bool
	// deciding is held by who makes a tag of a temporary: the rename that it
	// waits for, or the end of its pause. Both would make two tags of it.
	deciding sync.Mutex
	later    sync.WaitGroup // publications that wait for a moment
}

var (
	_ fusefs.FS         = (*fileSystem)(nil)
	_ fusefs.FSStatfser = (*fileSystem)(nil)
)

func newFileSystem(at string, reg storage.Registry, o Options) *fileSystem {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &fileSystem{
		registry:  reg,
		options:   o,
		log:       o.Logger,
		mounted:   time.Now(),
		at:        at,
		failures:  &failures{},
		inodes:    newInodes(),
		content:   newContent(),
		names:     newNames(),
		waiting:   newWaiting(),
		readlinks: newReadlinks(),
		recent:    newRecent(),
		handles:   newHandles(),
		pending:   newPending(),
		links:     newNamedLinks(),
	}
}

func (f *fileSystem) Root() (fusefs.Node, error) { return f.directory("", 0), nil }

// statfsBlock is the size in bytes of the blocks that statfs counts.
const statfsBlock = 4096

func (f *fileSystem) Statfs(ctx context.Context, req *fuse.StatfsRequest, resp *fuse.StatfsResponse) error {
	resp.Bsize, resp.Frsize, resp.Namelen = statfsBlock, statfsBlock, syscall.NAME_MAX
	space, err := f.registry.Space(ctx)
	if errors.Is(err, storage.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return f.fail(&req.Header, "statfs", "/", err)
	}
	resp.Blocks = space.Bytes / statfsBlock
	resp.Bfree = space.BytesFree / statfsBlock
	resp.Bavail = resp.Bfree
	resp.Files, resp.Ffree = space.Files, space.FilesFree
	return nil
}

// fail returns what the kernel is told of an error, and puts the reason in
// words where the user finds it.
func (f *fileSystem) fail(h *fuse.Header, op, path string, err error) error {
	if err == nil {
		return nil
	}
	f.note(h.Pid, op, path, err)
	return errnoOf(err)
}

// failLookup is fail for looking for a name: that it is not there is no
// failure.
func (f *fileSystem) failLookup(h *fuse.Header, path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return syscall.ENOENT
	}
	return f.fail(h, "lookup", path, err)
}

func (f *fileSystem) note(pid uint32, op, path string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	f.failures.add(time.Now(), pid, op, path, err.Error())
	f.log.Warn("failed", "op", op, "path", path, "pid", pid, "error", err)
}

// readerAt is content that a read can be served from.
type readerAt interface {
	readAt(ctx context.Context, p []byte, off int64) (int, error)
}

// read serves a read from content.
func (f *fileSystem) read(ctx context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse, path string, r readerAt) error {
	n, err := r.readAt(ctx, resp.Data[:req.Size], req.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return f.fail(&req.Header, "read", path, err)
	}
	resp.Data = resp.Data[:n]
	return nil
}

func (f *fileSystem) newStaging(repo string) (*staging, error) {
	r, err := f.registry.Repository(repo)
	if err != nil {
		return nil, err
	}
	return &staging{repo: r}, nil
}

// isClosing reports whether files can no longer be opened for writing.
func (f *fileSystem) isClosing() bool { return f.closing.Load() }

// forget makes the kernel look for a name again. LINK answers with a node of
// the kind of the old one and cannot set how long that is valid; a goroutine
// makes up for it, since the kernel holds the directory until the handler has
// answered. It is not for names that are made often: see namedLink.
func (f *fileSystem) forget(dir fusefs.Node, name string) {
	if f.server == nil {
		return
	}
	go func() {
		if err := f.server.InvalidateEntry(dir, name); err != nil && !errors.Is(err, fuse.ErrNotCached) {
			f.log.Debug("cannot invalidate", "name", name, "error", err)
		}
	}()
}

// briefPause is how long a name that may be a temporary waits for its rename.
const briefPause = 2 * time.Second

// publishLater publishes a file under its name unless it is renamed first.
func (f *fileSystem) publishLater(file *stagedFile) {
	t := file.goal()
	f.afterPause(func() {
		f.deciding.Lock()
		defer f.deciding.Unlock()
		if l, ok := f.names.get(t.place, t.name); !ok || l.file != file || file.isOpen() {
			return
		}
		defer f.names.remove(t.place, t.name, local{file: file})
		if file.isEmpty() {
			return
		}
		t.means = aTag
		if _, err := f.publish(context.Background(), t, file.content()); err != nil {
			f.note(0, "close", t.path(), err)
		}
		f.dropBytes(file)
	})
}

// afterPause calls fn after the pause, or when the mount closes.
func (f *fileSystem) afterPause(fn func()) {
	f.later.Add(1)
	time.AfterFunc(briefPause, func() {
		defer f.later.Done()
		fn()
	})
}

// dropBytes removes the bytes of a file that nobody can reach.
func (f *fileSystem) dropBytes(file *stagedFile) {
	if file.isOpen() {
		return // the last handle does it
	}
	if err := file.content().drop(context.Background()); err != nil {
		f.log.Warn("cannot remove what was written", "path", file.path(), "error", err)
	}
}

// finish ends every file that is open or waits for its rename, since the mount
// has ended. Names that may be temporaries are decided.
func (f *fileSystem) finish() {
	f.closing.Store(true)
	for _, h := range f.handles.all() {
		h.end(context.Background(), false)
	}
	f.later.Wait()
	f.abandon()
	for _, file := range f.names.files() {
		if id, err := file.content().keep(); err != nil || id != "" {
			f.note(0, "unmount", file.path(), errors.Join(errors.New("kept as upload "+id), err))
		}
	}
}

func (f *fileSystem) fileAttr(a *fuse.Attr, inode uint64, size int64) {
	f.owned(a, inode, 0o644)
	a.Size = uint64(size)
	a.Blocks = (a.Size + 511) / 512
}

func (f *fileSystem) dirAttr(a *fuse.Attr, inode uint64) {
	f.owned(a, inode, fs.ModeDir|0o755)
	a.Valid = f.options.AttrTimeout
}

func (f *fileSystem) linkAttr(a *fuse.Attr, inode uint64, size int) {
	f.owned(a, inode, 0)
	a.Mode = fs.ModeSymlink | 0o777
	a.Size = uint64(size)
}

func (f *fileSystem) owned(a *fuse.Attr, inode uint64, mode fs.FileMode) {
	a.Inode = inode
	a.Mode = mode &^ (f.options.Umask & fs.ModePerm)
	a.Uid, a.Gid = f.options.UID, f.options.GID
	a.Nlink = 1
	a.BlockSize = copyBuffer
	a.Atime, a.Mtime, a.Ctime = f.mounted, f.mounted, f.mounted
}

// listing begins a directory with its own two names.
func listing(self, parent uint64) []fuse.Dirent {
	return []fuse.Dirent{
		{Inode: self, Type: fuse.DT_Dir, Name: "."},
		{Inode: parent, Type: fuse.DT_Dir, Name: ".."},
	}
}

func join(dir, name string) string { return path.Join(dir, name) }
