package fsmount

import (
	"context"
	"fmt"
	"syscall"
	"testing"

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
	ids, err := f.repository(t, "app").Blobs().Uploads(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
}
