package storage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/storage"
)

// collectRefused is a collection that must not remove anything.
func collectRefused(t *testing.T, d driver.Driver, clock storage.Clock, o storage.CollectOptions) {
	t.Helper()
	reg := openRegistry(t, d, storage.Options{Clock: clock})
	before := tree(t, d)
	_, err := reg.(storage.Collector).Collect(t.Context(), o, nil)
	require.ErrorIs(t, err, storage.ErrNoRepositories)
	require.Equal(t, before, tree(t, d))
}

// Where the repositories are not mounted, no content is garbage.
func TestCollectWithoutRepositories(t *testing.T) {
	const removed, elsewhere = repos + "/_removed", "/elsewhere"
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg, clock := create(t, d), newClock()
		remove := func(name string) {
			require.NoError(t, again(t, d).(storage.RepositoryRemover).RemoveRepository(t.Context(), name))
		}
		require.Empty(t, collect(t, reg, now).things, "there is nothing to lose")
		for _, name := range []string{"a", "b", "b/c"} {
			push(t, repository(t, reg, name), name, "v1")
		}
		_, end := exclusive(t, d, clock)
		garbage := putBlob(t, repository(t, reg, "a"), []byte("garbage"))
		require.Equal(t, 1, collectOnline(t, d, clock, online).Aside.Blobs)
		end()

		unmounted := func(t *testing.T) {
			t.Helper()
			require.NoError(t, driver.MoveDir(t.Context(), d, repos, elsewhere))
			for range 2 { // missing, and empty
				for _, o := range []storage.CollectOptions{now, nowUntagged, {DryRun: true}} {
					collectRefused(t, d, clock, o)
				}
				_, end := exclusive(t, d, clock)
				clock.pass(72 * time.Hour)
				collectRefused(t, d, clock, online)
				end()
				put(t, d, repos+"/README", "no repository")
			}
			require.NoError(t, d.Delete(t.Context(), repos))
			require.NoError(t, driver.MoveDir(t.Context(), d, elsewhere, repos))
		}
		unmounted(t)

		// The sign of a removal goes with the next collection, and while it is
		// there it is where the repositories are.
		remove("b")
		require.Contains(t, tree(t, d), removed+"/")
		unmounted(t)
		requireSound(t, d)
		findings, _ := checkDriver(t, d, storage.CheckOptions{Repair: true})
		for _, f := range findings {
			require.Equal(t, storage.FindingLeftover, f.Kind, "%v", f)
		}
		require.Equal(t, []string{"a", "b/c"}, names(t, again(t, d)))
		collect(t, again(t, d), storage.CollectOptions{DryRun: true})
		require.Contains(t, tree(t, d), removed+"/")
		collect(t, again(t, d), now)
		require.NotContains(t, tree(t, d), removed+"/")
		require.NotContains(t, tree(t, d), dataPath(garbage))
		unmounted(t)

		// All were removed, long before.
		remove("b/c")
		remove("a")
		clock.pass(72 * time.Hour)
		require.Equal(t, 6, collect(t, openRegistry(t, d, storage.Options{Clock: clock, ReadOnly: true}), storage.CollectOptions{DryRun: true}).Blobs)
		_, end = exclusive(t, d, clock)
		require.Equal(t, 6, collectOnline(t, d, clock, online).Aside.Blobs)
		end()
		collect(t, openRegistry(t, d, storage.Options{Clock: clock}), storage.CollectOptions{Offline: true})
		for p := range tree(t, d) {
			require.NotRegexp(t, "/data$", p)
		}
	})
}
