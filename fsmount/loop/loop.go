// Package loop serves a FUSE connection.
//
// It drives the nodes and handles of bazil.org/fuse/fs, and answers for them as
// the server of that package does, but for what follows.
//
//   - A few readers answer what is quick themselves: handing a request to a
//     goroutine costs as much as most answers. What can wait has a goroutine,
//     of which there are at most maxWaiting. A quick answer that is late after
//     all holds up nobody: another reader takes the place of the one that it
//     keeps.
//   - Every answer says how long the kernel may keep the name in it; also those
//     to SYMLINK, LINK and MKDIR (see [EntryValider]), and that there is no such
//     name (see [ErrAbsent]).
//   - The kernel may keep listings of directories (see [KeptDirectory]).
//   - Whoever is being killed gets an answer within a moment, also from what
//     cannot be ended: that goes on, and nobody hears of it.
//   - Numbers of nodes and handles are never used again, so what is said to the
//     kernel of a node that it has forgotten meets no other.
//   - What no node ever does is ENOSYS once, and not asked for again.
//
// Nodes must be comparable and set their inode numbers; attributes and names
// for which they set no time are kept for none.
package loop

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

const (
	// IdleReaders is how many readers wait for requests, each of which keeps a
	// thread in read(2).
	IdleReaders = 2
	// maxReaders bounds the readers that there are when answers are late.
	maxReaders = 64
	// lateAnswer is how long an answer may keep the last reader before there
	// is another.
	lateAnswer = time.Millisecond
	// maxWaiting bounds the requests that are answered in goroutines. Beyond
	// it the kernel keeps them.
	maxWaiting = 256
)

// Loop serves a connection. Its methods may be called concurrently.
type Loop struct {
	conn     *fuse.Conn
	device   syscall.RawConn // of conn, or nil
	fs       fusefs.FS
	log      *slog.Logger
	nodes    nodes
	handles  handles
	requests requests
	listings listings

	readers atomic.Int32 // changed under mu
	idle    atomic.Int32 // readers that wait for a request
	late    *time.Timer
	monitor monitor
	running sync.WaitGroup // readers, and the answers that they did not wait for

	mu     sync.Mutex
	isOver bool
	over   chan struct{} // closed when the connection has ended
	err    error         // of that; valid after over
}

// New returns a loop that serves fs over conn. isKilled reports whether a signal
// waits for a thread that it will not survive; log hears of panics.
func New(conn *fuse.Conn, fs fusefs.FS, isKilled func(tid uint32) bool, log *slog.Logger) *Loop {
	l := &Loop{conn: conn, device: deviceOf(conn), fs: fs, log: log, over: make(chan struct{})}
	l.nodes.init()
	l.handles.init()
	l.listings.max = maxListings
	l.requests.init(isKilled)
	// Stopped, until a reader sets it: it begins readers, which use it.
	l.late = time.AfterFunc(time.Hour, l.relieve)
	l.late.Stop()
	l.monitor.init()
	return l
}

// Serve returns when the connection has ended and everything that was begun has
// been answered.
func (l *Loop) Serve() error {
	root, err := l.fs.Root()
	if err != nil {
		return err
	}
	l.nodes.addRoot(root)
	for range IdleReaders {
		l.addReader()
	}
	l.monitor.start()
	<-l.over
	l.late.Stop()
	l.running.Wait()
	l.monitor.stop()
	return l.err
}

// addReader begins a reader, unless there are too many.
func (l *Loop) addReader() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isOver || l.readers.Load() == maxReaders {
		return
	}
	l.readers.Add(1)
	l.idle.Add(1)
	l.running.Go(l.read)
}

// read answers requests until the connection ends, or until enough other
// readers wait.
func (l *Loop) read() {
	defer l.removeReader()
	for {
		req, err := l.conn.ReadRequest()
		switch {
		case err == nil:
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOENT):
			continue // ENOENT: who asked has gone before the request was read
		default:
			l.idle.Add(-1)
			l.finish(err)
			return
		}
		if l.idle.Add(-1) == 0 {
			l.late.Reset(lateAnswer)
		}
		l.take(req)
		if l.idle.Add(1) > IdleReaders {
			// Others may have counted on this one meanwhile.
			if l.idle.Add(-1) == 0 {
				l.late.Reset(lateAnswer)
			}
			return
		}
	}
}

// relieve adds a reader where all are kept by late answers. It runs some time
// after the last one that waited got something to do.
func (l *Loop) relieve() {
	if l.idle.Load() == 0 {
		l.addReader()
	}
}

// mayKeepReader reports whether an answer may take as long as it likes from the
// reader that asks: there is another, or there will be.
func (l *Loop) mayKeepReader() bool {
	return l.idle.Load() > 0 || l.readers.Load() < maxReaders
}

func (l *Loop) removeReader() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers.Add(-1)
}

// finish ends serving. io.EOF is how a connection ends, or ECONNABORTED where a
// request was just being read.
func (l *Loop) finish(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isOver {
		return
	}
	l.isOver = true
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNABORTED) {
		l.err = err
	}
	close(l.over)
}
