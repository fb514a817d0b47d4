package storage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

const markPath = "/registryfs/exclusive"

// claim claims a store as another process does.
func claim(t *testing.T, d driver.Driver, alone bool) (end func(), err error) {
	t.Helper()
	held, err := again(t, d).(storage.Claimer).Claim(t.Context(), storage.ClaimOptions{Exclusive: alone, By: "the mount on /mnt/reg"})
	if err != nil {
		return nil, err
	}
	return func() { require.NoError(t, held.Close()) }, nil
}

// Who needs a store for himself does not get it beside a user, nor two at once.
func TestClaim(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		push(t, repository(t, reg, "app"), "one", "v1")
		putBlob(t, repository(t, reg, "app"), []byte("garbage"))
		alone := map[string]func() error{
			"gc --offline":   func() error { return second(reg.(storage.Collector).Collect(t.Context(), now, nil)) },
			"check --repair": func() error { return repairOf(t, reg) },
			"rm":             func() error { return reg.(storage.RepositoryRemover).RemoveRepository(t.Context(), "app") },
		}
		refused := func(says string) {
			t.Helper()
			before := tree(t, d)
			for name, fn := range alone {
				err := fn()
				require.ErrorIs(t, err, storage.ErrInUse, name)
				require.ErrorContains(t, err, says, name)
			}
			require.Equal(t, before, tree(t, d))
		}
		first, err := claim(t, d, false)
		require.NoError(t, err)
		other, err := claim(t, d, false)
		require.NoError(t, err)
		_, err = claim(t, d, true)
		require.ErrorIs(t, err, storage.ErrInUse)
		refused("in use")
		first()
		refused("in use")
		requireSound(t, d)
		_, err = reg.(storage.Collector).Collect(t.Context(), online, nil)
		require.ErrorIs(t, err, storage.ErrUnsupported, "it is not marked")
		other()

		end, err := claim(t, d, true)
		require.NoError(t, err)
		mark, err := d.GetContent(t.Context(), markPath)
		require.NoError(t, err)
		require.Contains(t, string(mark), `"by":"the mount on /mnt/reg"`)
		for _, exclusively := range []bool{false, true} {
			_, err = claim(t, d, exclusively)
			require.ErrorIs(t, err, storage.ErrInUse)
			require.ErrorContains(t, err, "the mount on /mnt/reg, process ")
		}
		refused("the mount on /mnt/reg")
		requireSound(t, d)
		end()
		require.ErrorIs(t, second(d.Stat(t.Context(), markPath)), driver.ErrNotExist)

		for name, fn := range alone {
			if name != "rm" {
				require.NoError(t, fn(), name)
			}
		}
		require.NoError(t, alone["rm"]())
	})
}

func repairOf(t *testing.T, reg storage.Registry) error {
	return second(reg.(storage.Checker).Check(t.Context(), storage.CheckOptions{Repair: true}, func(storage.Finding) {}))
}

// While one collects, repairs or removes, no other does, and nobody begins to
// write without leases.
func TestClaimDuringCollection(t *testing.T) {
	d := memdriver.New()
	reg := create(t, d)
	held, err := driver.Lock(t.Context(), d, v2, false)
	require.NoError(t, err)
	require.ErrorIs(t, second(reg.(storage.Collector).Collect(t.Context(), now, nil)), storage.ErrInUse)
	require.ErrorIs(t, second(reg.(storage.Collector).Collect(t.Context(), online, nil)), storage.ErrInUse)
	require.ErrorIs(t, repairOf(t, reg), storage.ErrInUse)
	_, err = claim(t, d, false)
	require.ErrorIs(t, err, storage.ErrInUse)
	require.ErrorContains(t, err, "garbage")
	end, err := claim(t, d, true)
	require.NoError(t, err, "it leases what it needs")
	end()
	require.NoError(t, held.Close())
	end, err = claim(t, d, false)
	require.NoError(t, err)
	end()
}

// A mark that is longer than any of ours is not read.
func TestMarkIsLimited(t *testing.T) {
	const longest = 4096 // bytes
	d := memdriver.New()
	create(t, d)
	end, err := claim(t, d, true)
	require.NoError(t, err)
	defer end()
	mark, err := d.GetContent(t.Context(), markPath)
	require.NoError(t, err)
	for size, isRead := range map[int]bool{longest: true, longest + 1: false} {
		put(t, d, markPath, string(mark)+strings.Repeat(" ", size-len(mark)))
		_, err = claim(t, d, false)
		require.ErrorIs(t, err, storage.ErrInUse)
		require.Equal(t, isRead, strings.Contains(err.Error(), "by the mount on /mnt/reg"), err)
	}
}

// What a process that died has left means nothing, but for what it leased.
func TestClaimOfTheDead(t *testing.T) {
	d, clock := memdriver.New(), newClock()
	user, end := exclusive(t, func() driver.Driver { create(t, d); return d }(), clock)
	leased := putBlob(t, repository(t, user, "app"), []byte("its manifest comes next"))
	mark, err := d.GetContent(t.Context(), markPath)
	require.NoError(t, err)
	end()
	put(t, d, markPath, string(mark)) // as if it had been killed

	require.ErrorIs(t, second(again(t, d).(storage.Collector).Collect(t.Context(), online, nil)), storage.ErrUnsupported)
	end, err = claim(t, d, false)
	require.NoError(t, err)
	end()
	require.ErrorIs(t, second(d.Stat(t.Context(), markPath)), driver.ErrNotExist)

	put(t, d, markPath, string(mark))
	_, end = exclusive(t, d, clock)
	require.Empty(t, collectOnline(t, d, clock, online).things, "clients come back")
	clock.pass(47 * time.Hour)
	require.Empty(t, collectOnline(t, d, clock, online).things)
	clock.pass(time.Hour)
	require.Equal(t, 1, collectOnline(t, d, clock, online).Aside.Blobs)
	require.ErrorIs(t, second(d.Stat(t.Context(), layerLink("app", leased))), driver.ErrNotExist)
	end()
}

// Leases that cannot be written end the collecting, not the writing.
func TestLeasesThatFail(t *testing.T) {
	d, clock := memdriver.New(), newClock()
	create(t, d)
	failing := false
	user, _ := exclusive(t, &gate{Driver: d, before: func(op, p string) error {
		if failing && op == "writer" && strings.Contains(p, "/leases/") {
			return errHalted
		}
		return nil
	}}, clock)
	failing = true
	putBlob(t, repository(t, user, "app"), []byte("one"))
	require.NoError(t, second(d.Stat(t.Context(), markPath)))
	clock.pass(25 * time.Hour)
	putBlob(t, repository(t, user, "app"), []byte("two"))
	require.ErrorIs(t, second(d.Stat(t.Context(), markPath)), driver.ErrNotExist)
	require.ErrorIs(t, second(again(t, d).(storage.Collector).Collect(t.Context(), online, nil)), storage.ErrUnsupported)
	putBlob(t, repository(t, user, "app"), []byte("three"))
}

// Nor does a store without room for leases.
func TestClaimWithoutRoom(t *testing.T) {
	d := memdriver.New()
	create(t, d)
	put(t, d, markPath, "{}") // of one who died
	user, end := exclusive(t, &gate{Driver: d, before: func(op, p string) error {
		if op == "writer" && strings.Contains(p, "/leases/") {
			return errHalted
		}
		return nil
	}}, newClock())
	require.ErrorIs(t, second(d.Stat(t.Context(), markPath)), driver.ErrNotExist)
	putBlob(t, repository(t, user, "app"), []byte("one"))
	require.ErrorIs(t, second(again(t, d).(storage.Collector).Collect(t.Context(), online, nil)), storage.ErrUnsupported)
	require.ErrorIs(t, second(again(t, d).(storage.Collector).Collect(t.Context(), now, nil)), storage.ErrInUse)
	end()
}

// A collection that was asleep for too long, or whose user has gone, gives back
// what it has just taken, and ends.
func TestCollectOnlineGivesUp(t *testing.T) {
	for name, happens := range map[string]func(clock *fakeClock, end func()){
		"asleep": func(clock *fakeClock, _ func()) { clock.pass(25 * time.Hour) },
		"alone":  func(_ *fakeClock, end func()) { end() },
	} {
		t.Run(name, func(t *testing.T) {
			d, clock := memdriver.New(), newClock()
			b := putBlob(t, repository(t, create(t, d), "app"), []byte("garbage"))
			_, end := exclusive(t, d, clock)
			stopped := &gate{Driver: d, before: func(op, _ string) error {
				if op == "movedir" && happens != nil {
					happens(clock, end)
					happens = nil
				}
				return nil
			}}
			summary, err := openRegistry(t, stopped, storage.Options{Clock: clock}).(storage.Collector).Collect(t.Context(), online, nil)
			require.ErrorContains(t, err, "begin anew")
			require.Zero(t, summary.Aside)
			require.NoError(t, second(d.Stat(t.Context(), layerLink("app", b))))
		})
	}
}

// A store that leases more than it can tell apart keeps garbage, nothing else.
func TestLeasesAreBounded(t *testing.T) {
	d, clock := memdriver.New(), newClock()
	create(t, d)
	user, _ := exclusive(t, d, clock)
	repo := repository(t, user, "app")
	for i := range 2000 {
		_, _ = repo.Blobs().Stat(t.Context(), digest.FromBytes([]byte{byte(i), byte(i >> 8)}))
	}
	var size int64
	require.NoError(t, driver.Walk(t.Context(), d, "/registryfs/leases", func(info driver.FileInfo) error {
		size += info.Size
		return nil
	}))
	require.EqualValues(t, 2<<20, size, "a file for each kind")
	for range 4 {
		clock.pass(25 * time.Hour)
		_, _ = repo.Blobs().Stat(t.Context(), digest.FromBytes(nil))
		putBlob(t, repo, []byte("x"))
	}
	files, err := d.List(t.Context(), "/registryfs/leases")
	require.NoError(t, err)
	require.LessOrEqual(t, len(files), 4, "old ones go")
}
