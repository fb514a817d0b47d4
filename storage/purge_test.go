package storage_test

import (
	"context"
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/storage"
)

const week = 7 * 24 * time.Hour

// leftover is an upload as it is found long afterwards.
type leftover struct {
	files   map[string]string // below its directory; one without any is a directory
	age     time.Duration     // of all files
	newest  string            // a file that is of now
	isOld   bool              // more than a week
	isKnown bool              // its start is
	busy    bool              // somebody writes to it
}

func leftovers(now time.Time) map[string]leftover {
	text := func(age time.Duration) string { return now.Add(-age).UTC().Format(time.RFC3339) }
	return map[string]leftover{
		"Old":            {files: map[string]string{"startedat": text(2 * week), "data": "content"}, age: 2 * week, isOld: true, isKnown: true},
		"OldByStart":     {files: map[string]string{"startedat": text(2 * week), "data": "content"}, isOld: true, isKnown: true},
		"OldWithStates":  {files: map[string]string{"startedat": text(2 * week), "data": "content", "hashstates/sha256/7": "state"}, age: 2 * week, isOld: true, isKnown: true},
		"OldBegun":       {files: map[string]string{"startedat": text(2 * week)}, age: 2 * week, isOld: true, isKnown: true},
		"OldBusy":        {files: map[string]string{"startedat": text(2 * week), "data": "content"}, age: 2 * week, isOld: true, isKnown: true, busy: true},
		"OldNoStart":     {files: map[string]string{"data": "content"}, age: 2 * week, isOld: true},
		"OldTornStart":   {files: map[string]string{"startedat": text(2 * week)[:10], "data": "content"}, age: 2 * week, isOld: true},
		"OldEmptyStart":  {files: map[string]string{"startedat": "", "data": "content"}, age: 2 * week, isOld: true},
		"OldOnlyTorn":    {files: map[string]string{"startedat": "20"}, age: 2 * week, isOld: true},
		"OldOnlyStates":  {files: map[string]string{"hashstates/sha256/0": "state"}, age: 2 * week, isOld: true},
		"OldNothing":     {age: 2 * week, isOld: true},
		"New":            {files: map[string]string{"startedat": text(time.Hour), "data": "content"}, isKnown: true},
		"NewByStart":     {files: map[string]string{"startedat": text(time.Hour), "data": "content"}, age: 2 * week, isKnown: true},
		"NewBegun":       {files: map[string]string{"startedat": text(time.Hour)}, isKnown: true},
		"NewNoStart":     {files: map[string]string{"data": "content"}},
		"NewTornStart":   {files: map[string]string{"startedat": text(2 * week)[:10], "data": "content"}},
		"NewOnlyStates":  {files: map[string]string{"hashstates/sha256/0": "state"}},
		"NewNothing":     {},
		"NewestIsData":   {files: map[string]string{"startedat": "20", "data": "content"}, age: 2 * week, newest: "data"},
		"NewestIsState":  {files: map[string]string{"data": "content", "hashstates/sha256/7": "state"}, age: 2 * week, newest: "hashstates/sha256/7"},
		"FutureByStart":  {files: map[string]string{"startedat": text(-2 * week), "data": "content"}, age: 2 * week, isKnown: true},
		"JustAWeekYoung": {files: map[string]string{"startedat": text(week - time.Hour), "data": "content"}, isKnown: true},
		"JustAWeekOld":   {files: map[string]string{"startedat": text(week + time.Hour), "data": "content"}, isOld: true, isKnown: true},
	}
}

// leave makes the leftover and returns its directory.
func (l leftover) leave(t *testing.T, d driver.Driver, times map[string]time.Time, repo string, now time.Time) (dir string) {
	t.Helper()
	dir = path.Join(repos, repo, "_uploads", uuid.NewString())
	require.NoError(t, driver.MakeDir(t.Context(), d, dir))
	times[dir] = now.Add(-l.age)
	for name, content := range l.files {
		p := path.Join(dir, name)
		put(t, d, p, content)
		if name != l.newest {
			// Its directories are as old as it is.
			for ; p != dir; p = path.Dir(p) {
				times[p] = now.Add(-l.age)
			}
		}
	}
	return dir
}

func purge(t *testing.T, d driver.Driver, o storage.PurgeOptions) ([]storage.PurgedUpload, error) {
	t.Helper()
	return again(t, d).(storage.Purger).PurgeUploads(t.Context(), o)
}

func ids(purged []storage.PurgedUpload) []string {
	all := make([]string, 0, len(purged))
	for _, u := range purged {
		all = append(all, u.ID)
	}
	return all
}

func TestPurge(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, left := range leftovers(now) {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				times := map[string]time.Time{}
				tapped := &tap{Driver: d, stat: func(info *driver.FileInfo) {
					if when, known := times[info.Path]; known {
						info.ModTime = when
					}
				}}
				putBlob(t, repository(t, create(t, d), "team/app"), []byte("content"))
				before := tree(t, d)
				dir := left.leave(t, d, times, "team/app", now)
				id := path.Base(dir)
				put(t, d, "/registryfs/uploads/"+id, "{}")
				if left.busy {
					w, err := d.Writer(t.Context(), dir+"/data", true)
					require.NoError(t, err)
					defer w.Close()
				}
				full := tree(t, d)
				want := left.isOld && !left.busy

				for _, dryRun := range []bool{true, false} {
					purged, err := purge(t, tapped, storage.PurgeOptions{OlderThan: week, DryRun: dryRun})
					require.NoError(t, err)
					if !want {
						require.Empty(t, purged)
						require.Equal(t, full, tree(t, d))
						continue
					}
					require.Equal(t, []string{id}, ids(purged))
					require.Equal(t, "team/app", purged[0].Repository)
					require.EqualValues(t, len(left.files["data"]), purged[0].Size)
					wantSince := now.Add(-left.age)
					if left.isKnown {
						wantSince, err = time.Parse(time.RFC3339, left.files["startedat"])
						require.NoError(t, err)
					}
					require.True(t, wantSince.Equal(purged[0].Since), "since %v", purged[0].Since)
					if dryRun {
						require.Equal(t, full, tree(t, d), "it only says which")
					}
				}
				if want {
					after := tree(t, d)
					require.Equal(t, filesOf(before), filesOf(after))
					require.NotContains(t, after, dir+"/")
				}
			})
		})
	}
}

// Whoever has an upload open keeps it, however old it is, and afterwards it
// goes.
func TestPurgeWhileOpen(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, dir string) {
		repo := repository(t, create(t, d), "app")
		u, err := repo.Blobs().Create(t.Context())
		require.NoError(t, err)
		drivers := []driver.Driver{d}
		if dir != "" {
			drivers = append(drivers, openDir(t, dir, filedriver.Options{})) // another process
		}
		all := storage.PurgeOptions{OlderThan: -time.Hour}
		none := func(why string) {
			for _, d := range drivers {
				for _, dryRun := range []bool{true, false} {
					purged, err := purge(t, d, storage.PurgeOptions{OlderThan: all.OlderThan, DryRun: dryRun})
					require.NoError(t, err)
					require.Empty(t, purged, why)
				}
			}
		}
		none("it was begun")
		_, err = u.Write([]byte("content"))
		require.NoError(t, err)
		none("it is being written")
		require.NoError(t, u.Close())
		resumed, err := repo.Blobs().Resume(t.Context(), u.ID())
		require.NoError(t, err)
		none("it was resumed")
		require.NoError(t, resumed.Close())

		purged, err := purge(t, d, all)
		require.NoError(t, err)
		require.Equal(t, []string{u.ID()}, ids(purged))
		_, err = repo.Blobs().Resume(t.Context(), u.ID())
		require.ErrorIs(t, err, storage.ErrUploadUnknown)
		for p := range tree(t, d) {
			require.NotContains(t, p, u.ID(), "nothing is left of it")
		}
		purged, err = purge(t, d, all)
		require.NoError(t, err)
		require.Empty(t, purged)
	})
}

func TestPurgeEverywhere(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		var want []string
		for _, name := range []string{"app", "team/app", "team/app/nested", "other"} {
			for range 3 {
				u, err := repository(t, reg, name).Blobs().Create(t.Context())
				require.NoError(t, err)
				require.NoError(t, u.Close())
				want = append(want, u.ID())
			}
		}
		only := uuid.NewString() // of a repository that never had more
		put(t, d, path.Join(repos, "only/_uploads", only, "startedat"), "2015-01-02T03:04:05Z")
		purged, err := purge(t, d, storage.PurgeOptions{OlderThan: -time.Hour})
		require.NoError(t, err)
		require.ElementsMatch(t, append(want, only), ids(purged))
	})
}

// faulty is a driver some of whose calls fail.
type faulty struct {
	*tap
	fault func(op, path string) error
}

func (f *faulty) List(ctx context.Context, p string) ([]string, error) {
	children, err := f.Driver.List(ctx, p)
	if fault := f.fault("list", p); fault != nil {
		return nil, fault
	}
	return children, err
}

func (f *faulty) Delete(ctx context.Context, p string) error {
	if err := f.fault("delete", p); err != nil {
		return err
	}
	return f.tap.Delete(ctx, p)
}

func (f *faulty) Writer(ctx context.Context, p string, append bool) (driver.Writer, error) {
	if err := f.fault("write", p); err != nil {
		return nil, err
	}
	return f.tap.Writer(ctx, p, append)
}

// What fails is told, and stops nothing else.
func TestPurgeGoesOn(t *testing.T) {
	broken := errors.New("broken")
	for name, op := range map[string]string{"Delete": "delete", "List": "list", "Open": "write"} {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				create(t, d)
				var dirs []string
				for _, repo := range []string{"a", "b", "b", "b", "c"} {
					dir := path.Join(repos, repo, "_uploads", uuid.NewString())
					put(t, d, dir+"/startedat", "2015-01-02T03:04:05Z")
					put(t, d, dir+"/data", "content")
					dirs = append(dirs, dir)
				}
				bad := dirs[2]
				purged, err := purge(t, &faulty{&tap{Driver: d}, func(o, p string) error {
					if o == op && (p == bad || p == bad+"/data") {
						return broken
					}
					return nil
				}}, storage.PurgeOptions{OlderThan: week})
				require.ErrorIs(t, err, broken)
				var want []string
				for _, dir := range dirs {
					if dir != bad {
						want = append(want, path.Base(dir))
					}
				}
				require.ElementsMatch(t, want, ids(purged))
				require.Equal(t, "content", tree(t, d)[bad+"/data"])
			})
		})
	}

	t.Run("Repository", func(t *testing.T) {
		onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
			create(t, d)
			for _, repo := range []string{"a", "b", "c"} {
				put(t, d, path.Join(repos, repo, "_uploads", uuid.NewString(), "startedat"), "2015-01-02T03:04:05Z")
			}
			purged, err := purge(t, &faulty{&tap{Driver: d}, func(op, p string) error {
				if op == "list" && p == repos+"/b/_uploads" {
					return broken
				}
				return nil
			}}, storage.PurgeOptions{OlderThan: week})
			require.ErrorIs(t, err, broken)
			require.Len(t, purged, 2)
		})
	})

	t.Run("File", func(t *testing.T) {
		onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
			create(t, d)
			old := uuid.NewString()
			put(t, d, path.Join(repos, "app/_uploads", old, "startedat"), "2015-01-02T03:04:05Z")
			put(t, d, repos+"/app/_uploads/stray", "no upload")
			purged, err := purge(t, d, storage.PurgeOptions{OlderThan: -time.Hour})
			require.Error(t, err)
			require.Equal(t, []string{old}, ids(purged))
		})
	})
}

// An upload that somebody commits meanwhile is no failure.
func TestPurgeOfWhatVanishes(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		create(t, d)
		dir := path.Join(repos, "app/_uploads", uuid.NewString())
		put(t, d, dir+"/startedat", "2015-01-02T03:04:05Z")
		put(t, d, dir+"/data", "content")
		gone := false
		purged, err := purge(t, &faulty{&tap{Driver: d}, func(op, p string) error {
			if op == "list" && p == path.Dir(dir) && !gone {
				gone = true
				return d.Delete(t.Context(), dir)
			}
			return nil
		}}, storage.PurgeOptions{OlderThan: week})
		require.NoError(t, err)
		require.Empty(t, purged)
		require.True(t, gone)
	})
}

func TestPurgeReadOnly(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, dir string) {
		create(t, d)
		id := uuid.NewString()
		put(t, d, path.Join(repos, "app/_uploads", id, "startedat"), "2015-01-02T03:04:05Z")
		put(t, d, path.Join(repos, "app/_uploads", id, "data"), "content")
		before := tree(t, d)
		drivers := []driver.Driver{d}
		if dir != "" {
			drivers = append(drivers, openDir(t, dir, filedriver.Options{ReadOnly: true}))
		}
		for _, d := range drivers {
			reg := openRegistry(t, d, storage.Options{ReadOnly: true}).(storage.Purger)
			_, err := reg.PurgeUploads(t.Context(), storage.PurgeOptions{OlderThan: week})
			require.ErrorIs(t, err, storage.ErrReadOnly)
			purged, err := reg.PurgeUploads(t.Context(), storage.PurgeOptions{OlderThan: week, DryRun: true})
			require.NoError(t, err)
			require.Equal(t, []string{id}, ids(purged))
			require.Equal(t, before, tree(t, d))
		}
	})
}

func TestPurgeUnderEndedContext(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		id := uuid.NewString()
		put(t, d, path.Join(repos, "app/_uploads", id, "startedat"), "2015-01-02T03:04:05Z")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := reg.(storage.Purger).PurgeUploads(ctx, storage.PurgeOptions{OlderThan: week})
		require.ErrorIs(t, err, context.Canceled)
		require.True(t, strings.HasPrefix(tree(t, d)[path.Join(repos, "app/_uploads", id, "startedat")], "2015"))
	})
}

// An upload's age is by the wall clock. However that is set, what somebody
// writes stays, and what was begun in a time to come is young.
func TestPurgeOnceTheClockIsSet(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		create(t, d)
		clock := newClock()
		reg := openRegistry(t, d, storage.Options{Clock: clock})
		blobs := repository(t, reg, "app").Blobs()
		var uploads []storage.Upload
		for range 2 {
			u, err := blobs.Create(t.Context())
			require.NoError(t, err)
			_, err = u.Write([]byte("content"))
			require.NoError(t, err)
			uploads = append(uploads, u)
		}
		require.NoError(t, uploads[0].Close())
		purged := func() []string {
			t.Helper()
			purged, err := reg.(storage.Purger).PurgeUploads(t.Context(), storage.PurgeOptions{OlderThan: week})
			require.NoError(t, err)
			return ids(purged)
		}
		clock.set(-2 * week)
		require.Empty(t, purged())
		clock.set(2*week + 24*time.Hour)
		require.Empty(t, purged(), "a day is not a week")
		clock.set(week)
		require.Equal(t, []string{uploads[0].ID()}, purged())
		_, err := uploads[1].Commit(t.Context(), storage.Descriptor{Digest: digest.FromBytes([]byte("content"))})
		require.NoError(t, err)
	})
}
