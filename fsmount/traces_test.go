package fsmount_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// replayTrace makes the calls of a trace in a layout, in a process as the
// tool's was, and what it finds there in one of its own.
const replayTrace = `
	FSMOUNT_TEST_ROLE=replay "$SELF" "$1" "$2" given
	FSMOUNT_TEST_ROLE=replay "$SELF" "$1" "$2" "$3"`

// Traces replay on a disk as they were recorded: what they want of a mount is
// what they had.
func TestTracesOnADisk(t *testing.T) {
	r := &repo{&mounted{}, "", t.TempDir()}
	for _, name := range traceNames() {
		t.Run(name, func(t *testing.T) {
			tr, err := readTrace(name)
			require.NoError(t, err)
			require.NotEmpty(t, tr.calls)
			dir := r.work + "/" + name
			script := replayTrace
			if len(tr.given) == 0 {
				script = script[strings.LastIndexByte(script, '\n'):]
			}
			r.ok(t, script, dir, name, "calls")
			require.Equal(t, strings.Join(tr.left(), "\n"), r.ok(t, `ls "$1/blobs/sha256"`, dir))
		})
	}
	require.Len(t, traceNames(), 15)
}
