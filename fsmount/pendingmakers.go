package fsmount

import (
	"maps"
	"slices"
)

// watchMaker has the waits of a process end with it: the manifests that it has
// not brought by then will not come. One whose end cannot be told is waited for
// as long as a tag may wait.
func (f *fileSystem) watchMaker(maker process) {
	p := f.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.makers[maker]; known || maker == (process{}) {
		return
	}
	stop, err := maker.whenEnded(func() { f.makerEnded(maker) })
	if err != nil {
		f.log.Warn("cannot wait for the end of a process", "pid", maker.id, "error", err)
		stop = func() {}
	}
	p.makers[maker] = stop
}

// makerEnded ends the waits of a process.
func (f *fileSystem) makerEnded(maker process) {
	f.abandon(func(t *pendingTag) bool { return t.maker == maker }, "the program that made the link has ended")
	f.pending.mu.Lock()
	defer f.pending.mu.Unlock()
	delete(f.pending.makers, maker)
}

// reportEnded makes sure that the waits of processes that have ended are among
// the failures: who waits for a program, and looks there, may be faster than
// the news of its end.
func (f *fileSystem) reportEnded() {
	f.pending.mu.Lock()
	makers := slices.Collect(maps.Keys(f.pending.makers))
	f.pending.mu.Unlock()
	for _, maker := range makers {
		if maker.hasEnded() {
			f.makerEnded(maker)
		}
	}
}

// endWaits ends all waits, since the mount has ended.
func (f *fileSystem) endWaits() {
	f.abandon(func(*pendingTag) bool { return true }, "the mount has ended")
	f.pending.mu.Lock()
	defer f.pending.mu.Unlock()
	for _, stop := range f.pending.makers {
		stop()
	}
	clear(f.pending.makers)
}
