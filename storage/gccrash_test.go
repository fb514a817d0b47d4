package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

var errHalted = errors.New("stopped")

// stopping is a driver that fails at one of its calls, from 1, and, as one whose
// process has died, at all that follow, unless it fails only once. Nothing may be
// written to it. calls counts.
func stopping(ctx context.Context, d driver.Driver, at int, once bool) (s *gate, calls *int) {
	calls = new(int)
	return &gate{Driver: d, before: func(op, p string) error {
		switch op {
		case "put", "writer", "move", "movenew":
			return errors.New("something is written")
		}
		*calls++
		if *calls == at && op == "delete" { // it has removed a file, but not its directory
			for _, name := range []string{"link", "data"} {
				_ = d.Delete(ctx, path.Join(p, name))
			}
		}
		if *calls == at || at > 0 && *calls > at && !once {
			return errHalted
		}
		return nil
	}}, calls
}

// fillForCollection makes a store with something of every kind to remove and
// to keep.
func fillForCollection(t *testing.T, d driver.Driver) {
	t.Helper()
	reg := create(t, d)
	repo, other := repository(t, reg, "team/app"), repository(t, reg, "team/app/nested")
	img := push(t, repo, "kept", "v1")
	pushReferrer(t, repo, "signature", img.manifest)
	old := push(t, repo, "old", "")
	pushIndex(t, repo, img, pushed{manifest: pushIndex(t, repo, old), payload: []byte("…")})
	pushReferrer(t, repo, "signature of old", old.manifest)
	require.NoError(t, repo.Tags().Tag(t.Context(), "index", pushIndex(t, repo, img)))
	_, err := other.Manifests().Mount(t.Context(), repo, img.manifest)
	require.NoError(t, err)
	require.NoError(t, other.Tags().Tag(t.Context(), "v1", img.manifest))
	b := putBlob(t, other, []byte("garbage"))
	put(t, d, layerLink("team/app/nested", digest.SHA512.FromBytes([]byte("garbage"))), b.String())
}

// Wherever a collection is stopped, what is left is whole, and the next one
// comes to the same end as one that was not stopped.
func TestCollectStoppedAnywhere(t *testing.T) {
	uninterrupted := memdriver.New()
	fillForCollection(t, uninterrupted)
	full, calls := stopping(t.Context(), uninterrupted, 0, false)
	require.NotEmpty(t, collect(t, again(t, full), nowUntagged).gone())
	want := tree(t, uninterrupted)
	for _, once := range []bool{false, true} {
		stopped := 0
		for n := 1; n <= *calls; n++ {
			d := memdriver.New()
			fillForCollection(t, d)
			s, _ := stopping(t.Context(), d, n, once)
			opened, err := storage.Open(t.Context(), s, storage.Options{})
			if err == nil {
				var summary storage.CollectSummary
				summary, err = opened.(storage.Collector).Collect(t.Context(), nowUntagged, nil)
				if err == nil && summary.Damage == 0 { // no call that matters
					require.Equal(t, want, tree(t, d), "call %d fails unseen", n)
				}
			}
			if err != nil {
				require.ErrorIs(t, err, errHalted)
				stopped++
			}
			checkWhole(t, again(t, d))
			collect(t, again(t, d), nowUntagged)
			require.Equal(t, want, tree(t, d), "after a stop at call %d", n)
		}
		require.NotZero(t, stopped)
		t.Logf("stopped at each of %d calls, %d times with an error", *calls, stopped)
	}
}

// On a disk without room there is room again after one run.
func TestCollectOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		require.Fail(t, "this test mounts a file system, and needs root for it")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,nr_inodes=200"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	d := openDir(t, dir, filedriver.Options{})
	repo := repository(t, create(t, d), "app")
	push(t, repo, "kept", "v1")
	garbage := putBlob(t, repo, noise(1<<20))
	for i := 0; ; i++ { // no room for bytes, nor for files
		err := os.WriteFile(fmt.Sprintf("%s/fill%d", dir, i), noise(64<<10), 0o644)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		require.NoError(t, err)
	}
	for i := 0; ; i++ {
		f, err := os.Create(fmt.Sprintf("%s/empty%d", dir, i))
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	_, err := repo.Blobs().Put(t.Context(), "", []byte("no room"))
	require.ErrorIs(t, err, syscall.ENOSPC)

	done := collect(t, again(t, d), now)
	require.Equal(t, goneLines("app", nil, []digest.Digest{garbage}, []digest.Digest{garbage}), done.gone())
	require.EqualValues(t, 1<<20, done.Bytes)
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	require.GreaterOrEqual(t, st.Bavail*uint64(st.Bsize), uint64(1<<20))
	files, err := filepath.Glob(dir + "/empty*")
	require.NoError(t, err)
	for _, file := range files {
		require.NoError(t, os.Remove(file))
	}
	putBlob(t, repo, []byte("room"))
	checkWhole(t, again(t, d))
}
