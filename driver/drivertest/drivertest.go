// Package drivertest holds the conformance suite for drivers.
//
//	func TestConformance(t *testing.T) {
//		drivertest.Run(t, func(t *testing.T) driver.Driver { return memdriver.New() })
//	}
//
// The suite is split by topic, a file for each. It calls a driver as storage
// does, so an implementation that leaves checks to driver.Checked is tested
// within it.
package drivertest

import (
	"context"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

// Run tests a driver. newDriver is called for each test and returns an empty
// store, which no other test uses meanwhile.
func Run(t *testing.T, newDriver func(t *testing.T) driver.Driver) {
	for _, topic := range []struct {
		name string
		run  func(s *suite)
	}{
		{"Paths", testPaths},
		{"Content", testContent},
		{"Reader", testReader},
		{"Writer", testWriter},
		{"WriterEnd", testWriterEnd},
		{"RandomWriter", testRandomWriter},
		{"Stat", testStat},
		{"List", testList},
		{"Walk", testWalk},
		{"Move", testMove},
		{"MoveNew", testMoveNew},
		{"MoveDir", testMoveDir},
		{"MakeDir", testMakeDir},
		{"RemoveDir", testRemoveDir},
		{"Delete", testDelete},
		{"Sync", testSync},
		{"OpenAt", testOpenAt},
		{"Lock", testLock},
		{"GetFile", testGetFile},
		{"PutFile", testPutFile},
		{"Concurrent", testConcurrent},
		{"Context", testContext},
	} {
		t.Run(topic.name, func(t *testing.T) { topic.run(&suite{t: t, newDriver: newDriver}) })
	}
}

// suite runs the tests of one topic.
type suite struct {
	t         *testing.T
	newDriver func(t *testing.T) driver.Driver
}

// test runs one test on a store of its own. Afterwards nothing may be left of
// temporary files, and everything must go away by Delete.
func (s *suite) test(name string, fn func(t *testing.T, d driver.Driver)) {
	s.t.Run(name, func(t *testing.T) {
		d := s.newDriver(t)
		t.Cleanup(func() {
			ctx := context.WithoutCancel(t.Context())
			err := driver.Walk(ctx, d, "/", func(info driver.FileInfo) error {
				require.False(t, strings.HasSuffix(info.Path, ".tmp"), "left over: %s", info.Path)
				return nil
			})
			require.NoError(t, err)
			children, err := d.List(ctx, "/")
			require.NoError(t, err)
			for _, child := range children {
				require.NoError(t, d.Delete(ctx, child))
			}
			children, err = d.List(ctx, "/")
			require.NoError(t, err)
			require.Empty(t, children)
		})
		fn(t, d)
	})
}

// put puts each path with a content of its own, which is the path.
func put(t *testing.T, d driver.Driver, paths ...string) {
	t.Helper()
	for _, p := range paths {
		require.NoError(t, d.PutContent(t.Context(), p, []byte(p)))
	}
}

func requireContent(t *testing.T, d driver.Driver, path, want string) {
	t.Helper()
	got, err := d.GetContent(t.Context(), path)
	require.NoError(t, err)
	if len(want) <= 1024 {
		require.Equal(t, want, string(got))
		return
	}
	require.True(t, want == string(got), "%s: %d bytes differ from the %d expected", path, len(got), len(want))
}

// requireMissing checks that path names nothing, in the words of every method.
func requireMissing(t *testing.T, d driver.Driver, path string) {
	t.Helper()
	ctx := t.Context()
	_, err := d.Stat(ctx, path)
	requirePathError(t, err, driver.ErrNotExist)
	_, err = d.GetContent(ctx, path)
	requirePathError(t, err, driver.ErrNotExist)
	for _, offset := range []int64{0, 64} {
		_, err = d.Reader(ctx, path, offset)
		requirePathError(t, err, driver.ErrNotExist)
	}
	_, err = driver.OpenAt(ctx, d, path)
	requirePathError(t, err, driver.ErrNotExist)
	_, err = d.List(ctx, path)
	requirePathError(t, err, driver.ErrNotExist)
	requirePathError(t, d.Delete(ctx, path), driver.ErrNotExist)
}

// requirePathError checks that err is a kind of error, with a path.
func requirePathError(t *testing.T, err, kind error) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	var pathErr *driver.PathError
	require.ErrorAs(t, err, &pathErr)
	require.NotEmpty(t, pathErr.Driver)
	require.NotEmpty(t, pathErr.Op)
}

// requireList checks the direct children of dir.
func requireList(t *testing.T, d driver.Driver, dir string, names ...string) {
	t.Helper()
	want := []string{}
	for _, name := range names {
		want = append(want, path.Join(dir, name))
	}
	got, err := d.List(t.Context(), dir)
	require.NoError(t, err)
	require.ElementsMatch(t, want, got)
}

// readFrom reads a file from offset to its end.
func readFrom(t *testing.T, d driver.Driver, path string, offset int64) string {
	t.Helper()
	r, err := d.Reader(t.Context(), path, offset)
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(got)
}

// writer opens a writer, which the end of the test closes if need be.
func writer(t *testing.T, d driver.Driver, path string, append bool) driver.Writer {
	t.Helper()
	w, err := d.Writer(t.Context(), path, append)
	require.NoError(t, err)
	t.Cleanup(func() { w.Close() })
	return w
}

// write writes all of content, and checks that the size follows.
func write(t *testing.T, w driver.Writer, content string) {
	t.Helper()
	before := w.Size()
	n, err := io.WriteString(w, content)
	require.NoError(t, err)
	require.Equal(t, len(content), n)
	require.Equal(t, before+int64(n), w.Size())
}

// stat describes a path that exists.
func stat(t *testing.T, d driver.Driver, path string) driver.FileInfo {
	t.Helper()
	info, err := d.Stat(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, path, info.Path)
	return info
}

// noise is n bytes that do not repeat, the same for the same seed.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	var key [32]byte
	key[0] = byte(seed)
	rand.NewChaCha8(key).Read(b)
	return string(b)
}
