package storage_test

import (
	"fmt"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/storage"
)

const trash = "/registryfs/trash"

// What a tag was can be brought back by hand for a day.
func TestTrashKeepsTags(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, create(t, d), "team/app")
		one, two := push(t, repo, "one", "v1"), push(t, repo, "two", "v1")
		require.NoError(t, repo.Tags().Untag(t.Context(), "v1"))
		entries, err := d.List(t.Context(), trash)
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.Regexp(t, `^/registryfs/trash/\d+-\d+-[0-9a-f-]{36}\.[0-9a-f-]{36}$`, entries[0])
		kept := entries[0] + "/team/app/v1"
		files := filesOf(tree(t, d))
		require.Equal(t, two.manifest.String(), files[kept+"/current/link"])
		require.Equal(t, one.manifest.String(), files[path.Join(kept, "index/sha256", one.manifest.Encoded(), "link")])

		require.NoError(t, driver.MoveDir(t.Context(), d, kept, path.Dir(path.Dir(currentLink("team/app", "v1")))))
		tag, err := repo.Tags().Get(t.Context(), "v1")
		require.NoError(t, err)
		require.Equal(t, two.manifest, tag.Digest)
	})
}

func TestTrashIsEmptied(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, create(t, d), "app")
		push(t, repo, "one", "old")
		push(t, repo, "one", "young")
		for tag, age := range map[string]time.Duration{"old": 24*time.Hour + time.Minute, "young": 23 * time.Hour} {
			require.NoError(t, repo.Tags().Untag(t.Context(), tag))
			entries, err := d.List(t.Context(), trash)
			require.NoError(t, err)
			i := slices.IndexFunc(entries, func(entry string) bool {
				_, err := d.Stat(t.Context(), entry+"/app/"+tag)
				return err == nil
			})
			require.NotEqual(t, -1, i)
			aged := fmt.Sprintf("%s/%d-%s", trash, time.Now().Add(-age).Unix(), tag)
			require.NoError(t, driver.MoveDir(t.Context(), d, entries[i], aged))
		}
		put(t, d, trash+"/not-ours/file", "")

		// The first thing that is thrown away by a process makes it look.
		repo = repository(t, again(t, d), "app")
		push(t, repo, "one", "now")
		require.NoError(t, repo.Tags().Untag(t.Context(), "now"))
		entries, err := d.List(t.Context(), trash)
		require.NoError(t, err)
		var left []string
		for _, entry := range entries {
			left = append(left, path.Base(entry))
		}
		require.Len(t, left, 3)
		require.Contains(t, left, "not-ours")
		require.True(t, slices.ContainsFunc(left, func(s string) bool { return s[len(s)-5:] == "young" }), left)
	})
}

// Whoever sets the clock neither shortens nor lengthens the day.
func TestTrashOnceTheClockIsSet(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		create(t, d)
		clock := newClock()
		repo := repository(t, openRegistry(t, d, storage.Options{Clock: clock}), "app")
		entries := func() []string {
			t.Helper()
			push(t, repo, "one", "tag")
			require.NoError(t, repo.Tags().Untag(t.Context(), "tag"))
			entries, err := d.List(t.Context(), trash)
			require.NoError(t, err)
			return entries
		}
		first := entries()
		clock.set(48 * time.Hour)
		clock.pass(2 * time.Hour) // or nobody would look
		require.Len(t, entries(), 2)
		clock.set(-96 * time.Hour)
		clock.pass(23 * time.Hour)
		left := entries()
		require.Len(t, left, 2)
		require.NotContains(t, left, first[0])
	})
}
