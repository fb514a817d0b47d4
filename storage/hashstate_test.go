package storage_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// closedUpload is an upload that was closed, as another process finds it.
func closedUpload(t *testing.T, d driver.Driver, content []byte) (tapped *tap, repo storage.Repository, id string) {
	t.Helper()
	u, err := repository(t, create(t, d), "app").Blobs().Create(t.Context())
	require.NoError(t, err)
	_, err = u.Write(content)
	require.NoError(t, err)
	require.NoError(t, u.Close())
	tapped = &tap{Driver: d}
	return tapped, repository(t, again(t, tapped), "app"), u.ID()
}

func TestHashStateSparesAPass(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(2 << 20)
		tapped, repo, id := closedUpload(t, d, content[:1<<20])
		count := tapped.count(repos + "/app/_uploads/" + id + "/data")
		u, err := repo.Blobs().Resume(t.Context(), id)
		require.NoError(t, err)
		_, err = u.Write(content[1<<20:])
		require.NoError(t, err)
		_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes(content)})
		require.NoError(t, err)
		require.Zero(t, count.bytes.Load(), "what was hashed before is not read again")
		require.Empty(t, namesBelow(t, d, "/registryfs/uploads"))
	})
}

// A record that is longer than any of ours is not read.
func TestRecordOfStateIsLimited(t *testing.T) {
	const longest = 1024 // bytes
	for size, isTrusted := range map[int]bool{longest: true, longest + 1: false} {
		d := memdriver.New()
		tapped, repo, id := closedUpload(t, d, noise(1<<20))
		record, err := d.GetContent(t.Context(), "/registryfs/uploads/"+id)
		require.NoError(t, err)
		put(t, d, "/registryfs/uploads/"+id, string(record)+strings.Repeat(" ", size-len(record)))
		count := tapped.count(repos + "/app/_uploads/" + id + "/data")
		u, err := repo.Blobs().Resume(t.Context(), id)
		require.NoError(t, err)
		_, err = u.Digest(t.Context())
		require.NoError(t, err)
		require.Equal(t, isTrusted, count.bytes.Load() == 0, "%d bytes", size)
		require.NoError(t, u.Cancel(t.Context()))
	}
}

// A state is believed only of the very bytes that it was left for: a wrong one
// would put wrong bytes under a valid digest.
func TestHashStateNotTrusted(t *testing.T) {
	const data, state = "/data", "/hashstates/sha256/10000"
	other := noise(20_000)[10_000:]
	for name, change := range map[string]func(t *testing.T, d driver.Driver, dir, record string){
		"DataWritten": func(t *testing.T, d driver.Driver, dir, _ string) { overwrite(t, d, dir+data, 0, []byte("XXXX")) },
		"DataReplaced": func(t *testing.T, d driver.Driver, dir, _ string) {
			put(t, d, dir+data, string(other))
		},
		"DataLonger":  func(t *testing.T, d driver.Driver, dir, _ string) { truncate(t, d, dir+data, 20_000) },
		"DataShorter": func(t *testing.T, d driver.Driver, dir, _ string) { truncate(t, d, dir+data, 5_000) },
		"StateOfOther": func(t *testing.T, d driver.Driver, dir, _ string) {
			h, err := digest.NewDigester(digest.SHA256)
			require.NoError(t, err)
			_, err = h.Write(other)
			require.NoError(t, err)
			p, err := h.MarshalBinary()
			require.NoError(t, err)
			put(t, d, dir+state, string(p))
		},
		"StateGarbage": func(t *testing.T, d driver.Driver, dir, _ string) { put(t, d, dir+state, "garbage") },
		"StateHuge":    func(t *testing.T, d driver.Driver, dir, _ string) { truncate(t, d, dir+state, 1<<30) },
		"StateMissing": func(t *testing.T, d driver.Driver, dir, _ string) {
			require.NoError(t, d.Delete(t.Context(), dir+state))
		},
		"RecordMissing": func(t *testing.T, d driver.Driver, _, record string) {
			require.NoError(t, d.Delete(t.Context(), record))
		},
		"RecordGarbage":  func(t *testing.T, d driver.Driver, _, record string) { put(t, d, record, "garbage") },
		"RecordEmpty":    func(t *testing.T, d driver.Driver, _, record string) { put(t, d, record, "") },
		"RecordNegative": func(t *testing.T, d driver.Driver, _, record string) { put(t, d, record, `{"offset":-1}`) },
		"RecordHuge":     func(t *testing.T, d driver.Driver, _, record string) { truncate(t, d, record, 1<<30) },
		"RecordOfNoFile": func(t *testing.T, d driver.Driver, _, record string) { put(t, d, record+"/dir", "") },
	} {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				_, repo, id := closedUpload(t, d, noise(10_000))
				dir, record := repos+"/app/_uploads/"+id, "/registryfs/uploads/"+id
				if strings.HasPrefix(name, "RecordOf") {
					require.NoError(t, d.Delete(t.Context(), record))
				}
				change(t, d, dir, record)
				u, err := repo.Blobs().Resume(t.Context(), id)
				require.NoError(t, err)
				_, err = u.Write([]byte("more"))
				require.NoError(t, err)
				now, err := d.GetContent(t.Context(), dir+data)
				require.NoError(t, err)
				got, err := u.Digest(t.Context())
				require.NoError(t, err)
				require.Equal(t, digest.FromBytes(now), got)
				require.NoError(t, u.Cancel(t.Context()))
			})
		})
	}
}

// Nobody writes to an upload before its state is recorded: else the record
// would be of bytes that the state does not stand for.
func TestHashStateIsExclusive(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		tapped := &tap{Driver: d}
		u, err := repository(t, create(t, tapped), "app").Blobs().Create(t.Context())
		require.NoError(t, err)
		_, err = u.Write([]byte("content"))
		require.NoError(t, err)
		other := repository(t, again(t, d), "app")
		tries := 0
		tapped.changed = func(op, p string) {
			tries++
			_, err := other.Blobs().Resume(t.Context(), u.ID())
			require.ErrorIs(t, err, storage.ErrUploadBusy, "after %s of %s", op, p)
		}
		require.NoError(t, u.Close())
		require.Equal(t, 2, tries, "the state, and the record of it")
		resumed, err := other.Blobs().Resume(t.Context(), u.ID())
		require.NoError(t, err)
		require.NoError(t, resumed.Cancel(t.Context()))
	})
}

func namesBelow(t *testing.T, d driver.Driver, dir string) []string {
	t.Helper()
	names, err := d.List(t.Context(), dir)
	if err != nil {
		require.ErrorIs(t, err, driver.ErrNotExist)
	}
	return names
}
