package fsmount

import (
	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
)

// A name that closing publishes is not found while it is written, so that any
// number of writers can create it. But who removes it finds it: programs remove
// what they could not write to its end. What is written then goes on without a
// name, and closing drops it.

// localNodeFor is localNode for who asks: whoever removes the name finds what is
// being written, too.
func (f *fileSystem) localNodeFor(p place, req *fuse.LookupRequest) fusefs.Node {
	if node := f.localNode(p, req.Name); node != nil {
		return node
	}
	if !f.isWritten(p, req.Name) || !isRemoving(req.Header.Pid) {
		return nil
	}
	for _, h := range f.writersOf(p, req.Name, req.Header.Pid) {
		if !h.isClosing() {
			return h.node
		}
	}
	return nil
}

// writersOf is the handles that write a file which the name of a place means to
// a thread: its own process's if there are any, else all.
func (f *fileSystem) writersOf(p place, name string, tid uint32) []*writeHandle {
	all := f.handles.named(placeName{p, name})
	var own []*writeHandle
	for _, h := range all {
		if h.isOpener(tid) {
			own = append(own, h)
		}
	}
	if len(own) > 0 {
		return own
	}
	return all
}

// isWritten reports whether anybody writes a file of that name.
func (f *fileSystem) isWritten(p place, name string) bool {
	return len(f.handles.named(placeName{p, name})) > 0
}

// unlinkWriters takes its name from what is being written, and reports whether
// there was anything.
func (f *fileSystem) unlinkWriters(p place, name string, tid uint32) bool {
	writers := f.writersOf(p, name, tid)
	for _, h := range writers {
		h.unlink()
	}
	return len(writers) > 0
}

// unlink makes the file of the handle one without a name. It waits for a
// publication that has begun.
func (h *writeHandle) unlink() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file != nil {
		h.file.rename(h.file.goal().unlinked())
	} else {
		h.isUnlinked.Store(true)
	}
	h.fs.handles.unlink(h)
}

// unlinked is what a file becomes that had the name and has it no more.
func (t target) unlinked() target {
	t.means, t.digest = aScratch, ""
	return t
}
