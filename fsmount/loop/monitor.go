package loop

import (
	"sync/atomic"
	"time"
)

// Go's monitor takes processors from threads that stay in a system call. When a
// collection of garbage stops the world it goes to sleep, for a minute, and is
// woken by a thread that begins a system call, but not by one that is just about
// to: reentersyscall in runtime/proc.go looks for a collection before it says
// that it is in a system call (Go 1.26 and 1.27). The collection then waits for
// the processor of a reader that waits for a request, and all answers with it.
// But the monitor sleeps no longer than until a timer is due.

const (
	// busyMonitor is how long the monitor may sleep while requests come.
	busyMonitor = 20 * time.Millisecond
	// idleMonitor is how long it may sleep else.
	idleMonitor = time.Second
)

// monitor keeps Go's monitor from long sleeps.
type monitor struct {
	timer  *time.Timer
	isBusy atomic.Bool
	taken  atomic.Uint64 // requests, ever
	open   atomic.Int64  // those that are being answered
	seen   atomic.Uint64 // of taken, when the timer was last due
	isOver atomic.Bool
}

// init begins with a timer that is stopped.
func (m *monitor) init() {
	m.timer = time.AfterFunc(idleMonitor, m.due)
	m.timer.Stop()
}

func (m *monitor) start() { m.timer.Reset(idleMonitor) }

func (m *monitor) stop() {
	m.isOver.Store(true)
	m.timer.Stop()
}

// begin takes note of a request, and end of its answer.
func (m *monitor) begin() {
	m.taken.Add(1)
	m.open.Add(1)
	if !m.isBusy.Load() && m.isBusy.CompareAndSwap(false, true) {
		m.timer.Reset(busyMonitor)
	}
}

func (m *monitor) end() { m.open.Add(-1) }

// due is called by the timer.
func (m *monitor) due() {
	taken := m.taken.Load()
	isBusy := m.seen.Swap(taken) != taken || m.open.Load() > 0
	m.isBusy.Store(isBusy)
	if isBusy {
		m.timer.Reset(busyMonitor)
	} else {
		m.timer.Reset(idleMonitor)
	}
	if m.isOver.Load() {
		m.timer.Stop()
	}
}
