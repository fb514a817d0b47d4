package fsmount

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/driver/memdriver"
	"registryfs/storage"
)

func TestIndexesAreKeptUntilSomethingChanges(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Hour} {
		t.Run(timeout.String(), func(t *testing.T) {
			reg, err := storage.Open(t.Context(), memdriver.New(), storage.Options{Create: true, AllowDelete: true})
			require.NoError(t, err)
			f := newFileSystem("/mnt/reg", reg, Options{AttrTimeout: timeout})
			_, image := f.putImage(t, "app", "v1")
			_, other := f.putImage(t, "app", "v2")
			index := func() string {
				i, err := f.layoutIndex(t.Context(), "app")
				require.NoError(t, err)
				return string(i.payload)
			}
			repo := f.repository(t, "app")
			seen := map[string]bool{}
			for _, change := range []func() error{
				func() error { return nil },
				func() error { return repo.Tags().Tag(t.Context(), "v1", other) },
				func() error { return repo.Tags().Rename(t.Context(), "v1", "v3") },
				func() error { return repo.Tags().Untag(t.Context(), "v3") },
				func() error { return repo.Manifests().Delete(t.Context(), other) },
				func() error { return repo.Manifests().Delete(t.Context(), image, storage.UnlessTagged()) },
				func() error { f.putImage(t, "app", "v4"); return nil },
			} {
				require.NoError(t, change())
				payload := index()
				require.False(t, seen[payload], "what this mount changes is seen at once")
				seen[payload] = true
				require.Equal(t, payload, index())
			}

			// Another writer on the store.
			theirs, err := reg.Repository("app")
			require.NoError(t, err)
			require.NoError(t, theirs.Tags().Untag(t.Context(), "v4"))
			if timeout == 0 {
				require.False(t, seen[index()], "what others change is seen at once where nothing may be kept")
			}
		})
	}
}

func TestIndexesThatAreKeptAreBounded(t *testing.T) {
	kept := newLayoutIndexes()
	for n := range 3 * maxIndexesKept {
		kept.put(fmt.Sprint(n), &layoutIndex{payload: make([]byte, 10), made: time.Now()})
		require.LessOrEqual(t, len(kept.of), maxIndexesKept)
		require.Equal(t, 10*len(kept.of), kept.size)
	}
	large := make([]byte, maxIndexBytes/2+1)
	for n := range 3 {
		kept.put(fmt.Sprint("large", n), &layoutIndex{payload: large, made: time.Now()})
		require.LessOrEqual(t, kept.size, maxIndexBytes)
	}
	kept.put("large0", &layoutIndex{payload: large[:1], made: time.Now()})
	kept.put("large0", &layoutIndex{payload: large[:1], made: time.Now()})
	require.NotNil(t, kept.get("large0", 0, time.Hour))
	require.Nil(t, kept.get("large0", 1, time.Hour))
	require.Nil(t, kept.get("large0", 0, 0))
}
