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
	slots chan struct{} // of requests that can wait

	mu      sync.Mutex
	waiting map[fuse.RequestID]context.CancelFunc
	quick   map[fuse.RequestID]struct{}
}

func (rs *requests) init() {
	rs.slots = make(chan struct{}, maxWaiting)
	rs.waiting, rs.quick = map[fuse.RequestID]context.CancelFunc{}, map[fuse.RequestID]struct{}{}
}

// begin takes note of a request that can wait, and returns the context that an
// INTERRUPT ends.
func (rs *requests) begin(id fuse.RequestID) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.waiting[id] = cancel
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

// interrupt ends the context of a request. It reports whether the request is
// known.
func (rs *requests) interrupt(id fuse.RequestID) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if cancel := rs.waiting[id]; cancel != nil {
		cancel()
		return true
	}
	_, isQuick := rs.quick[id]
	return isQuick
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
	ctx, cancel := l.requests.begin(hdr.ID)
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
