package fsmount

import (
	"context"
	"errors"
	"sync"
)

// dropBytes removes the bytes of a file that nobody can reach.
func (f *fileSystem) dropBytes(file *stagedFile) {
	if file.handles() > 0 {
		return // the last of them does it
	}
	if err := file.content().drop(context.Background()); err != nil {
		f.log.Warn("cannot remove what was written", "path", file.path(), "error", err)
	}
}

// finish ends every file that is open or waits for its rename, since the mount
// has ended.
func (f *fileSystem) finish() {
	f.closing.Store(true)
	var ending sync.WaitGroup
	for _, h := range f.handles.all() { // not one after the other: one may hang
		ending.Go(func() { h.end(context.Background(), false) })
	}
	ending.Wait()
	f.endWaits()
	for _, file := range f.names.files() {
		if id, err := file.content().keep(); err != nil || id != "" {
			f.note(0, "unmount", file.path(), errors.Join(errors.New("kept as upload "+id), err))
		}
	}
}
