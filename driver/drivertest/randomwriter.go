package drivertest

import (
	"bytes"
	"io"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

// testRandomWriter tests what a driver need not offer: where the writers are
// no RandomWriter there is nothing to test.
func testRandomWriter(s *suite) {
	probe, err := s.newDriver(s.t).Writer(s.t.Context(), "/probe", false)
	require.NoError(s.t, err)
	require.NoError(s.t, probe.Cancel(s.t.Context()))
	if _, ok := probe.(driver.RandomWriter); !ok {
		return
	}
	open := func(t *testing.T, d driver.Driver, append bool) driver.RandomWriter {
		return writer(t, d, "/dir/file", append).(driver.RandomWriter)
	}
	writeAt := func(t *testing.T, w driver.RandomWriter, content string, offset int64) {
		n, err := w.WriteAt([]byte(content), offset)
		require.NoError(t, err)
		require.Equal(t, len(content), n)
	}
	commit := func(t *testing.T, d driver.Driver, w driver.Writer, want string) {
		require.Equal(t, int64(len(want)), w.Size())
		require.NoError(t, w.Commit(t.Context()))
		requireContent(t, d, "/dir/file", want)
	}

	s.test("OutOfOrder", func(t *testing.T, d driver.Driver) {
		content := noise(1, 3_000_000)
		w := open(t, d, false)
		writeAt(t, w, content[2_000_000:], 2_000_000)
		require.Equal(t, int64(3_000_000), w.Size())
		writeAt(t, w, content[:1_000_000], 0)
		writeAt(t, w, content[1_000_000:2_000_000], 1_000_000)
		commit(t, d, w, content)
	})

	s.test("Overwrite", func(t *testing.T, d driver.Driver) {
		w := open(t, d, false)
		write(t, w, "0123456789")
		writeAt(t, w, "abc", 3)
		writeAt(t, w, "", 100)
		write(t, w, "!")
		commit(t, d, w, "012abc6789!")
	})

	s.test("Sparse", func(t *testing.T, d driver.Driver) {
		w := open(t, d, false)
		writeAt(t, w, "x", 700_000)
		writeAt(t, w, "y", 10)
		hole := bytes.Repeat([]byte("dirty buffer "), 54_000)[:699_989]
		n, err := w.ReadAt(hole, 11)
		require.NoError(t, err)
		require.Equal(t, len(hole), n)
		require.Empty(t, strings.Trim(string(hole), "\x00"))
		commit(t, d, w, strings.Repeat("\x00", 10)+"y"+strings.Repeat("\x00", 699_989)+"x")
	})

	s.test("Truncate", func(t *testing.T, d driver.Driver) {
		content := noise(2, 1_000_000)
		w := open(t, d, false)
		write(t, w, content)
		require.NoError(t, w.Truncate(600_000))
		require.Equal(t, int64(600_000), w.Size())
		require.NoError(t, w.Truncate(900_000))
		write(t, w, "end")
		commit(t, d, w, content[:600_000]+strings.Repeat("\x00", 300_000)+"end")
		w = open(t, d, true)
		require.NoError(t, w.Truncate(0))
		write(t, w, "new")
		require.NoError(t, w.Truncate(5))
		commit(t, d, w, "new\x00\x00")
	})

	s.test("FarOffsets", func(t *testing.T, d driver.Driver) {
		w := open(t, d, false)
		write(t, w, "abc")
		_, err := w.WriteAt([]byte("xy"), math.MaxInt64-1)
		require.Error(t, err)
		require.Equal(t, int64(3), w.Size())
		require.NoError(t, w.Cancel(t.Context()))
		w = open(t, d, false)
		writeAt(t, w, "x", 1<<33)
		require.Equal(t, int64(1<<33+1), w.Size())
		require.NoError(t, w.Truncate(2))
		commit(t, d, w, "\x00\x00")
	})

	s.test("ReadAt", func(t *testing.T, d driver.Driver) {
		w := open(t, d, false)
		write(t, w, "0123456789")
		requireReadAt(t, w, "0123456789")
		_, err := w.WriteAt([]byte("x"), -1)
		requirePathError(t, err, driver.ErrInvalidOffset)
		requirePathError(t, w.Truncate(-1), driver.ErrInvalidOffset)
		commit(t, d, w, "0123456789")
	})

	s.test("Sync", func(t *testing.T, d driver.Driver) {
		w := open(t, d, false)
		write(t, w, "abc")
		require.NoError(t, w.Sync())
		write(t, w, "def")
		require.NoError(t, w.Sync())
		commit(t, d, w, "abcdef")
	})

	s.test("Concurrent", func(t *testing.T, d driver.Driver) {
		const parts, size = 16, 100_000
		content := noise(3, parts*size)
		w := open(t, d, false)
		var wg sync.WaitGroup
		for i := range parts {
			wg.Go(func() {
				part := content[i*size : (i+1)*size]
				_, err := w.WriteAt([]byte(part), int64(i*size))
				assert.NoError(t, err)
				got := make([]byte, size)
				_, err = w.ReadAt(got, int64(i*size))
				assert.True(t, err == nil || err == io.EOF, "%v", err)
				assert.True(t, string(got) == part)
			})
		}
		wg.Wait()
		commit(t, d, w, content)
	})
}

// requireReadAt checks reads at offsets of a short content.
func requireReadAt(t *testing.T, r io.ReaderAt, content string) {
	t.Helper()
	size := len(content)
	for offset := range size {
		p := make([]byte, size-offset)
		n, err := r.ReadAt(p, int64(offset))
		require.True(t, err == nil || err == io.EOF, "%v", err)
		require.Equal(t, content[offset:], string(p[:n]))
		if n > 1 {
			n, err = r.ReadAt(p[:n-1], int64(offset))
			require.NoError(t, err)
			require.Equal(t, content[offset:size-1], string(p[:n]))
		}
	}
	long := make([]byte, size+10)
	n, err := r.ReadAt(long, 0)
	require.Equal(t, io.EOF, err)
	require.Equal(t, content, string(long[:n]))
	for _, offset := range []int64{int64(size), int64(size) + 1, 1 << 40} {
		n, err = r.ReadAt(long, offset)
		require.Equal(t, io.EOF, err)
		require.Zero(t, n)
	}
	_, err = r.ReadAt(long, -1)
	requirePathError(t, err, driver.ErrInvalidOffset)
}
