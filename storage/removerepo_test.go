package storage_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

func names(t *testing.T, reg storage.Registry) []string {
	t.Helper()
	var all []string
	require.NoError(t, storage.Walk(t.Context(), reg, func(name string) error {
		all = append(all, name)
		return nil
	}))
	return all
}

func TestRemoveRepository(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		remove := reg.(storage.RepositoryRemover).RemoveRepository
		for _, name := range []string{"team/app", "team/app/nested", "other"} {
			repo := repository(t, reg, name)
			push(t, repo, "shared", "v1")
			push(t, repo, "own of "+name, "v2")
			u, err := repo.Blobs().Create(t.Context())
			require.NoError(t, err)
			require.NoError(t, second(u.Write([]byte("unfinished"))))
			require.NoError(t, u.Close())
		}
		for name, want := range map[string]error{
			"absent": storage.ErrRepositoryUnknown, "team": storage.ErrRepositoryUnknown, "team/app/x": storage.ErrRepositoryUnknown,
			"": storage.ErrNameInvalid, "..": storage.ErrNameInvalid, "team/app/_layers": storage.ErrNameInvalid, "Team": storage.ErrNameInvalid,
		} {
			require.ErrorIs(t, remove(t.Context(), name), want, name)
		}
		readOnly := openRegistry(t, d, storage.Options{ReadOnly: true})
		require.ErrorIs(t, readOnly.(storage.RepositoryRemover).RemoveRepository(t.Context(), "other"), storage.ErrReadOnly)
		require.Equal(t, []string{"other", "team/app", "team/app/nested"}, names(t, reg))

		require.NoError(t, remove(t.Context(), "team/app"), "with another below it")
		require.Equal(t, []string{"other", "team/app/nested"}, names(t, again(t, d)))
		require.NoError(t, remove(t.Context(), "other"), "with none")
		require.Equal(t, []string{"team/app/nested"}, names(t, again(t, d)))
		require.ErrorIs(t, remove(t.Context(), "other"), storage.ErrRepositoryUnknown)
		checkWhole(t, again(t, d))
		left := 0
		for p, content := range filesOf(tree(t, d)) {
			require.True(t, content != "unfinished" || strings.HasPrefix(p, repos+"/team/app/nested/"), p)
			if strings.HasPrefix(p, trash) && strings.HasSuffix(p, "/_manifests/tags/v2/current/link") ||
				strings.HasPrefix(p, trash) && strings.HasSuffix(p, "/team/app/_manifests/tags/v2/current/link") {
				left++
			}
		}
		require.Equal(t, 2, left, "the tags can be brought back for a day")

		done := collect(t, again(t, d), now)
		require.Equal(t, 6, done.Blobs, "what only they needed: three blobs each")
		checkWhole(t, again(t, d))
		push(t, repository(t, reg, "other"), "again", "v1")
		checkWhole(t, again(t, d))
	})
}

// Wherever a removal is stopped, what is left is whole and can be removed.
func TestRemoveRepositoryStoppedAnywhere(t *testing.T) {
	for name, nested := range map[string][]string{"Alone": nil, "AboveAnother": {"app/nested"}} {
		t.Run(name, func(t *testing.T) {
			visited := 0
			for n := 1; ; n++ {
				d := memdriver.New()
				reg := create(t, d)
				for _, name := range append([]string{"app"}, nested...) {
					repo := repository(t, reg, name)
					img := push(t, repo, "one", "v1")
					require.NoError(t, repo.Tags().Tag(t.Context(), "index", pushIndex(t, repo, img)))
				}
				require.NoError(t, second(repository(t, reg, "app").Blobs().Create(t.Context())))
				s, calls := stopping(t.Context(), d, n, false)
				stopped, err := storage.Open(t.Context(), s, storage.Options{})
				if err == nil {
					err = stopped.(storage.RepositoryRemover).RemoveRepository(t.Context(), "app")
				}
				checkWhole(t, again(t, d))
				for _, name := range names(t, again(t, d)) {
					require.NoError(t, second(d.Stat(t.Context(), repos+"/"+name+"/_layers")), "stock registries fail over %s", name)
				}
				if err == nil {
					require.Less(t, *calls, n)
					break
				}
				require.ErrorIs(t, err, errHalted)
				visited++
				err = again(t, d).(storage.RepositoryRemover).RemoveRepository(t.Context(), "app")
				require.True(t, err == nil || errors.Is(err, storage.ErrRepositoryUnknown), err)
				require.ElementsMatch(t, nested, names(t, again(t, d)))
			}
			require.Greater(t, visited, 3)
			t.Logf("stopped at each of %d calls", visited)
		})
	}
}
