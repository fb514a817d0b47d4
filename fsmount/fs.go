package fsmount

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"

	"registryfs/fsmount/loop"
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
	files     *openFiles
	layouts   *layouts
	pages     *pages
	changes   *changes

	loop     *loop.Loop // nil without a kernel
	closing  atomic.Bool
	sweeping atomic.Bool // a look for old temporaries is to come
}

var (
	_ fusefs.FS         = (*fileSystem)(nil)
	_ fusefs.FSStatfser = (*fileSystem)(nil)
)

func newFileSystem(at string, reg storage.Registry, o Options) *fileSystem {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := &fileSystem{
		options:   o,
		log:       o.Logger,
		mounted:   time.Now(),
		at:        at,
		failures:  &failures{},
		inodes:    newInodes(),
		content:   newContent(),
		waiting:   newWaiting(),
		readlinks: newReadlinks(),
		recent:    newRecent(),
		handles:   newHandles(),
		links:     newNamedLinks(),
		files:     newOpenFiles(),
		layouts:   newLayouts(),
		pages:     newPages(),
		changes:   newChanges(),
	}
	f.names = newNames(f.changes.note)
	f.pending = newPending(f.changes.watch(reg), f.names)
	f.registry = f.pending.registry()
	return f
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
	return &staging{repo: r, files: f.files}, nil
}

// isClosing reports whether files can no longer be opened for writing.
func (f *fileSystem) isClosing() bool { return f.closing.Load() }
