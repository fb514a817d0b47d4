package drivertest

import (
	"errors"
	"fmt"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
)

func testWalk(s *suite) {
	tree := []string{"/a/1", "/a/b/2", "/a/b/3", "/a-b/4", "/c"}
	walk := func(t *testing.T, d driver.Driver, root string, fn driver.WalkFunc) ([]string, error) {
		t.Helper()
		visited := []string{}
		err := driver.Walk(t.Context(), d, root, func(info driver.FileInfo) error {
			require.Equal(t, stat(t, d, info.Path), info)
			visited = append(visited, info.Path)
			return fn(info)
		})
		return visited, err
	}
	all := func(driver.FileInfo) error { return nil }
	at := func(path string, err error) driver.WalkFunc {
		return func(info driver.FileInfo) error {
			if info.Path == path {
				return err
			}
			return nil
		}
	}
	errStop := errors.New("stop")

	for _, test := range []struct {
		name string
		root string
		fn   driver.WalkFunc
		want []string
		err  error
	}{
		{"All", "/", all, []string{"/a", "/a/1", "/a/b", "/a/b/2", "/a/b/3", "/a-b", "/a-b/4", "/c"}, nil},
		{"Below", "/a", all, []string{"/a/1", "/a/b", "/a/b/2", "/a/b/3"}, nil},
		{"SkipDir", "/", at("/a/b", driver.SkipDir), []string{"/a", "/a/1", "/a/b", "/a-b", "/a-b/4", "/c"}, nil},
		{"SkipDirOnFile", "/a", at("/a/1", driver.SkipDir), []string{"/a/1", "/a/b", "/a/b/2", "/a/b/3"}, nil},
		{"SkipAll", "/", at("/a/b/2", driver.SkipAll), []string{"/a", "/a/1", "/a/b", "/a/b/2"}, nil},
		{"SkipAllWrapped", "/", at("/a/b", fmt.Errorf("enough: %w", driver.SkipAll)), []string{"/a", "/a/1", "/a/b"}, nil},
		{"Error", "/", at("/a/b/2", errStop), []string{"/a", "/a/1", "/a/b", "/a/b/2"}, errStop},
		{"ErrNotExistOfFunc", "/", at("/a/b/2", driver.ErrNotExist), []string{"/a", "/a/1", "/a/b", "/a/b/2"}, driver.ErrNotExist},
		{"Missing", "/nothing", all, []string{}, driver.ErrNotExist},
		{"File", "/c", all, []string{}, driver.ErrInvalidPath},
	} {
		s.test(test.name, func(t *testing.T, d driver.Driver) {
			put(t, d, tree...)
			visited, err := walk(t, d, test.root, test.fn)
			require.ErrorIs(t, err, test.err)
			require.ElementsMatch(t, test.want, visited)
			if test.err == nil {
				requireOrder(t, visited)
			}
		})
	}

	s.test("Vanishing", func(t *testing.T, d driver.Driver) {
		put(t, d, tree...)
		visited, err := walk(t, d, "/", func(info driver.FileInfo) error {
			if info.Path == "/a/1" {
				return errors.Join(d.Delete(t.Context(), "/a/b"), d.Delete(t.Context(), "/a-b"))
			}
			return nil
		})
		require.NoError(t, err)
		require.Subset(t, visited, []string{"/a", "/a/1", "/c"})
		require.NotContains(t, visited, "/a/b/2")
	})

	s.test("VanishingVisited", func(t *testing.T, d driver.Driver) {
		put(t, d, tree...)
		visited, err := walk(t, d, "/", func(info driver.FileInfo) error {
			if info.Path == "/a" {
				return d.Delete(t.Context(), "/a")
			}
			return nil
		})
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"/a", "/a-b", "/a-b/4", "/c"}, visited)
	})
}

// requireOrder checks that every path but the first level comes after its
// directory, and after its lesser siblings.
func requireOrder(t *testing.T, visited []string) {
	t.Helper()
	last := make(map[string]string) // path last seen in each directory
	for _, p := range visited {
		dir := path.Dir(p)
		require.Less(t, last[dir], p)
		last[dir] = p
	}
}
