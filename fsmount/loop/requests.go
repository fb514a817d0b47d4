package loop

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"bazil.org/fuse"
)

// A request whose maker is being killed is answered within a moment, whatever
// it waits for.
const (
	// graceOfKilled is how long such a request has to end by itself, as most do.
	graceOfKilled = 250 * time.Millisecond
	// killedPause is between looks at whoever got a signal that did not kill
	// him: the kernel says nothing of the next one.
	killedPause = 250 * time.Millisecond
)

// requests is what has been read and not yet been answered: at most maxWaiting
// that can wait, and one for each reader.
type requests struct {
	slots    chan struct{} // of requests that can wait
	isKilled func(tid uint32) bool

	mu   sync.Mutex
	open map[fuse.RequestID]openRequest
}

// openRequest is a request that has no answer yet.
type openRequest struct {
	tid    uint32             // who waits
	isLong bool               // any signal ends it, and not only one that kills who waits
	cancel context.CancelFunc // nil where a reader answers
}

func (rs *requests) init(isKilled func(tid uint32) bool) {
	rs.slots, rs.isKilled = make(chan struct{}, maxWaiting), isKilled
	rs.open = map[fuse.RequestID]openRequest{}
}

// begin takes note of a request that can wait, and returns the context that an
// INTERRUPT ends. No program expects that a signal which it handles, or just the
// runtime of its language, ends close, rename, unlink or stat. Reading, and
// opening for it, may take as long as there is content to verify.
func (rs *requests) begin(req fuse.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	hdr := req.Hdr()
	o := openRequest{tid: hdr.Pid, cancel: cancel}
	switch r := req.(type) {
	case *fuse.OpenRequest:
		o.isLong = r.Flags.IsReadOnly()
	case *fuse.ReadRequest:
		o.isLong = true
	}
	rs.add(hdr.ID, o)
	return ctx, cancel
}

// beginQuick takes note of a request that a reader answers.
func (rs *requests) beginQuick(req fuse.Request) {
	hdr := req.Hdr()
	rs.add(hdr.ID, openRequest{tid: hdr.Pid})
}

func (rs *requests) add(id fuse.RequestID, o openRequest) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.open[id] = o
}

// end is called before the answer, and reports whether that is still to be
// given.
func (rs *requests) end(id fuse.RequestID) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	_, ok := rs.open[id]
	delete(rs.open, id)
	return ok
}

// signalled ends the context of a request, if that may be. It reports whether
// the request has no answer yet, and whether who waits for it is being killed.
func (rs *requests) signalled(id fuse.RequestID) (isOpen, isKilled bool) {
	rs.mu.Lock()
	o, isOpen := rs.open[id]
	rs.mu.Unlock()
	isKilled = isOpen && rs.isKilled(o.tid)
	if o.cancel != nil && (o.isLong || isKilled) {
		o.cancel()
	}
	return isOpen, isKilled
}

// interrupt sees to it that a request ends, if that may be.
func (rs *requests) interrupt(r *fuse.InterruptRequest) {
	isOpen, isKilled := rs.signalled(r.IntrID)
	if !isOpen {
		// Answered, or read by another reader that has not said so yet: where
		// it is not answered the kernel asks again.
		r.RespondError(syscall.EAGAIN)
		return
	}
	rs.watch(r, isKilled)
}

// watch waits until a request is answered, or who waits for it is killed.
func (rs *requests) watch(r *fuse.InterruptRequest, isKilled bool) {
	if isKilled {
		time.AfterFunc(graceOfKilled, func() { rs.abandon(r) })
		return
	}
	time.AfterFunc(killedPause, func() {
		if isOpen, isKilled := rs.signalled(r.IntrID); isOpen {
			rs.watch(r, isKilled)
		} else {
			r.Respond()
		}
	})
}

// abandon answers a request that has no answer yet. What it asks for goes on, or
// not, as it would: the bytes of the request are still in use, so the answer
// takes those of the INTERRUPT, which needs none itself.
func (rs *requests) abandon(r *fuse.InterruptRequest) {
	if !rs.end(r.IntrID) {
		r.Respond()
		return
	}
	r.Hdr().ID = r.IntrID
	r.RespondError(syscall.EINTR)
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
		l.requests.interrupt(r)
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
	if l.mayKeepReader() && c.isQuick() {
		l.requests.beginQuick(req)
		c.answer(context.Background())
		return
	}
	ctx, cancel := l.requests.begin(req)
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

	// What the answer tells the kernel.
	entered fuse.NodeID   // that it knows once more
	opened  fuse.HandleID // that it has now
}

// answer answers a request, whatever happens.
func (c *call) answer(ctx context.Context) {
	c.loop.monitor.begin()
	defer c.loop.monitor.end()
	respond, err := c.serve(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = syscall.EINTR
	}
	if !c.loop.requests.end(c.req.Hdr().ID) {
		c.unsaid()
		return
	}
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
