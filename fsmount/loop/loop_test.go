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
		l := New(nil, nil, nil, slog.New(slog.DiscardHandler))
		l.finish(err)
		l.finish(syscall.EBADF) // of another reader
		<-l.over
		require.Equal(t, want, l.err)
	}
}

// Before the root has its number nobody may read a request.
func TestNoReaderBeforeServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil, nil, nil, slog.New(slog.DiscardHandler))
		time.Sleep(100 * lateAnswer)
		synctest.Wait()
		require.Zero(t, l.readers.Load())
	})
}
