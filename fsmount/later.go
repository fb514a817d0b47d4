package fsmount

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// briefPause is how long a name that may be a temporary waits for its rename.
const briefPause = 2 * time.Second

// publishLater publishes a file under its name unless it is renamed first.
func (f *fileSystem) publishLater(file *stagedFile) {
	t := file.goal()
	f.afterPause(func() {
		defer f.deciding.lock(t.place.repo)()
		if l, ok := f.names.get(t.place, t.name); !ok || l.file != file || file.isOpen() {
			return
		}
		defer f.names.remove(t.place, t.name, local{file: file})
		if file.isEmpty() {
			return
		}
		t.means = aTag
		if _, err := f.publish(context.Background(), t, file.content()); err != nil {
			f.note(0, "close", t.path(), err)
		}
		f.dropBytes(file)
	})
}

// afterPause calls fn after the pause, or when the mount closes. The server
// catches the panics of its handlers only.
func (f *fileSystem) afterPause(fn func()) {
	f.later.Add(1)
	time.AfterFunc(briefPause, func() {
		defer f.later.Done()
		defer func() {
			if p := recover(); p != nil {
				f.note(0, "publish", "/", fmt.Errorf("panic: %v", p))
				f.log.Error("panic", "panic", p, "stack", string(debug.Stack()))
			}
		}()
		fn()
	})
}

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
// has ended. Names that may be temporaries are decided.
func (f *fileSystem) finish() {
	f.closing.Store(true)
	var ending sync.WaitGroup
	for _, h := range f.handles.all() { // not one after the other: one may hang
		ending.Go(func() { h.end(context.Background(), false) })
	}
	ending.Wait()
	f.later.Wait()
	f.abandon()
	for _, file := range f.names.files() {
		if id, err := file.content().keep(); err != nil || id != "" {
			f.note(0, "unmount", file.path(), errors.Join(errors.New("kept as upload "+id), err))
		}
	}
}
