package loop

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"bazil.org/fuse"
	"github.com/stretchr/testify/require"
)

func TestNodesHaveOneNumberWhileTheyAreKnown(t *testing.T) {
	var ns nodes
	ns.init()
	ns.addRoot(&testNode{})
	a, b := &testNode{name: "a"}, &testNode{name: "b"}
	first := ns.save(a)
	require.NotEqual(t, fuse.RootID, first)
	require.Equal(t, first, ns.save(a))
	require.NotEqual(t, first, ns.save(b))

	ns.forget(first, 1)
	require.Zero(t, a.forgotten)
	id, ok := ns.idOf(a)
	require.True(t, ok)
	require.Equal(t, first, id)
	ns.forget(first, 5) // more than there were
	require.Equal(t, 1, a.forgotten)
	require.Nil(t, ns.get(first))
	ns.forget(first, 1)
	require.Equal(t, 1, a.forgotten)
	_, ok = ns.idOf(a)
	require.False(t, ok)

	again := ns.save(a)
	require.Greater(t, again, first, "no number is used again")
	ns.forget(fuse.RootID, 100)
	require.NotNil(t, ns.get(fuse.RootID))
}

func TestPages(t *testing.T) {
	all := []byte("0123456789")
	for _, c := range []struct {
		offset int64
		size   int
		want   string
	}{{0, 4, "0123"}, {4, 4, "4567"}, {8, 4, "89"}, {10, 4, ""}, {99, 4, ""}, {-1, 4, "0123"}, {0, 0, ""}} {
		require.Equal(t, c.want, string(page(all, &fuse.ReadRequest{Offset: c.offset, Size: c.size})))
	}
}

func TestListingOfTwoVersionsIsOfNone(t *testing.T) {
	var l listing
	now := time.Now()
	l.keep(1, now)
	l.keep(1, now.Add(time.Second))
	require.Equal(t, now, l.made, "as old as its oldest part")
	l.keep(2, now)
	require.True(t, l.made.IsZero())
}

func TestInterruptMeetsOnlyItsRequest(t *testing.T) {
	var rs requests
	rs.init()
	ctx, cancel := rs.begin(1)
	defer cancel()
	other, cancelOther := rs.begin(2)
	defer cancelOther()
	require.True(t, rs.interrupt(1))
	require.Error(t, ctx.Err())
	require.NoError(t, other.Err())
	rs.end(1)
	require.False(t, rs.interrupt(1))
	rs.beginQuick(3)
	require.True(t, rs.interrupt(3), "an answer is on its way")
	rs.endQuick(3)
	require.False(t, rs.interrupt(3))
}

// Before the root has its number nobody may read a request.
func TestNoReaderBeforeServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil, nil, slog.New(slog.DiscardHandler))
		time.Sleep(100 * lateAnswer)
		synctest.Wait()
		require.Zero(t, l.readers)
	})
}
