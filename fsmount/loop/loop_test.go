package loop

import (
	"context"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
	"github.com/stretchr/testify/require"
)

func TestNodesHaveOneNumberWhileTheyAreKnown(t *testing.T) {
	var ns nodes
	ns.init()
	ns.addRoot(&testNode{})
	a, b := &testNode{name: "a"}, &testNode{name: "b"}
	first := ns.save(a)
	require.NotEqual(t, fuse.RootID, first)
	require.Equal(t, first, ns.save(a))
	require.NotEqual(t, first, ns.save(b))
	require.Equal(t, 1, a.known)

	ns.forget(first, 1)
	require.Zero(t, a.forgotten)
	id, ok := ns.idOf(a)
	require.True(t, ok)
	require.Equal(t, first, id)
	ns.forget(first, 5) // more than there were
	require.Equal(t, 1, a.forgotten)
	require.Nil(t, ns.get(first))
	ns.forget(first, 1)
	require.Equal(t, 1, a.forgotten)
	_, ok = ns.idOf(a)
	require.False(t, ok)

	again := ns.save(a)
	require.Greater(t, again, first, "no number is used again")
	require.Equal(t, 2, a.known)
	ns.forget(fuse.RootID, 100)
	require.NotNil(t, ns.get(fuse.RootID))
}

func TestPages(t *testing.T) {
	all := []byte("0123456789")
	for _, c := range []struct {
		offset int64
		size   int
		want   string
	}{{0, 4, "0123"}, {4, 4, "4567"}, {8, 4, "89"}, {10, 4, ""}, {99, 4, ""}, {-1, 4, "0123"}, {0, 0, ""}} {
		require.Equal(t, c.want, string(page(all, &fuse.ReadRequest{Offset: c.offset, Size: c.size})))
	}
}

func TestListingOfTwoVersionsIsOfNone(t *testing.T) {
	var l listing
	now := time.Now()
	l.keep(1, now)
	l.keep(1, now.Add(time.Second))
	require.Equal(t, now, l.made, "as old as its oldest part")
	l.keep(2, now)
	require.True(t, l.made.IsZero())
}

func TestInterruptMeetsOnlyItsRequest(t *testing.T) {
	const killed = 7 // a thread
	var rs requests
	rs.init(func(tid uint32) bool { return tid == killed })
	begin := func(id fuse.RequestID, tid uint32, req fuse.Request) context.Context {
		hdr := req.Hdr()
		hdr.ID, hdr.Pid = id, tid
		ctx, cancel := rs.begin(req)
		t.Cleanup(cancel)
		return ctx
	}
	read, other := begin(1, 1, &fuse.ReadRequest{}), begin(2, 1, &fuse.ReadRequest{})
	signalled := func(id fuse.RequestID, wantOpen, wantKilled bool) {
		t.Helper()
		isOpen, isKilled := rs.signalled(id)
		require.Equal(t, wantOpen, isOpen)
		require.Equal(t, wantKilled, isKilled)
	}
	signalled(1, true, false)
	require.Error(t, read.Err())
	require.NoError(t, other.Err())
	require.True(t, rs.end(1))
	require.False(t, rs.end(1), "it has been answered")
	signalled(1, false, false)
	rs.beginQuick(&fuse.WriteRequest{Header: fuse.Header{ID: 3, Pid: killed}})
	signalled(3, true, true)
	require.True(t, rs.end(3))
	signalled(3, false, false)

	for id, req := range []fuse.Request{
		&fuse.FlushRequest{}, &fuse.RenameRequest{}, &fuse.FsyncRequest{}, &fuse.GetattrRequest{}, &fuse.LookupRequest{},
		&fuse.OpenRequest{Flags: fuse.OpenWriteOnly}, &fuse.OpenRequest{Flags: fuse.OpenReadOnly},
	} {
		handled := begin(fuse.RequestID(10+id), 1, req)
		signalled(fuse.RequestID(10+id), true, false)
		open, isOpen := req.(*fuse.OpenRequest)
		require.Equal(t, isOpen && open.Flags.IsReadOnly(), handled.Err() != nil, "%T", req)
		fatal := begin(fuse.RequestID(20+id), killed, req)
		signalled(fuse.RequestID(20+id), true, true)
		require.Error(t, fatal.Err(), "%T", req)
	}
}

func TestEndOfTheConnectionIsNoError(t *testing.T) {
	for err, want := range map[error]error{io.EOF: nil, syscall.ECONNABORTED: nil, syscall.EIO: syscall.EIO} {
		l := New(&fuse.Conn{}, nil, nil, slog.New(slog.DiscardHandler))
		l.finish(err)
		l.finish(syscall.EBADF) // of another reader
		<-l.over
		require.Equal(t, want, l.err)
	}
}

// Before the root has its number nobody may read a request.
func TestNoReaderBeforeServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&fuse.Conn{}, nil, nil, slog.New(slog.DiscardHandler))
		time.Sleep(100 * lateAnswer)
		synctest.Wait()
		require.Zero(t, l.readers.Load())
	})
}

func TestReadersAreLimited(t *testing.T) {
	l := New(&fuse.Conn{}, nil, nil, slog.New(slog.DiscardHandler))
	l.readers.Store(maxReaders)
	l.relieve() // one more would read from no connection
	require.EqualValues(t, maxReaders, l.readers.Load())
}

// openNode counts how often it is opened, and answers READ.
type openNode struct {
	testNode
	opened int
}

func (n *openNode) Open(context.Context, *fuse.OpenRequest, *fuse.OpenResponse) (fusefs.Handle, error) {
	n.opened++
	return n, nil
}

func (n *openNode) Create(context.Context, *fuse.CreateRequest, *fuse.CreateResponse) (fusefs.Node, fusefs.Handle, error) {
	n.opened++
	return n, n, nil
}

func (n *openNode) Read(_ context.Context, req *fuse.ReadRequest, resp *fuse.ReadResponse) error {
	resp.Data = resp.Data[:req.Size]
	return nil
}

func TestHandlesAreLimited(t *testing.T) {
	l := New(&fuse.Conn{}, nil, nil, slog.New(slog.DiscardHandler))
	require.Equal(t, maxHandles, l.handles.max)
	l.handles.max = 3
	n := &openNode{}
	c := call{loop: l, node: &node{Node: n}}
	open := func(dir bool) error {
		_, err := c.open(t.Context(), &fuse.OpenRequest{Dir: dir})
		return err
	}
	create := func() error {
		_, err := c.create(t.Context(), &fuse.CreateRequest{Name: "f"})
		return err
	}
	require.NoError(t, open(false))
	require.NoError(t, open(true))
	require.NoError(t, create())
	for _, err := range []error{open(false), open(true), create()} {
		require.Equal(t, syscall.ENFILE, err)
	}
	require.Equal(t, 3, n.opened, "the node is not asked")
	c.handle = l.handles.get(1)
	require.NoError(t, c.release(t.Context(), &fuse.ReleaseRequest{Handle: 1}))
	require.NoError(t, create())
	require.Equal(t, syscall.ENFILE, open(false))
}

// A READ beyond what the kernel asks for is not cut to the size of a buffer.
func TestLongReads(t *testing.T) {
	c := call{handle: &handle{Handle: &openNode{}}}
	for _, size := range []int{1, maxRead, maxRead + 1} {
		_, err := c.read(t.Context(), &fuse.ReadRequest{Size: size})
		require.NoError(t, err)
	}
}

// syncedHandle is a file that is open.
type syncedHandle struct{ synced int }

func (h *syncedHandle) Fsync(context.Context, *fuse.FsyncRequest) error { h.synced++; return nil }

// FSYNC is for what was written through one handle.
func TestFsyncIsForTheHandle(t *testing.T) {
	var h syncedHandle
	id, ok := handleOf(&fuse.FsyncRequest{Handle: 7})
	require.True(t, ok)
	require.EqualValues(t, 7, id)
	c := call{node: &node{Node: &openNode{}}, handle: &handle{Handle: &h}}
	require.NoError(t, c.fsync(t.Context(), &fuse.FsyncRequest{}))
	require.Equal(t, 1, h.synced)
	c.handle.Handle = struct{}{}
	require.Equal(t, syscall.EIO, c.fsync(t.Context(), &fuse.FsyncRequest{}))
	c.node.Node = &refusing{}
	require.Equal(t, syscall.EPERM, c.fsync(t.Context(), &fuse.FsyncRequest{}))
}

// refusing is a node that syncs nothing.
type refusing struct{ testNode }

func (refusing) Fsync(context.Context, *fuse.FsyncRequest) error { return syscall.EPERM }

// testDir is a directory of so many names.
type testDir struct {
	testNode
	names int
}

func (d *testDir) ReadDirAll(context.Context) ([]fuse.Dirent, error) {
	return make([]fuse.Dirent, d.names), nil
}

func TestListingsAreLimited(t *testing.T) {
	l := New(&fuse.Conn{}, nil, nil, slog.New(slog.DiscardHandler))
	require.Equal(t, maxListings, l.listings.max)
	const header = 24 // bytes of an entry without a name
	l.listings.max = 10 * header
	open := func(dir *testDir) (call, fuse.HandleID) {
		c := call{loop: l, node: &node{Node: dir}}
		_, err := c.open(t.Context(), &fuse.OpenRequest{Dir: true})
		require.NoError(t, err)
		c.handle = l.handles.get(l.handles.last)
		return c, l.handles.last
	}
	read := func(c call, off int64) error {
		_, err := c.readDir(t.Context(), &fuse.ReadRequest{Dir: true, Offset: off, Size: 4096})
		return err
	}
	release := func(c call, id fuse.HandleID) {
		require.NoError(t, c.release(t.Context(), &fuse.ReleaseRequest{Handle: id}))
	}
	long := &testDir{names: 6}
	one, first := open(long)
	require.NoError(t, read(one, 0))
	same := one
	_, err := same.open(t.Context(), &fuse.OpenRequest{Dir: true})
	require.NoError(t, err)
	second := l.handles.last
	same.handle = l.handles.get(second)
	require.NoError(t, read(same, 0), "it is the same listing")
	require.Equal(t, 6*header, l.listings.size)

	other, third := open(&testDir{names: 5})
	require.Equal(t, syscall.ENOMEM, read(other, 0))
	require.NoError(t, read(one, 2*header), "what is being read goes on")
	release(one, first)
	require.Equal(t, syscall.ENOMEM, read(other, 0), "another reads it still")
	long.names = 4
	require.NoError(t, read(same, 0), "it is made anew")
	require.Equal(t, 4*header, l.listings.size)
	require.NoError(t, read(other, 0))
	release(same, second)
	release(other, third)
	require.Zero(t, l.listings.size)

	alone, fourth := open(&testDir{names: 100})
	require.NoError(t, read(alone, 0), "one alone may be of any length")
	release(alone, fourth)
	require.Zero(t, l.listings.size)
}
