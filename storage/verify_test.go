package storage_test

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// open opens a blob for the length of a test.
func open(t *testing.T, repo storage.Repository, d digest.Digest) storage.Blob {
	t.Helper()
	blob, err := repo.Blobs().Open(t.Context(), d)
	require.NoError(t, err)
	t.Cleanup(func() { _ = blob.Close() })
	return blob
}

// stored is a registry that knows nothing yet of the blob in its store.
func stored(t *testing.T, d driver.Driver, content []byte) (*tap, storage.Repository, digest.Digest) {
	t.Helper()
	which := putBlob(t, repository(t, create(t, d), "app"), content)
	tapped := &tap{Driver: d}
	return tapped, repository(t, again(t, tapped), "app"), which
}

func TestVerifyOnce(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(3<<20 + 1)
		tapped, repo, which := stored(t, d, content)
		count := tapped.count(dataPath(which))
		for pass := range int64(2) {
			for range 5 {
				open(t, repo, which)
				require.Equal(t, (pass+1)*int64(len(content)), count.bytes.Load(), "one pass, and not a byte more")
			}
			// Written to, though the bytes are the same: nothing is known of it.
			overwrite(t, d, dataPath(which), 0, content[:1])
		}
	})
}

// What this process wrote in order was hashed on its way.
func TestVerifyNotOwnContent(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		tapped := &tap{Driver: d}
		repo := repository(t, create(t, tapped), "app")
		content := noise(1 << 20)
		var reads atomic.Int64
		tapped.reading = func(path string) {
			if path == dataPath(digest.FromBytes(content)) {
				reads.Add(1)
			}
		}
		open(t, repo, putBlob(t, repo, content))
		require.Zero(t, reads.Load())
	})
}

// Many who open a blob at once share one pass.
func TestVerifyTogether(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		const openers = 32
		content := noise(3 << 20)
		tapped, repo, which := stored(t, d, content)
		count := tapped.count(dataPath(which))
		// The pass begins to read when all have opened the file, and it too.
		all := make(chan struct{})
		countOpen := tapped.opening
		tapped.opening = func(path string) {
			countOpen(path)
			if count.opens.Load() == 2*openers+1 { // each looks first whether it is small
				close(all)
			}
		}
		tapped.reading = func(path string) {
			if path == dataPath(which) {
				<-all
			}
		}
		var wg sync.WaitGroup
		for range openers {
			wg.Go(func() {
				blob, err := repo.Blobs().Open(t.Context(), which)
				if assert.NoError(t, err) {
					assert.NoError(t, blob.Close())
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, len(content), count.bytes.Load())
	})
}

func TestVerifyStopsWhenNobodyWaits(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(8 << 20)
		tapped, repo, which := stored(t, d, content)
		count := tapped.count(dataPath(which))
		began, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
		var once sync.Once
		tapped.reading = func(path string) {
			if path == dataPath(which) {
				once.Do(func() { close(began); <-release })
			}
		}
		tapped.closed = func(string) { ended <- struct{}{} }

		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- second(repo.Blobs().Open(ctx, which)) }()
		<-began
		cancel()
		require.ErrorIs(t, <-result, context.Canceled, "it does not wait for the pass")
		<-ended // the file of who opened
		close(release)
		<-ended // the file of the pass
		require.Less(t, count.bytes.Load(), int64(len(content)), "the pass went on for nobody")

		// Whoever comes later gets a pass of its own.
		open(t, repo, which)
	})
}

func TestVerifyGoesOnForOthers(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		tapped, repo, which := stored(t, d, noise(8<<20))
		began, release, opened := make(chan struct{}), make(chan struct{}), make(chan struct{}, 8)
		var once sync.Once
		tapped.reading = func(path string) {
			if path == dataPath(which) {
				once.Do(func() { close(began); <-release })
			}
		}
		tapped.opening = func(path string) {
			if path == dataPath(which) {
				opened <- struct{}{}
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		first, other := make(chan error, 1), make(chan error, 1)
		go func() { first <- second(repo.Blobs().Open(ctx, which)) }()
		<-began
		go func() {
			blob, err := repo.Blobs().Open(t.Context(), which)
			if err == nil {
				err = blob.Close()
			}
			other <- err
		}()
		for range 5 { // the two, who look first whether it is small, and the pass
			<-opened
		}
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		close(release)
		require.NoError(t, <-other)
	})
}

func TestVerifyFailureIsShared(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		_, repo, which := stored(t, d, noise(1<<20))
		overwrite(t, d, dataPath(which), 1000, []byte("XXXX"))
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				assert.ErrorIs(t, second(repo.Blobs().Open(t.Context(), which)), storage.ErrCorrupt)
			})
		}
		wg.Wait()
	})
}

// A blob that is open is not believed for ever.
func TestVerifyWhileOpen(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(100_000)
		_, repo, which := stored(t, d, content)
		blob := open(t, repo, which)
		p := make([]byte, 100)
		_, err := blob.ReadAt(p, 500)
		require.NoError(t, err)

		overwrite(t, d, dataPath(which), 90_000, []byte("XXXX"))
		for range 2 {
			// Elsewhere, too: the file as a whole is not what it was.
			for i := range p {
				p[i] = 'p'
			}
			n, err := blob.ReadAt(p, 500)
			require.ErrorIs(t, err, storage.ErrCorrupt)
			require.ErrorContains(t, err, dataPath(which))
			require.Zero(t, n)
			require.Equal(t, make([]byte, len(p)), p, "not a byte is handed out")
		}

		overwrite(t, d, dataPath(which), 90_000, content[90_000:90_004])
		got, err := io.ReadAll(io.NewSectionReader(blob, 0, int64(len(content))))
		require.NoError(t, err)
		require.Equal(t, which, digest.FromBytes(got), "good content is good")
	})
}

// Content that is replaced while it is open stays what was opened.
func TestReplaceWhileOpen(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(100_000)
		_, repo, which := stored(t, d, content)
		blob := open(t, repo, which)
		require.NoError(t, d.Delete(t.Context(), dataPath(which)))
		put(t, d, dataPath(which), "other content")
		got, err := io.ReadAll(io.NewSectionReader(blob, 0, int64(len(content))))
		require.NoError(t, err)
		require.Equal(t, which, digest.FromBytes(got))
		require.ErrorIs(t, second(repo.Blobs().Open(t.Context(), which)), storage.ErrCorrupt)
	})
}

// A push that heals content leaves who has the bad one open with an error, not
// with bad bytes.
func TestHealWhileOpen(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(100_000)
		_, repo, which := stored(t, d, content)
		blob := open(t, repo, which)
		overwrite(t, d, dataPath(which), 0, []byte("XXXX"))
		putBlob(t, repo, content)
		_, err := blob.ReadAt(make([]byte, 10), 0)
		require.ErrorIs(t, err, storage.ErrCorrupt)
		require.Equal(t, which, digest.FromBytes(readAll(t, repo, which)))
	})
}

// The time of the last change that a program can set back is not the only one.
func TestVerifySeesThroughOldTimes(t *testing.T) {
	dir := t.TempDir()
	content := noise(100_000)
	_, repo, which := stored(t, openDir(t, dir, filedriver.Options{}), content)
	blob := open(t, repo, which)
	file := dir + dataPath(which)
	var was, is unix.Stat_t
	require.NoError(t, unix.Stat(file, &was))
	modified := time.Unix(was.Mtim.Unix())
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	for is = was; is.Ctim == was.Ctim; { // a clock may tick slowly
		_, err := f.WriteAt([]byte("XXXX"), 50_000)
		require.NoError(t, err)
		require.NoError(t, os.Chtimes(file, modified, modified))
		require.NoError(t, unix.Stat(file, &is))
	}
	require.Equal(t, was.Mtim, is.Mtim)
	require.Equal(t, was.Size, is.Size)
	require.Equal(t, was.Ino, is.Ino)
	require.ErrorIs(t, second(blob.ReadAt(make([]byte, 10), 0)), storage.ErrCorrupt)
	require.ErrorIs(t, second(repo.Blobs().Open(t.Context(), which)), storage.ErrCorrupt)
}

// A backend that cannot tell versions apart is never believed for long.
func TestVerifyWithoutVersions(t *testing.T) {
	inner := memdriver.New()
	content := noise(100_000)
	which := putBlob(t, repository(t, create(t, inner), "app"), content)
	repo := repository(t, again(t, unversioned{inner}), "app")
	blob := open(t, repo, which)
	p := make([]byte, 10)
	_, err := blob.ReadAt(p, 0)
	require.NoError(t, err)
	require.Equal(t, content[:10], p)
	overwrite(t, inner, dataPath(which), 5000, []byte("XXXX"))
	require.ErrorIs(t, second(blob.ReadAt(p, 0)), storage.ErrCorrupt)
	require.ErrorIs(t, second(repo.Blobs().Open(t.Context(), which)), storage.ErrCorrupt)
}

// unversioned is a driver that knows no versions.
type unversioned struct{ driver.Driver }

func (u unversioned) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	info, err := u.Driver.Stat(ctx, path)
	info.Version = ""
	return info, err
}
