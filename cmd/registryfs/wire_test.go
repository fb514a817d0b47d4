package main

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/fsmount"
)

func TestProcessorsForBlockedThreads(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })

	t.Setenv("GOMAXPROCS", "1")
	addProcessors()
	require.Equal(t, before, runtime.GOMAXPROCS(0), "that of the environment holds")

	t.Setenv("GOMAXPROCS", "")
	addProcessors()
	require.Equal(t, before+fsmount.BlockedThreads, runtime.GOMAXPROCS(0))
}
