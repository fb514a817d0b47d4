package fsmount

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"bazil.org/fuse"
	"github.com/stretchr/testify/require"
)

// A signal that interrupts fsync fails that call, and nothing that comes after.
func TestInterruptionIsNoFailure(t *testing.T) {
	s := &staging{}
	require.ErrorIs(t, s.failed(fmt.Errorf("sync: %w", context.Canceled)), context.Canceled)
	require.NoError(t, s.sync(t.Context()))
	require.ErrorIs(t, s.failed(syscall.EIO), syscall.EIO)
	require.ErrorIs(t, s.sync(t.Context()), syscall.EIO)
}

// A request whose maker was killed may come to its turn when the file has been
// closed.
func TestNothingIsWrittenAfterTheEnd(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	h := f.createFile(t, "_blobs", "name")
	h.end(t.Context(), true)
	_, err := h.bytes.writeAt(t.Context(), []byte("late"), 0)
	require.Equal(t, errClosing, errnoOf(err))
	require.Equal(t, errClosing, errnoOf(h.bytes.truncate(t.Context(), 10)))
	require.Equal(t, errClosing, errnoOfAnswer(h.Fsync(t.Context(), &fuse.FsyncRequest{Header: *me()})))
	ids, err := f.repository(t, "app").Blobs().Uploads(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
}

// Another handle of the same content may have ended, and not be forgotten yet.
func TestSyncIsNotForOthers(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	blob, _ := f.putImage(t, "app", "v1")
	node, err := f.lookup(t.Context(), "app", "_blobs", "sha256", blob.Encoded())
	require.NoError(t, err)
	open := func() *writeHandle {
		h, err := node.(blobFile).Open(t.Context(), &fuse.OpenRequest{Header: *me(), Flags: fuse.OpenWriteOnly}, &fuse.OpenResponse{})
		require.NoError(t, err)
		return h.(*writeHandle)
	}
	one, other := open(), open()
	one.writeString(t, "more")
	require.NoError(t, other.bytes.drop(t.Context()))
	require.NoError(t, one.Fsync(t.Context(), &fuse.FsyncRequest{Header: *me()}))
	require.NoError(t, node.(blobFile).Fsync(t.Context(), &fuse.FsyncRequest{Header: *me()}))
	one.bytes.failed(syscall.EIO)
	require.ErrorIs(t, one.Fsync(t.Context(), &fuse.FsyncRequest{Header: *me()}), syscall.EIO)
	require.ErrorIs(t, node.(blobFile).Fsync(t.Context(), &fuse.FsyncRequest{Header: *me()}), syscall.EIO)
}
