package storage_test

import (
	"path"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// online collects beside a user whatever is not needed, however young it is.
var (
	online         = storage.CollectOptions{}
	onlineUntagged = storage.CollectOptions{Untagged: true}
)

// fakeClock is a clock that a test sets: what it is ahead of the system's, by
// which files get their times.
type fakeClock struct {
	mu   sync.Mutex
	wall time.Duration
	up   time.Duration
	boot string
}

func newClock() *fakeClock { return &fakeClock{up: time.Hour, boot: "boot"} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.wall)
}

// Uptime never stands still.
func (c *fakeClock) Uptime() (string, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up++
	return c.boot, c.up
}

// pass lets time pass.
func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.up = c.wall+d, c.up+d
}

// set is what somebody does who sets the wall clock.
func (c *fakeClock) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += by
}

// exclusive opens a registry and claims it, as an exclusive mount does, until
// end is called or the test ends.
func exclusive(t *testing.T, d driver.Driver, clock storage.Clock) (reg storage.Registry, end func()) {
	t.Helper()
	reg, end = claimed(t, d, clock)
	t.Cleanup(end)
	return reg, end
}

// claimed is exclusive for who ends it: a cleanup would keep the store of each of
// a thousand of them.
func claimed(t *testing.T, d driver.Driver, clock storage.Clock) (reg storage.Registry, end func()) {
	t.Helper()
	reg = openRegistry(t, d, storage.Options{AllowDelete: true, Clock: clock})
	claim, err := reg.(storage.Claimer).Claim(t.Context(), storage.ClaimOptions{Exclusive: true, By: "a test"})
	require.NoError(t, err)
	var once sync.Once
	return reg, func() { once.Do(func() { require.NoError(t, claim.Close()) }) }
}

// collectOnline collects as another process does.
func collectOnline(t *testing.T, d driver.Driver, clock storage.Clock, o storage.CollectOptions) collected {
	t.Helper()
	return collect(t, openRegistry(t, d, storage.Options{Clock: clock}), o)
}

// requireSound checks that a check finds no damage, and changes nothing.
func requireSound(t *testing.T, d driver.Driver) {
	t.Helper()
	_, err := openRegistry(t, d, storage.Options{ReadOnly: true}).(storage.Checker).
		Check(t.Context(), storage.CheckOptions{}, func(f storage.Finding) { require.False(t, f.Damage, "%+v", f) })
	require.NoError(t, err)
}

func TestCollectOnline(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		clock, before := newClock(), create(t, d)
		repo := repository(t, before, "team/app")
		kept, old := push(t, repo, "kept", "v1"), push(t, repo, "old", "")
		garbage := putBlob(t, repo, []byte("garbage"))
		user, _ := exclusive(t, d, clock)
		fresh := putBlob(t, repository(t, user, "team/app"), []byte("its manifest comes next"))

		first := collectOnline(t, d, clock, onlineUntagged)
		require.Zero(t, first.CollectCounts, "nothing is removed at once")
		require.Equal(t, storage.CollectCounts{Manifests: 1, Links: 3, Blobs: 4, Bytes: first.Aside.Bytes}, first.Aside)
		for _, gone := range []string{revisionLink("team/app", old.manifest), layerLink("team/app", garbage), dataPath(garbage)} {
			require.ErrorIs(t, second(d.Stat(t.Context(), gone)), driver.ErrNotExist)
		}
		requireSound(t, d)

		// What is asked for comes back, a manifest with all that it needs.
		require.NoError(t, repository(t, user, "team/app").Tags().Tag(t.Context(), "old", old.manifest))
		requireSound(t, d)
		require.Equal(t, "layer of old", string(readAll(t, repository(t, openRegistry(t, d, storage.Options{ReadOnly: true}), "team/app"), old.layer)))

		// Whatever the wall clock says, the grace is not over.
		graceful := storage.CollectOptions{Untagged: true, Grace: 24 * time.Hour}
		clock.set(48 * time.Hour)
		require.Empty(t, collectOnline(t, d, clock, graceful).things)
		clock.pass(24 * time.Hour)
		require.Equal(t, goneLines("team/app", nil, []digest.Digest{garbage}, []digest.Digest{garbage}),
			collectOnline(t, d, clock, graceful).gone())
		require.Empty(t, collectOnline(t, d, clock, onlineUntagged).gone())

		clock.pass(72 * time.Hour)
		require.Equal(t, 1, collectOnline(t, d, clock, onlineUntagged).Aside.Blobs)
		_, err := repository(t, user, "team/app").Blobs().Stat(t.Context(), fresh)
		require.NoError(t, err, "it is brought back")
		require.Equal(t, "layer of kept", string(readAll(t, repository(t, user, "team/app"), kept.layer)))
		require.Empty(t, collectOnline(t, d, clock, onlineUntagged).gone())
		requireSound(t, d)
		checkWhole(t, user)
	})
}

// What comes back while a collection looks a second time is what is needed: by
// a tag, by an index, as the subject's signature, by its youth.
func TestCollectOnlineRestores(t *testing.T) {
	d, clock := memdriver.New(), newClock()
	repo := repository(t, create(t, d), "app")
	img, signed := push(t, repo, "image", ""), push(t, repo, "signed", "signed")
	pushReferrer(t, repo, "signature", img.manifest)
	user, _ := exclusive(t, d, clock)
	require.Equal(t, 2, collectOnline(t, d, clock, onlineUntagged).Aside.Manifests)
	// A tag that was not set by us, to what is not at its place.
	put(t, d, currentLink("app", "v1"), img.manifest.String())
	done := collectOnline(t, d, clock, onlineUntagged)
	require.Equal(t, storage.CollectCounts{Manifests: 2, Links: 4, Blobs: 6, Bytes: done.Restored.Bytes}, done.Restored)
	require.Zero(t, done.Aside)
	requireSound(t, d)
	require.Equal(t, "layer of signature", string(readAll(t, repository(t, user, "app"), digest.FromBytes([]byte("layer of signature")))))
	require.NotEmpty(t, signed.payload)
}

// A registry that deletes a link, or dies making one, leaves its directory. By a
// provisional digest that leads to no content that anybody knows.
func TestCollectOnlineEmptyLinks(t *testing.T) {
	d, clock := memdriver.New(), newClock()
	repo := repository(t, create(t, d), "app")
	kept := push(t, repo, "kept", "v1")
	absent := digest.SHA512.FromBytes([]byte("absent"))
	empty := []string{
		path.Dir(layerLink("app", absent)), path.Dir(revisionLink("app", absent)),
		path.Dir(tarsumLink("app", tarsumVectors(t)[0].tarsum)),
	}
	for _, dir := range empty {
		require.NoError(t, driver.MakeDir(t.Context(), d, dir))
	}
	user, _ := exclusive(t, d, clock)
	require.Equal(t, len(empty), collectOnline(t, d, clock, online).Aside.Leftovers)
	collectOnline(t, d, clock, online)
	for p := range tree(t, d) {
		for _, dir := range empty {
			require.NotContains(t, p, path.Base(dir))
		}
	}
	require.Equal(t, "layer of kept", string(readAll(t, repository(t, user, "app"), kept.layer)))
}

// What was removed does not come back from what had been set aside.
func TestCollectOnlineForgets(t *testing.T) {
	d, clock := memdriver.New(), newClock()
	before := create(t, d)
	content := []byte("garbage")
	b := putBlob(t, repository(t, before, "app"), content)
	img := push(t, repository(t, before, "app"), "image", "")
	putBlob(t, repository(t, before, "gone"), content)
	putBlob(t, repository(t, before, "gone/nested"), []byte("kept"))
	user, end := exclusive(t, d, clock)
	require.Equal(t, 5, collectOnline(t, d, clock, onlineUntagged).Aside.Links)

	app := repository(t, user, "app")
	putBlob(t, app, content)
	require.NoError(t, app.Blobs().Delete(t.Context(), b))
	require.ErrorIs(t, second(app.Blobs().Stat(t.Context(), b)), storage.ErrBlobUnknown)
	require.NoError(t, app.Manifests().Delete(t.Context(), img.manifest), "it is brought back to be removed")
	require.ErrorIs(t, second(app.Manifests().Stat(t.Context(), img.manifest)), storage.ErrManifestUnknown)

	gone := repository(t, user, "gone")
	require.NoError(t, second(gone.Blobs().Put(t.Context(), "", []byte("new"))))
	end()
	require.NoError(t, user.(storage.RepositoryRemover).RemoveRepository(t.Context(), "gone"))
	user, _ = exclusive(t, d, clock)
	require.ErrorIs(t, second(repository(t, user, "gone").Blobs().Stat(t.Context(), b)), storage.ErrBlobUnknown)
	require.NoError(t, second(repository(t, user, "gone/nested").Blobs().Stat(t.Context(), digest.FromBytes([]byte("kept")))))
	requireSound(t, d)
}
