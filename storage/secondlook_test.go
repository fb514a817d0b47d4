package storage_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/drivertest"
	"registryfs/storage"
)

// badReads are what a read of a file may be once.
var badReads = map[string]func(content []byte) []byte{
	"flipped": func(p []byte) []byte { p[len(p)/2] ^= 1; return p },
	"short":   func(p []byte) []byte { return p[:len(p)/2] },
	"empty":   func([]byte) []byte { return nil },
	"other":   func([]byte) []byte { return []byte(digest.FromBytes([]byte("other"))) },
}

// misread is d, but for the nth read of a file.
func misread(d driver.Driver, p string, n int64, bad func([]byte) []byte) driver.Driver {
	var reads atomic.Int64
	return drivertest.Hooks{
		Before: func(context.Context, string) error { return nil },
		Read: func(call string, content []byte, err error) ([]byte, error) {
			if len(content) == 0 || !strings.HasSuffix(call, " "+p) || reads.Add(1) != n {
				return content, err
			}
			return bad(content), err
		},
	}.Wrap(d)
}

// What one read said is looked at again before anything is taken away for it.
func TestRepairLooksTwice(t *testing.T) {
	for name, bad := range badReads {
		t.Run(name, func(t *testing.T) {
			s := newCheckedStore(t)
			ageLinks(t, s.dir)
			before := tree(t, s.driver)
			for _, link := range []string{
				currentLink("app", "v1"), currentLink("app", "moved"), currentLink("app", "multi"),
				layerLink("app", s.one.layer), layerLink("app", s.alias), revisionLink("app", s.one.manifest),
			} {
				checkDriver(t, misread(s.driver, link, 1, bad), storage.CheckOptions{Repair: true})
				require.Equal(t, before, tree(t, s.driver), link)
			}
		})
	}
}

// A manifest does not go from under a tag that was misread.
func TestDeleteLooksTwice(t *testing.T) {
	for name, bad := range badReads {
		t.Run(name, func(t *testing.T) {
			for n := int64(1); n <= 2; n++ {
				s := newCheckedStore(t)
				reg := openRegistry(t, misread(s.driver, currentLink("app", "moved"), n, bad), storage.Options{AllowDelete: true})
				require.NoError(t, repository(t, reg, "app").Manifests().Delete(t.Context(), s.three.manifest))
				_, err := repository(t, again(t, s.driver), "app").Tags().Get(t.Context(), "moved")
				require.ErrorIs(t, err, storage.ErrTagUnknown)
			}
		})
	}
}

// Nor from under one that cannot be read and may name it, as one that never did
// cannot.
func TestDeleteBesideTagThatCannotBeRead(t *testing.T) {
	s := newCheckedStore(t)
	ageLinks(t, s.dir)
	put(t, s.driver, currentLink("app", "moved"), "garbage")
	manifests := repository(t, openRegistry(t, s.driver, storage.Options{AllowDelete: true}), "app").Manifests()
	for _, once := range []digest.Digest{s.three.manifest, s.two.manifest} {
		require.Error(t, manifests.Delete(t.Context(), once))
		_, err := manifests.Stat(t.Context(), once)
		require.NoError(t, err)
	}
	require.ErrorIs(t, manifests.Delete(t.Context(), s.three.manifest), storage.ErrCorrupt)
	require.NoError(t, manifests.Delete(t.Context(), s.index))
	require.NoError(t, manifests.Delete(t.Context(), s.one.manifest))
}

// A collection that only looks passes over a tag that is finished meanwhile.
func TestCollectWhileTagIsMade(t *testing.T) {
	s := newCheckedStore(t)
	const made = "/registryfs/staging/made"
	put(t, s.driver, made+"/current/link", s.one.manifest.String())
	finished := drivertest.Hooks{Before: func(ctx context.Context, call string) error {
		if call != "list "+made {
			return nil
		}
		return s.driver.Delete(ctx, made)
	}}.Wrap(s.driver)
	_, err := openRegistry(t, finished, storage.Options{}).(storage.Collector).Collect(t.Context(), storage.CollectOptions{DryRun: true}, nil)
	require.NoError(t, err)
}
