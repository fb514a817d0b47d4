package loop

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The timer is due soon as long as there are requests, seldom else, and never
// after the end.
func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m monitor
		var dues atomic.Int64
		m.init()
		due := m.timer
		m.timer = time.AfterFunc(time.Hour, func() { dues.Add(1); m.due() })
		m.timer.Stop()
		due.Stop()
		in := func(pause time.Duration) int {
			dues.Store(0)
			time.Sleep(pause)
			synctest.Wait()
			return int(dues.Load())
		}
		m.start()
		require.Equal(t, 3, in(3*idleMonitor))
		m.begin()
		require.Equal(t, 50, in(50*busyMonitor), "a request is open")
		for range 10 {
			m.end()
			m.begin()
			require.Equal(t, 1, in(busyMonitor), "requests follow one another")
		}
		m.end()
		require.LessOrEqual(t, in(2*idleMonitor), 3)
		m.stop()
		require.Zero(t, in(time.Hour))
	})
}
