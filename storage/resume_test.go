package storage_test

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/drivertest"
	"registryfs/driver/filedriver"
	"registryfs/storage"
)

// stateOf is the state of SHA-256 after content, as a stock registry stores it.
func stateOf(t *testing.T, content []byte) string {
	t.Helper()
	h := sha256.New()
	_, err := h.Write(content)
	require.NoError(t, err)
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	require.NoError(t, err)
	return string(state)
}

// Bytes beyond those that the state stands for are hashed, and no others.
func TestHashStateSparesAllButTheGap(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		const hashed, gap = 2 << 20, 300_000
		content := noise(hashed + gap)
		u, err := repository(t, create(t, d), "app").Blobs().Create(t.Context())
		require.NoError(t, err)
		_, err = u.WriteAt(content[hashed:], hashed) // the end comes first
		require.NoError(t, err)
		_, err = u.WriteAt(content[:hashed], 0)
		require.NoError(t, err)
		require.NoError(t, u.Close())
		require.Equal(t, stateOf(t, content[:hashed]),
			tree(t, d)[path.Join(repos, "app/_uploads", u.ID(), "hashstates/sha256", strconv.Itoa(hashed))])

		tapped := &tap{Driver: d}
		repo := repository(t, again(t, tapped), "app")
		count := tapped.count(path.Join(repos, "app/_uploads", u.ID(), "data"))
		u, err = repo.Blobs().Resume(t.Context(), u.ID())
		require.NoError(t, err)
		got, err := u.Digest(t.Context())
		require.NoError(t, err)
		require.Equal(t, digest.FromBytes(content), got)
		require.EqualValues(t, gap, count.bytes.Load())
		_, err = u.Commit(t.Context(), storage.Descriptor{Digest: got})
		require.NoError(t, err)
		require.EqualValues(t, gap, count.bytes.Load())
	})
}

// A state spares a pass over and over, in whatever pieces content comes.
func TestHashStateOfPieces(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(500_000)
		u, err := repository(t, create(t, d), "app").Blobs().Create(t.Context())
		require.NoError(t, err)
		id := u.ID()
		tapped := &tap{Driver: d}
		count := tapped.count(path.Join(repos, "app/_uploads", id, "data"))
		for off := 0; off < len(content); off += 99_999 {
			_, err = u.Write(content[off:min(off+99_999, len(content))])
			require.NoError(t, err)
			require.NoError(t, u.Close())
			u, err = repository(t, again(t, tapped), "app").Blobs().Resume(t.Context(), id)
			require.NoError(t, err)
		}
		_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes(content)})
		require.NoError(t, err)
		require.Zero(t, count.bytes.Load())
	})
}

// Times can be set back, but that shows.
func TestHashStateDataChangedUnderOldTimes(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir, filedriver.Options{})
	content := noise(100_000)
	tapped, repo, id := closedUpload(t, d, content)
	data := path.Join(repos, "app/_uploads", id, "data")
	info, err := os.Stat(dir + data)
	require.NoError(t, err)
	changed := append([]byte("XXXX"), content[4:]...)
	f, err := os.OpenFile(dir+data, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(changed[:4], 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.Chtimes(dir+data, info.ModTime(), info.ModTime()))

	count := tapped.count(data)
	u, err := repo.Blobs().Resume(t.Context(), id)
	require.NoError(t, err)
	_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes(content)})
	require.ErrorIs(t, err, storage.ErrDigestMismatch)
	require.EqualValues(t, len(content), count.bytes.Load(), "everything is hashed again")
	_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes(changed)})
	require.NoError(t, err)
	require.Equal(t, changed, readAll(t, repo, digest.FromBytes(changed)))
}

// Records that are of the data as it is, and yet do not tell the truth.
func TestHashStateRecordForged(t *testing.T) {
	content := noise(10_000)
	for name, forge := range map[string]func(record map[string]any){
		"NoOffset":        func(r map[string]any) { delete(r, "offset") },
		"OffsetZero":      func(r map[string]any) { r["offset"] = 0 },
		"OffsetLower":     func(r map[string]any) { r["offset"] = 5_000 },
		"OffsetHigher":    func(r map[string]any) { r["offset"] = 10_001 },
		"OffsetHuge":      func(r map[string]any) { r["offset"] = int64(1) << 62 },
		"OffsetTooHuge":   func(r map[string]any) { r["offset"] = "1e30" },
		"OffsetText":      func(r map[string]any) { r["offset"] = "../../../x" },
		"NoState":         func(r map[string]any) { delete(r, "state") },
		"OtherState":      func(r map[string]any) { r["state"] = digest.FromBytes([]byte("other")) },
		"NoVersion":       func(r map[string]any) { delete(r, "version") },
		"EmptyVersion":    func(r map[string]any) { r["version"] = "" },
		"OtherVersion":    func(r map[string]any) { r["version"] = "1.2.3.4" },
		"VersionOfNumber": func(r map[string]any) { r["version"] = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				tapped, repo, id := closedUpload(t, d, content)
				at := "/registryfs/uploads/" + id
				var record map[string]any
				require.NoError(t, json.Unmarshal([]byte(tree(t, d)[at]), &record))
				require.NotEmpty(t, record["version"])
				forge(record)
				forged, err := json.Marshal(record)
				require.NoError(t, err)
				put(t, d, at, string(forged))

				count := tapped.count(path.Join(repos, "app/_uploads", id, "data"))
				u, err := repo.Blobs().Resume(t.Context(), id)
				require.NoError(t, err)
				got, err := u.Digest(t.Context())
				require.NoError(t, err)
				require.Equal(t, digest.FromBytes(content), got)
				require.EqualValues(t, len(content), count.bytes.Load(), "everything is hashed again")
				require.NoError(t, u.Cancel(t.Context()))
			})
		})
	}
}

// Stock registries trust a state by its offset alone, so none may lie beside
// other bytes than those it stands for, at no moment: the process may end there.
func TestHashStatesTellTheTruth(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, create(t, d), "app")
		u, err := repo.Blobs().Create(t.Context())
		require.NoError(t, err)
		id, found := u.ID(), 0
		check := func(step string) {
			dir := path.Join(repos, "app/_uploads", id)
			all := filesOf(tree(t, d))
			for p, state := range all {
				text, ok := strings.CutPrefix(p, dir+"/hashstates/sha256/")
				if !ok {
					continue
				}
				found++
				offset, err := strconv.ParseInt(text, 10, 64)
				require.NoError(t, err)
				require.LessOrEqual(t, offset, int64(len(all[dir+"/data"])), "after %s", step)
				require.Equal(t, stateOf(t, []byte(all[dir+"/data"][:offset])), state, "after %s", step)
			}
		}
		write := func(p string) error { _, err := u.Write([]byte(p)); return err }
		writeAt := func(p string, off int64) error { _, err := u.WriteAt([]byte(p), off); return err }
		seek := func(off int64) error { _, err := u.Seek(off, io.SeekStart); return err }
		closeAndResume := func() error {
			require.NoError(t, u.Close())
			check("close")
			u, err = repo.Blobs().Resume(t.Context(), id)
			return err
		}
		for _, s := range []struct {
			name string
			do   func() error
		}{
			{"write", func() error { return write("aaaaaaaaaa") }},
			{"resume", closeAndResume},
			{"rewrite", func() error { return writeAt("bbbb", 0) }},
			{"resume after rewrite", closeAndResume},
			{"append", func() error { return write("cccc") }},
			{"resume after append", closeAndResume},
			{"shrink", func() error { return u.Truncate(5) }},
			{"write after shrink", func() error { return write("ddddddddd") }},
			{"resume after shrink", closeAndResume},
			{"digest", func() error { _, err := u.Digest(t.Context()); return err }},
			{"resume after digest", closeAndResume},
			{"seek", func() error { return seek(3) }},
			{"write after seek", func() error { return write("ee") }},
			{"resume after seek", closeAndResume},
			{"empty", func() error { return u.Truncate(0) }},
			{"write from the start", func() error { return write("ffffffffffffff") }},
			{"last resume", closeAndResume},
		} {
			require.NoError(t, s.do(), s.name)
			check(s.name)
		}
		require.GreaterOrEqual(t, found, 3, "states are left")
		_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes([]byte("ffffffffffffff"))})
		require.NoError(t, err)
	})
}

// stockUploads is what a stock registry may leave of an upload, below its
// directory.
func stockUploads(t *testing.T, content []byte) map[string]map[string]string {
	const started = "2021-05-06T07:08:09Z"
	n := strconv.Itoa(len(content))
	return map[string]map[string]string{
		"Data":            {"startedat": started, "data": string(content)},
		"DataStates":      {"startedat": started, "data": string(content), "hashstates/sha256/0": stateOf(t, nil), "hashstates/sha256/" + n: stateOf(t, content)},
		"DataState0":      {"startedat": started, "data": string(content), "hashstates/sha256/0": stateOf(t, nil)},
		"DataOldStates":   {"startedat": started, "data": string(content), "hashstates/sha256/" + n: "\x7f\x03\x01\x01\x06digest"},
		"DataWrongState":  {"startedat": started, "data": string(content), "hashstates/sha256/" + n: stateOf(t, noise(len(content) + 1)[1:])},
		"DataHigherState": {"startedat": started, "data": string(content), "hashstates/sha256/1000000": stateOf(t, noise(1_000_000))},
		"DataOtherStates": {"startedat": started, "data": string(content), "hashstates/sha512/" + n: "junk", "hashstates/sha256/junk": "junk"},
		"Begun":           {"startedat": started},
		"BegunStates":     {"startedat": started, "hashstates/sha256/0": stateOf(t, nil)},
		"EmptyData":       {"startedat": started, "data": ""},
		"TornStartedAt":   {"startedat": started[:7], "data": string(content)},
		"EmptyStartedAt":  {"startedat": "", "data": string(content)},
		"NewlineAtEnd":    {"startedat": started + "\n", "data": string(content)},
		"HugeStartedAt":   {"startedat": strings.Repeat("2", 100_000), "data": string(content)},
		"NoStartedAt":     {"data": string(content)},
	}
}

func TestResumeOfStockUpload(t *testing.T) {
	t.Parallel()
	content := noise(20_000)
	for name, files := range stockUploads(t, content) {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				repo := repository(t, create(t, d), "team/app")
				id := uuid.NewString()
				if name == "Data" {
					id = uuid.Must(uuid.NewV7()).String() // as registry 3.1 has it
				}
				dir := path.Join(repos, "team/app/_uploads", id)
				for p, content := range files {
					put(t, d, path.Join(dir, p), content)
				}
				wantStart, err := time.Parse(time.RFC3339, files["startedat"])
				info, statErr := repo.Blobs().Upload(t.Context(), id)
				require.NoError(t, statErr)
				require.EqualValues(t, len(files["data"]), info.Size)
				if err == nil {
					require.True(t, wantStart.Equal(info.StartedAt), "%v", info.StartedAt)
				} else {
					require.True(t, info.StartedAt.IsZero(), "%v", info.StartedAt)
				}
				all, err := repo.Blobs().Uploads(t.Context())
				require.NoError(t, err)
				require.Equal(t, []storage.UploadInfo{info}, all)

				u, err := repo.Blobs().Resume(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, info.StartedAt, u.StartedAt())
				require.EqualValues(t, len(files["data"]), u.Size())
				whole := append([]byte(files["data"]), id...)
				_, err = u.Write([]byte(id))
				require.NoError(t, err)
				_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes([]byte(files["data"]))})
				require.ErrorIs(t, err, storage.ErrDigestMismatch)
				desc, err := u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes(whole), Size: int64(len(whole))})
				require.NoError(t, err)
				require.Equal(t, whole, readAll(t, repo, desc.Digest))
				for p := range tree(t, d) {
					require.NotContains(t, p, id)
				}
			})
		})
	}
}

// What was begun and got no byte is an empty blob, and no other.
func TestCommitOfBegunUpload(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo, id := repository(t, create(t, d), "app"), uuid.NewString()
		put(t, d, path.Join(repos, "app/_uploads", id, "startedat"), "2021-05-06T07:08:09Z")
		u, err := repo.Blobs().Resume(t.Context(), id)
		require.NoError(t, err)
		_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes([]byte("content"))})
		require.ErrorIs(t, err, storage.ErrDigestMismatch)
		desc, err := u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes(nil)})
		require.NoError(t, err)
		require.Zero(t, desc.Size)
		require.Empty(t, readAll(t, repo, desc.Digest))
		_, err = repo.Blobs().Resume(t.Context(), id)
		require.ErrorIs(t, err, storage.ErrUploadUnknown)
	})
}

// An upload that we began goes on in a stock registry and comes back.
func TestResumeAfterStockRegistry(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content := noise(30_000)
		_, repo, id := closedUpload(t, d, content[:10_000])
		dir := path.Join(repos, "app/_uploads", id)
		files := filesOf(tree(t, d))
		h := sha256.New()
		require.NoError(t, h.(encoding.BinaryUnmarshaler).UnmarshalBinary([]byte(files[dir+"/hashstates/sha256/10000"])))
		_, err := h.Write(content[10_000:20_000])
		require.NoError(t, err)
		require.Equal(t, digest.FromBytes(content[:20_000]).Encoded(), fmt.Sprintf("%x", h.Sum(nil)))

		w, err := d.Writer(t.Context(), dir+"/data", true)
		require.NoError(t, err)
		_, err = w.Write(content[10_000:20_000])
		require.NoError(t, err)
		require.NoError(t, w.Close())
		put(t, d, dir+"/hashstates/sha256/20000", stateOf(t, content[:20_000]))

		u, err := repo.Blobs().Resume(t.Context(), id)
		require.NoError(t, err)
		_, err = u.Write(content[20_000:])
		require.NoError(t, err)
		_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes(content)})
		require.NoError(t, err)
		require.Equal(t, content, readAll(t, repo, digest.FromBytes(content)))
	})
}

// Who resumes an upload that is being committed would write to the blob.
func TestNobodyResumesWhatIsBeingCommitted(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		create(t, d)
		other := repository(t, again(t, d), "app").Blobs() // of another process
		var blobs storage.BlobStore
		var id string
		met := map[string]bool{}
		hooks := drivertest.Hooks{Before: func(ctx context.Context, call string) error {
			op, _, _ := strings.Cut(call, " ")
			if id == "" || met[op] || op != "commit" && op != "movenew" && op != "delete" {
				return nil
			}
			met[op] = true
			_, err := blobs.Resume(ctx, id)
			assert.ErrorIs(t, err, storage.ErrUploadBusy, call)
			if op != "delete" { // there is nothing any more that they share
				_, err = other.Resume(ctx, id)
				assert.ErrorIs(t, err, storage.ErrUploadBusy, call)
			}
			return nil
		}}
		blobs = repository(t, again(t, hooks.Wrap(d)), "app").Blobs()
		for range 2 { // the second finds the blob there
			u, err := blobs.Create(t.Context())
			require.NoError(t, err)
			_, err = u.Write([]byte("content"))
			require.NoError(t, err)
			id = u.ID()
			clear(met)
			_, err = u.Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes([]byte("content"))})
			require.NoError(t, err)
			require.True(t, met["commit"] && met["delete"])
			_, err = other.Resume(t.Context(), id)
			require.ErrorIs(t, err, storage.ErrUploadUnknown)
		}
	})
}
