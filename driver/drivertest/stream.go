package drivertest

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

// largeStream is more bytes than 32 bits can count.
const largeStream = 5 << 30

// RunLarge streams 5 GiB into a file, in two writers, and out again, for
// drivers that have the room. With -short it does nothing.
func RunLarge(t *testing.T, newDriver func(t *testing.T) driver.Driver) {
	if testing.Short() {
		t.Skip("5 GiB: only without -short")
	}
	d := newDriver(t)
	want := sha256.New()
	content := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), largeStream), want)
	for i := range 2 {
		w := writer(t, d, "/large", i > 0)
		n, err := io.CopyBuffer(onlyWriter{w}, io.LimitReader(content, largeStream/2), make([]byte, 1<<20))
		require.NoError(t, err)
		require.Equal(t, int64(largeStream/2), n)
		if i == 0 {
			require.NoError(t, w.Close())
		} else {
			require.NoError(t, w.Commit(t.Context()))
		}
	}
	require.Equal(t, int64(largeStream), stat(t, d, "/large").Size)

	r, err := d.Reader(t.Context(), "/large", 0)
	require.NoError(t, err)
	defer r.Close()
	got := sha256.New()
	n, err := io.CopyBuffer(onlyWriter{got}, r, make([]byte, 1<<20))
	require.NoError(t, err)
	require.Equal(t, int64(largeStream), n)
	require.Equal(t, want.Sum(nil), got.Sum(nil))

	_, err = d.GetContent(t.Context(), "/large")
	require.ErrorIs(t, err, driver.ErrTooLarge)
	require.NoError(t, d.Delete(t.Context(), "/large"))
}

// onlyWriter hides methods that would take io.CopyBuffer's buffer from it.
type onlyWriter struct{ io.Writer }
