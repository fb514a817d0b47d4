package storage_test

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/storage"
	"registryfs/storage/storagetest"
)

// A registry that heeds no locks may write to an upload while it is committed.
func TestUploadIsWrittenToWhileItIsCommitted(t *testing.T) {
	for name, size := range map[string]int{"small": 2_000, "large": 200_000} {
		t.Run(name, func(t *testing.T) {
			dir, content := t.TempDir(), noise(size)
			d := openDir(t, dir, filedriver.Options{})
			u, err := repository(t, create(t, d), "app").Blobs().Create(t.Context())
			require.NoError(t, err)
			_, err = u.Write(content)
			require.NoError(t, err)
			require.NoError(t, u.Close())
			stock, err := os.OpenFile(filepath.Join(dir, repos, "app/_uploads", u.ID(), "data"), os.O_WRONLY, 0)
			require.NoError(t, err)
			defer stock.Close()

			app := repository(t, again(t, &gate{Driver: d, before: func(op, p string) error {
				if op == "movenew" && path.Base(p) == "data" {
					_, err := stock.WriteAt([]byte("what the client sent last"), 1000)
					return err
				}
				return nil
			}}), "app")
			r, err := app.Blobs().Resume(t.Context(), u.ID())
			require.NoError(t, err)
			want := digest.FromBytes(content)
			_, err = r.Commit(t.Context(), storage.Descriptor{Digest: want})
			require.ErrorIs(t, err, storage.ErrDigestMismatch)
			_, err = app.Blobs().Open(t.Context(), want)
			require.ErrorIs(t, err, storage.ErrBlobUnknown)
			require.NoFileExists(t, dir+dataPath(want))
			putBlob(t, app, content)
		})
	}
}

// An upload that is empty because its content has been published is never
// published itself.
func TestNothingIsPublishedForContentThatGoes(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(100_000)
		want := digest.FromBytes(content)
		repo := repository(t, create(t, d), "app")
		u, err := repo.Blobs().Create(t.Context())
		require.NoError(t, err)
		require.NoError(t, u.Close())
		putBlob(t, repo, content)
		for at := 1; ; at++ {
			looks := 0
			app := repository(t, again(t, &gate{Driver: d, before: func(op, p string) error {
				if strings.HasPrefix(p, path.Dir(dataPath(want))) {
					if looks++; looks == at {
						return d.Delete(t.Context(), path.Dir(dataPath(want)))
					}
				}
				return nil
			}}), "app")
			r, err := app.Blobs().Resume(t.Context(), u.ID())
			require.NoError(t, err)
			_, err = r.Commit(t.Context(), storage.Descriptor{Digest: want})
			if looks < at {
				require.NoError(t, err)
				require.Greater(t, at, 2, "it is not looked at")
				return
			}
			if err == nil {
				continue // it was there at the last look
			}
			require.NoError(t, r.Cancel(t.Context()))
			_, err = d.Stat(t.Context(), dataPath(want))
			require.ErrorIs(t, err, driver.ErrNotExist, "look %d", at)
			putBlob(t, repo, content)
			u, err = repo.Blobs().Create(t.Context())
			require.NoError(t, err)
			require.NoError(t, u.Close())
		}
	})
}

// Of two processes that heal the same content neither puts aside what the other
// has put there.
func TestTwoHeal(t *testing.T) {
	killed := errors.New("killed")
	for _, test := range []struct {
		before string // the call before which the other heals
		err    error  // of the other
	}{
		{"stat", nil}, {"openat", nil}, {"lock", nil}, {"move", storage.ErrInUse}, {"movenew", nil},
	} {
		t.Run(test.before, func(t *testing.T) {
			dir, content := storagetest.MemoryDir(t), noise(100_000)
			d := openDir(t, dir, filedriver.Options{})
			want := putBlob(t, repository(t, create(t, d), "app"), content)
			overwrite(t, d, dataPath(want), 5, []byte("rotten"))
			other := repository(t, again(t, openDir(t, dir, filedriver.Options{})), "app")
			met, moved := false, false
			slow := repository(t, again(t, &gate{Driver: d, before: func(op, p string) error {
				if !met && op == test.before && (strings.Contains(p, want.Encoded()) || op == "movenew") {
					met = true
					_, err := other.Blobs().Put(t.Context(), "", content)
					require.ErrorIs(t, err, test.err)
				}
				if moved = moved || op == "movenew"; moved {
					return killed
				}
				return nil
			}}), "app")
			_, err := slow.Blobs().Put(t.Context(), "", content)
			require.True(t, met)
			if moved {
				require.ErrorIs(t, err, killed)
			} else {
				require.NoError(t, err)
			}
			if test.err == nil {
				blob, err := other.Blobs().Open(t.Context(), want)
				require.NoError(t, err, "what the other has healed is gone")
				require.NoError(t, blob.Close())
			}
			putBlob(t, other, content)
		})
	}
}
