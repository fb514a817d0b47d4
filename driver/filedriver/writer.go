package filedriver

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"registryfs/driver"
)

func (s *store) Writer(_ context.Context, path string, append bool) (driver.Writer, error) {
	for range maxRaces {
		w, err := s.openWriter(path)
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EEXIST),
			errors.Is(err, errMade), errors.Is(err, errReplaced):
			continue // others are at work here
		default:
			return nil, s.fault(err)
		}
		if !append && w.size > 0 {
			if err := w.Truncate(0); err != nil {
				return nil, errors.Join(err, w.release())
			}
		}
		return w, nil
	}
	if err := s.fault(unix.ENOENT); errors.Is(err, ErrRootGone) {
		return nil, err
	}
	return nil, driver.ErrBusy
}

// errReplaced says that a path came to name another file while one was opened.
var errReplaced = errors.New("replaced meanwhile")

// openWriter opens or makes the file and locks it.
func (s *store) openWriter(path string) (_ *writer, err error) {
	w := &writer{store: s}
	w.dir, w.name, err = s.makeParent(path)
	if err != nil {
		return nil, err
	}
	w.file, err = s.sys.Open(w.dir, w.name, 0, 0)
	if errors.Is(err, unix.ENOENT) {
		w.file, err = s.create(w.dir, w.name)
	}
	if err != nil {
		w.dir.Close()
		return nil, err
	}
	if err := w.lock(); err != nil {
		return nil, errors.Join(err, w.release())
	}
	return w, nil
}

// writer is a file open for writing and locked, with its directory.
type writer struct {
	store *store
	dir   *os.File
	name  string
	file  *os.File

	mu   sync.Mutex
	size int64
	// err is the first failure of a write or a sync. It stays: once the
	// kernel has reported one, a later fsync may succeed without the bytes.
	err error
}

var (
	_ driver.RandomWriter  = (*writer)(nil)
	_ driver.HeldCommitter = (*writer)(nil)
)

// lock takes the file for this writer and makes sure that it is still the one
// to write: before the lock another may have moved it away.
func (w *writer) lock() error {
	if err := flock(w.file, unix.LOCK_EX); err != nil {
		return err
	}
	st, err := fstat(w.file)
	if err != nil {
		return err
	}
	w.size = st.Size
	switch named, err := w.named(); {
	case err != nil:
		return err
	case !named:
		return errReplaced
	}
	return nil
}

// named reports whether the path names the file.
func (w *writer) named() (bool, error) {
	have, err := fstat(w.file)
	if err != nil {
		return false, err
	}
	st, err := lstat(w.dir, w.name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return st.Dev == have.Dev && st.Ino == have.Ino, err
}

func (w *writer) Size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

func (w *writer) Write(p []byte) (int, error) { return w.WriteAt(p, w.Size()) }

func (w *writer) WriteAt(p []byte, offset int64) (int, error) {
	if err := w.failed(); err != nil {
		return 0, err
	}
	n, err := w.store.sys.WriteAt(w.file, p, offset)
	if n < len(p) && err == nil {
		err = io.ErrShortWrite
	}
	if n > 0 {
		w.mu.Lock()
		w.size = max(w.size, offset+int64(n))
		w.mu.Unlock()
	}
	return n, w.keep(err)
}

func (w *writer) ReadAt(p []byte, offset int64) (int, error) {
	n, err := w.file.ReadAt(p, offset)
	if err == io.EOF {
		return n, err
	}
	return n, w.store.fault(err)
}

func (w *writer) Truncate(size int64) error {
	if err := w.failed(); err != nil {
		return err
	}
	if err := w.keep(w.store.sys.Truncate(w.file, size)); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size = size
	return nil
}

// Sync makes the bytes durable, and the name.
func (w *writer) Sync() error {
	if err := w.failed(); err != nil {
		return err
	}
	if err := w.keep(w.store.sys.Sync(w.file)); err != nil {
		return err
	}
	return w.keep(w.store.sys.SyncDir(w.dir))
}

func (w *writer) Close() error {
	return errors.Join(w.Sync(), w.release())
}

func (w *writer) Commit(ctx context.Context) error {
	release, err := w.CommitHeld(ctx)
	if err != nil {
		return err
	}
	return release()
}

// CommitHeld goes on to hold the lock, which is on the file, whatever it is
// called.
func (w *writer) CommitHeld(context.Context) (release func() error, err error) {
	if err := w.Sync(); err != nil {
		return nil, err
	}
	switch named, err := w.named(); {
	case err != nil:
		return nil, w.store.fault(err)
	case !named:
		return nil, driver.ErrNotExist
	}
	return w.release, nil
}

// Cancel removes the file while it is still locked.
func (w *writer) Cancel(context.Context) error {
	named, err := w.named()
	if err == nil && named {
		err = w.store.sys.Unlink(w.dir, w.name, 0)
		if err == nil {
			err = w.store.sys.SyncDir(w.dir)
		}
	}
	return errors.Join(w.store.fault(err), w.release())
}

// release unlocks and closes the file.
func (w *writer) release() error {
	return w.store.fault(errors.Join(unlock(w.file), w.dir.Close()))
}

// failed is the failure that ended all writing, or nil.
func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// keep makes a failure last, and puts it in the words of package driver.
func (w *writer) keep(err error) error {
	if err == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = w.store.fault(err)
	}
	return w.err
}
