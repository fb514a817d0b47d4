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
