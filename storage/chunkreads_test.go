package storage_test

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// stale is a driver whose files never seem to change, as where a clock stands
// still or a disk goes bad.
type stale struct{ driver.Driver }

func (s stale) OpenAt(ctx context.Context, path string) (driver.File, error) {
	f, err := driver.OpenAt(ctx, s.Driver, path)
	if err != nil {
		return nil, err
	}
	return staleFile{f}, nil
}

type staleFile struct{ driver.File }

func (f staleFile) Stat() (driver.FileInfo, error) {
	info, err := f.File.Stat()
	info.Version = "always"
	return info, err
}

// What was verified once is checked again, part by part, when it is read.
func TestReadsAreChecked(t *testing.T) {
	const chunk = 128 << 10
	inner := memdriver.New()
	content := noise(5*chunk + 100)
	which := putBlob(t, repository(t, create(t, inner), "app"), content)
	blob := open(t, repository(t, again(t, stale{inner}), "app"), which)
	for _, at := range []int{0, 1, chunk - 1, chunk, 3*chunk + 5, len(content) - 1} {
		bad := content[at] ^ 1
		overwrite(t, inner, dataPath(which), int64(at), []byte{bad})
		for _, c := range []struct{ off, size int }{{at, 1}, {at / chunk * chunk, chunk}, {0, len(content)}, {max(0, at-chunk), 2*chunk + 1}} {
			p := bytes.Repeat([]byte{'p'}, c.size)
			n, err := blob.ReadAt(p, int64(c.off))
			require.ErrorIs(t, err, storage.ErrCorrupt, "%d bytes at %d", c.size, c.off)
			require.ErrorContains(t, err, dataPath(which))
			require.Zero(t, n)
			require.Equal(t, make([]byte, c.size), p, "not a byte is handed out")
		}
		// The rest is what it was.
		other := (at/chunk + 2) % 5 * chunk
		p := make([]byte, 4096)
		_, err := blob.ReadAt(p, int64(other))
		require.NoError(t, err)
		require.Equal(t, content[other:other+4096], p)
		overwrite(t, inner, dataPath(which), int64(at), content[at:at+1])
	}
	for _, c := range []struct{ off, size int }{{0, len(content)}, {chunk - 10, 20}, {5 * chunk, 200}, {100, 3 * chunk}} {
		p := make([]byte, c.size)
		n, err := blob.ReadAt(p, int64(c.off))
		want := content[c.off:min(c.off+c.size, len(content))]
		require.Equal(t, len(want), n)
		require.True(t, bytes.Equal(want, p[:n]))
		if n < c.size {
			require.ErrorIs(t, err, io.EOF)
		} else {
			require.NoError(t, err)
		}
	}
}

// observer keeps what it is shown.
type observer struct {
	mu      sync.Mutex
	content []byte
	results []error
}

func (o *observer) Verifying(p []byte, off int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if off == int64(len(o.content)) {
		o.content = append(o.content, p...)
	}
}

func (o *observer) Verified(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.results = append(o.results, err)
}

func TestObserverSeesWhatIsVerified(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		for _, size := range []int{0, 1, 1000, storage.MaxResident, storage.MaxResident + 1, 3<<20 + 5} {
			content := noise(size)
			which := putBlob(t, repository(t, create(t, d), "app"), content)
			repo := repository(t, again(t, d), "app")
			var o observer
			blob, err := repo.Blobs().Open(t.Context(), which, storage.Observe(&o))
			require.NoError(t, err)
			require.NoError(t, blob.Close())
			require.Equal(t, which, digest.FromBytes(o.content))
			require.Equal(t, []error{nil}, o.results)
			if size == 0 {
				continue
			}
			overwrite(t, d, dataPath(which), int64(size-1), []byte{content[size-1] ^ 1})
			var bad observer
			_, err = repo.Blobs().Open(t.Context(), which, storage.Observe(&bad))
			require.ErrorIs(t, err, storage.ErrCorrupt)
			for _, err := range bad.results {
				require.ErrorIs(t, err, storage.ErrCorrupt)
			}
		}
	})
}
