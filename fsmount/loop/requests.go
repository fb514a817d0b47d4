package loop

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"syscall"

	"bazil.org/fuse"
)

// requests is what has been read and not yet been answered.
type requests struct {
	slots    chan struct{} // of requests that can wait
	isKilled func(tid uint32) bool

	mu      sync.Mutex
	waiting map[fuse.RequestID]waiting
	quick   map[fuse.RequestID]struct{}
}

// waiting is a request that can wait.
type waiting struct {
	tid    uint32 // who waits
	isLong bool   // any signal ends it, and not only one that kills who waits
	cancel context.CancelFunc
}

func (rs *requests) init(isKilled func(tid uint32) bool) {
	rs.slots, rs.isKilled = make(chan struct{}, maxWaiting), isKilled
	rs.waiting, rs.quick = map[fuse.RequestID]waiting{}, map[fuse.RequestID]struct{}{}
}

// begin takes note of a request that can wait, and returns the context that an
// INTERRUPT ends. No program expects that a signal which it handles, or just the
// runtime of its language, ends close, rename, unlink or stat. Reading, and
// opening for it, may take as long as there is content to verify.
func (rs *requests) begin(req fuse.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	hdr := req.Hdr()
	w := waiting{tid: hdr.Pid, cancel: cancel}
	switch r := req.(type) {
	case *fuse.OpenRequest:
		w.isLong = r.Flags.IsReadOnly()
	case *fuse.ReadRequest:
		w.isLong = true
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.waiting[hdr.ID] = w
	return ctx, cancel
}

// end is called before the answer: after it the number may come again.
func (rs *requests) end(id fuse.RequestID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.waiting, id)
}

func (rs *requests) beginQuick(id fuse.RequestID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.quick[id] = struct{}{}
}

func (rs *requests) endQuick(id fuse.RequestID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.quick, id)
}

// interrupt ends the context of a request, if that may be. It reports whether
// the request is known.
func (rs *requests) interrupt(id fuse.RequestID) bool {
	rs.mu.Lock()
	w, isWaiting := rs.waiting[id]
	_, isQuick := rs.quick[id]
	rs.mu.Unlock()
	if isWaiting && (w.isLong || rs.isKilled(w.tid)) {
		w.cancel()
	}
	return isWaiting || isQuick
}

// take sees to it that a request is answered.
func (l *Loop) take(req fuse.Request) {
	hdr := req.Hdr()
	switch r := req.(type) {
	case *fuse.ForgetRequest:
		l.nodes.forget(hdr.Node, r.N)
		r.Respond()
		return
	case *fuse.BatchForgetRequest:
		for _, f := range r.Forget {
			l.nodes.forget(f.NodeID, f.N)
		}
		r.Respond()
		return
	case *fuse.InterruptRequest:
		if l.requests.interrupt(r.IntrID) {
			r.Respond()
		} else {
			// Answered, or read by another reader that has not said so yet:
			// where it is not answered the kernel asks again.
			r.RespondError(syscall.EAGAIN)
		}
		return
	case *fuse.DestroyRequest:
		r.Respond()
		return
	}
	c := call{loop: l, req: req, node: l.nodes.get(hdr.Node)}
	if c.node == nil && hdr.Node != 0 {
		req.RespondError(syscall.ESTALE)
		return
	}
	if id, ok := handleOf(req); ok {
		if c.handle = l.handles.get(id); c.handle == nil {
			req.RespondError(syscall.ESTALE)
			return
		}
	}
	if c.isQuick() {
		l.requests.beginQuick(hdr.ID)
		c.done = func() { l.requests.endQuick(hdr.ID) }
		c.answer(context.Background())
		return
	}
	ctx, cancel := l.requests.begin(req)
	c.done = func() { l.requests.end(hdr.ID) }
	l.requests.slots <- struct{}{}
	l.running.Go(func() {
		defer func() { <-l.requests.slots }()
		defer cancel()
		c.answer(ctx)
	})
}

// call is a request that is being answered.
type call struct {
	loop   *Loop
	req    fuse.Request
	node   *node
	handle *handle
	done   func() // to be called before the answer
}

// answer answers a request, whatever happens.
func (c *call) answer(ctx context.Context) {
	respond, err := c.serve(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = syscall.EINTR
	}
	c.done()
	if err != nil {
		c.req.RespondError(err)
		return
	}
	respond()
}

// serve asks the node, or the handle. A panic there is an I/O error.
func (c *call) serve(ctx context.Context) (respond func(), err error) {
	defer func() {
		if reason := recover(); reason != nil {
			c.loop.log.Error("panic", "request", fmt.Sprintf("%T", c.req), "reason", reason, "stack", string(debug.Stack()))
			respond, err = nil, syscall.EIO
		}
	}()
	return c.ask(ctx)
}
