package digest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArchivesAreLimited(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i := range 5 { // of 100 bytes
		require.NoError(t, w.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Size: 20}))
		_, err := w.Write(make([]byte, 20))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	for limits, want := range map[archiveLimits]error{
		{MaxArchiveEntries, MaxArchiveSize}: nil,
		{5, 100}:                            nil,
		{4, 100}:                            ErrArchiveTooLarge,
		{5, 99}:                             ErrArchiveTooLarge,
	} {
		_, err := limits.tarsum("v1", bytes.NewReader(archive.Bytes()))
		require.ErrorIs(t, err, want, "%v", limits)
	}
}
