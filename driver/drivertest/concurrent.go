package drivertest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testConcurrent(s *suite) {
	s.test("StreamReads", func(t *testing.T, d driver.Driver) {
		size := 128 << 20
		if testing.Short() {
			size = 8 << 20
		}
		content := noise(1, size)
		w := writer(t, d, "/file", false)
		write(t, w, content)
		require.NoError(t, w.Commit(t.Context()))
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				offset := i * size / 10
				r, err := d.Reader(t.Context(), "/file", int64(offset))
				if !assert.NoError(t, err) {
					return
				}
				defer r.Close()
				got, err := io.ReadAll(r)
				assert.NoError(t, err)
				assert.True(t, string(got) == content[offset:])
			})
		}
		wg.Wait()
	})

	s.test("FileStreams", func(t *testing.T, d driver.Driver) {
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				path := fmt.Sprintf("/dir%d/file%d", i%4, i)
				content := noise(uint64(i), 1<<20)
				w, err := d.Writer(t.Context(), path, false)
				if !assert.NoError(t, err) {
					return
				}
				_, err = io.Copy(w, strings.NewReader(content))
				assert.NoError(t, err)
				assert.NoError(t, w.Commit(t.Context()))
				got, err := d.GetContent(t.Context(), path)
				assert.NoError(t, err)
				assert.True(t, string(got) == content)
			})
		}
		wg.Wait()
	})

	s.test("OneWriter", func(t *testing.T, d driver.Driver) {
		for range 10 {
			var open sync.WaitGroup
			var won atomic.Pointer[driver.Writer]
			for range 16 {
				open.Go(func() {
					w, err := d.Writer(t.Context(), "/file", true)
					if err == nil {
						assert.Nil(t, won.Swap(&w), "two writers")
						return
					}
					assert.ErrorIs(t, err, driver.ErrBusy)
				})
			}
			open.Wait()
			require.NotNil(t, won.Load())
			write(t, *won.Load(), "x")
			require.NoError(t, (*won.Load()).Close())
		}
		requireContent(t, d, "/file", strings.Repeat("x", 10))
	})

	s.test("NeverTorn", func(t *testing.T, d driver.Driver) {
		contents := []string{strings.Repeat("a", 10_000), strings.Repeat("b", 10_000), "c", strings.Repeat("d", 70_000)}
		require.NoError(t, d.PutContent(t.Context(), "/file", []byte(contents[0])))
		var writers, readers sync.WaitGroup
		var done atomic.Bool
		for _, content := range contents {
			writers.Go(func() {
				for range 20 {
					assert.NoError(t, d.PutContent(t.Context(), "/file", []byte(content)))
				}
			})
		}
		for range 4 {
			readers.Go(func() {
				for !done.Load() {
					got, err := d.GetContent(t.Context(), "/file")
					if !assert.NoError(t, err) || !assert.True(t, slices.Contains(contents, string(got)), "torn") {
						return
					}
				}
			})
		}
		writers.Wait()
		done.Store(true)
		readers.Wait()
	})

	s.test("SameNewDirectories", func(t *testing.T, d driver.Driver) {
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				assert.NoError(t, d.PutContent(t.Context(), fmt.Sprintf("/a/b/c/d/%d", i), []byte("x")))
			})
		}
		wg.Wait()
		children, err := d.List(t.Context(), "/a/b/c/d")
		require.NoError(t, err)
		require.Len(t, children, 32)
	})

	s.test("PutDuringDelete", func(t *testing.T, d driver.Driver) {
		var putting sync.WaitGroup
		var done atomic.Bool
		putting.Go(func() {
			defer done.Store(true)
			for i := range 50 {
				err := d.PutContent(t.Context(), fmt.Sprintf("/a/b/%d/file", i), []byte("x"))
				assert.True(t, err == nil || errors.Is(err, driver.ErrNotExist), "%v", err)
			}
		})
		for !done.Load() {
			if err := d.Delete(t.Context(), "/a"); err != nil {
				var pathErr *driver.PathError
				require.ErrorAs(t, err, &pathErr)
			}
		}
		putting.Wait()
		put(t, d, "/a/b/file")
		require.NoError(t, d.Delete(t.Context(), "/a"))
		requireMissing(t, d, "/a")
	})

	s.test("MoveOntoOne", func(t *testing.T, d driver.Driver) {
		for i := range 16 {
			put(t, d, fmt.Sprintf("/src/%d", i))
		}
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() { assert.NoError(t, d.Move(t.Context(), fmt.Sprintf("/src/%d", i), "/new/dst")) })
		}
		wg.Wait()
		requireList(t, d, "/src")
		got, err := d.GetContent(t.Context(), "/new/dst")
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(got), "/src/"))
	})

	s.test("MoveOneAway", func(t *testing.T, d driver.Driver) {
		put(t, d, "/src/file")
		var moved atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				err := d.Move(t.Context(), "/src/file", fmt.Sprintf("/dst%d", i))
				if err == nil {
					moved.Add(1)
					return
				}
				assert.ErrorIs(t, err, driver.ErrNotExist)
			})
		}
		wg.Wait()
		require.Equal(t, int32(1), moved.Load())
	})
}
