package storage_test

import (
	"math"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// liveStore is a store that somebody writes to while it is checked.
type liveStore struct {
	driver   driver.Driver
	one, two pushed
}

func newLiveStore(t *testing.T) liveStore {
	d := memdriver.New()
	app := repository(t, create(t, d), "app")
	s := liveStore{driver: d, one: push(t, app, "one", "v1"), two: push(t, app, "two", "v2")}
	push(t, repository(t, again(t, d), "z"), "three", "v3")
	return s
}

// writer is a registry that is no part of the check.
func (s liveStore) writer(t *testing.T) storage.Registry {
	return openRegistry(t, s.driver, storage.Options{AllowDelete: true})
}

// remove takes an image away with its content, as a registry and a collection
// do.
func (s liveStore) remove(t *testing.T, img pushed) {
	app := repository(t, s.writer(t), "app")
	require.NoError(t, app.Manifests().Delete(t.Context(), img.manifest))
	for _, d := range img.blobs() {
		require.NoError(t, app.Blobs().Delete(t.Context(), d))
	}
	for _, d := range append(img.blobs(), img.manifest) {
		require.NoError(t, s.driver.Delete(t.Context(), dataPath(d)))
	}
}

// At whatever point of a check others write, what they push, move or remove is
// no damage, and a repair leaves it alone.
func TestCheckBesideAWriter(t *testing.T) {
	for name, write := range map[string]func(t *testing.T, s liveStore){
		"Push":          func(t *testing.T, s liveStore) { push(t, repository(t, s.writer(t), "app"), "new", "new") },
		"PushElsewhere": func(t *testing.T, s liveStore) { push(t, repository(t, s.writer(t), "app/new"), "new", "new") },
		"PushIndex": func(t *testing.T, s liveStore) {
			app := repository(t, s.writer(t), "app")
			index := pushIndex(t, app, s.one, push(t, app, "new", ""))
			require.NoError(t, app.Tags().Tag(t.Context(), "v1", index))
		},
		"Retag": func(t *testing.T, s liveStore) {
			app := repository(t, s.writer(t), "app")
			require.NoError(t, app.Tags().Tag(t.Context(), "v2", push(t, app, "new", "").manifest))
			s.remove(t, s.two)
		},
		"Remove": func(t *testing.T, s liveStore) { s.remove(t, s.one) },
		"Rename": func(t *testing.T, s liveStore) {
			require.NoError(t, repository(t, s.writer(t), "app").Tags().Rename(t.Context(), "v1", "renamed"))
		},
	} {
		step := 1
		if testing.Short() {
			step = 8
		}
		for _, repair := range []bool{false, true} {
			t.Run(name+"/"+strconv.FormatBool(repair), func(t *testing.T) {
				alone := newLiveStore(t)
				write(t, alone)
				want := pathsIn(tree(t, alone.driver))
				for n := 1; ; n += step {
					s := newLiveStore(t)
					early, late, written := s.checkBeside(t, n, repair, write)
					require.Empty(t, append(early, late...), "call %d", n)
					if !written {
						require.Greater(t, n, 50)
						break
					}
					require.Equal(t, want, pathsIn(tree(t, s.driver)), "call %d", n)
					requireSound(t, s.driver)
				}
			})
		}
	}
}

// pathsIn is what is in a tree, but for what has a name of its own each time.
func pathsIn(all map[string]string) []string {
	var paths []string
	for p := range inStore(all) {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// A tag of which a stock registry has written the history, and not yet the
// value, is no damage.
func TestCheckWhileATagIsMade(t *testing.T) {
	for _, repair := range []bool{false, true} {
		s := newLiveStore(t)
		put(t, s.driver, indexLink("app", "new", s.one.manifest), s.one.manifest.String())
		reads := 0
		g := &gate{s.driver, func(op, p string) error {
			if op == "getfile" && p == currentLink("app", "new") {
				if reads++; reads == 2 {
					put(t, s.driver, p, s.one.manifest.String())
				}
			}
			return nil
		}}
		findings, _ := checkDriver(t, g, storage.CheckOptions{Repair: repair})
		require.Empty(t, findings)
		require.Equal(t, 2, reads)
		requireSound(t, s.driver)
	}
}

// Content that is pushed again while it is found bad is good from then on, but
// for the finding that is in the making.
func TestCheckWhileContentIsHealed(t *testing.T) {
	for n, written := 1, true; written; n++ {
		s := newLiveStore(t)
		overwrite(t, s.driver, dataPath(s.one.layer), 0, []byte("X"))
		overwrite(t, s.driver, dataPath(s.two.manifest), 0, []byte("X"))
		var early, late []storage.Finding
		early, late, written = s.checkBeside(t, n, false, func(t *testing.T, s liveStore) {
			push(t, repository(t, s.writer(t), "app"), "one", "")
			push(t, repository(t, s.writer(t), "app"), "two", "")
		})
		if written {
			require.LessOrEqual(t, len(late), 1, "call %d", n)
			requireSound(t, s.driver)
		} else {
			require.Len(t, early, 6)
		}
	}
}

// checkBeside checks a store, and writes to it before the nth call of the check.
func (s liveStore) checkBeside(t *testing.T, n int, repair bool, write func(*testing.T, liveStore)) (early, late []storage.Finding, written bool) {
	t.Helper()
	var mu sync.Mutex    // blobs are hashed by several goroutines
	calls := math.MinInt // until the check begins
	g := &gate{s.driver, func(string, string) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls == n {
			written = true
			write(t, s)
		}
		return nil
	}}
	reg := openRegistry(t, g, storage.Options{ReadOnly: !repair})
	calls = 0
	_, err := reg.(storage.Checker).Check(t.Context(), storage.CheckOptions{Repair: repair}, func(f storage.Finding) {
		switch {
		case !f.Damage:
		case written:
			late = append(late, f)
		default:
			early = append(early, f)
		}
	})
	require.NoError(t, err)
	return early, late, written
}

// A tag stays whose manifest, linked among the layers as registry 2.1.0 did it,
// cannot be read when it is looked at again, or not at all.
func TestRepairKeepsTagOfUnreadable(t *testing.T) {
	for name, path := range map[string]func(pushed) string{
		"Content": func(img pushed) string { return dataPath(img.manifest) },
		"Link":    func(img pushed) string { return layerLink("app", img.manifest) },
	} {
		for from := 1; from <= 4; from++ {
			t.Run(name+"/"+strconv.Itoa(from), func(t *testing.T) {
				s := newLiveStore(t)
				put(t, s.driver, layerLink("app", s.one.manifest), s.one.manifest.String())
				require.NoError(t, s.driver.Delete(t.Context(), revisionLink("app", s.one.manifest)))
				requireSound(t, s.driver)
				before, reads := tree(t, s.driver), 0
				g := &gate{s.driver, func(op, p string) error {
					if p == path(s.one) && op != "stat" {
						if reads++; reads >= from {
							return syscall.EIO
						}
					}
					return nil
				}}
				checkDriver(t, g, storage.CheckOptions{Repair: true})
				require.Equal(t, before, tree(t, s.driver))
			})
		}
	}
}
