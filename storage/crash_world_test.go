package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/storage"
	"registryfs/storage/storagetest"
)

// world is a process that works on a store.
type world struct {
	ctx    context.Context
	op     *operation
	driver driver.Driver
	reg    storage.Registry
	again  bool           // a step may have been begun before
	upload string         // the id of the upload under way
	held   storage.Upload // the same, where a step has left it open
	passed func()         // called when a removal has been made already; may be nil
}

// enter opens the registry of a directory as a new process does.
func (op *operation) enter(ctx context.Context, dir string, sys filedriver.Sys) (*world, error) {
	d, err := filedriver.New(dir, filedriver.Options{Sys: sys})
	if err != nil {
		return nil, err
	}
	w := &world{ctx: ctx, op: op, driver: d}
	if !op.isFirst {
		err = w.open()
	}
	return w, err
}

func (w *world) open() (err error) {
	w.reg, err = storage.Open(w.ctx, w.driver, storage.Options{Create: w.op.isFirst, AllowDelete: true})
	return err
}

func (w *world) repo(name string) storage.Repository {
	repo, err := w.reg.Repository(name)
	if err != nil {
		panic(err)
	}
	return repo
}

// see is the sight of the registry, which may have to be opened.
func (w *world) see() (sight, error) {
	if w.reg == nil {
		if err := w.open(); err != nil {
			return nil, err
		}
	}
	return see(w.ctx, w.reg)
}

// run makes the steps from done on, and returns how many have been made in all.
func (w *world) run(done int) (int, error) {
	for _, step := range w.op.steps[done:] {
		if err := step(w); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

// gone passes over an error that says a removal has been made already.
func (w *world) gone(err error) error {
	if !w.again || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if w.passed != nil {
		w.passed()
	}
	return nil
}

// put pushes a blob in two writes.
func (w *world) put(repo string, content []byte) error {
	u, err := w.repo(repo).Blobs().Create(w.ctx)
	if err != nil {
		return err
	}
	defer u.Cancel(w.ctx)
	if err := writeParts(u, content[:len(content)/2], content[len(content)/2:]); err != nil {
		return err
	}
	_, err = u.Commit(w.ctx, storage.Descriptor{Digest: digest.FromBytes(content)})
	return err
}

func writeParts(u storage.Upload, parts ...[]byte) error {
	for _, part := range parts {
		if _, err := u.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// begin begins an upload, and leaves it held.
func (w *world) begin(content []byte) error {
	u, err := w.repo("app").Blobs().Create(w.ctx)
	if err != nil {
		return err
	}
	w.upload, w.held = u.ID(), u
	return writeParts(u, content)
}

// letGo closes the upload that is held.
func (w *world) letGo() error {
	if w.held == nil {
		return nil
	}
	u := w.held
	w.held = nil
	return u.Close()
}

// finish commits the upload under way, of which the first kept bytes of both
// were acknowledged: what comes after them is written again.
func (w *world) finish(kept int) error {
	u, err := w.held, error(nil)
	if u == nil {
		u, err = w.repo("app").Blobs().Resume(w.ctx, w.upload)
	}
	if w.again && errors.Is(err, storage.ErrUploadUnknown) {
		_, err = w.repo("app").Blobs().Stat(w.ctx, digest.FromBytes(both)) // it was finished
		return err
	}
	if err != nil {
		return err
	}
	w.held = u
	if u.Size() > 0 { // else its content has been published
		err = u.Truncate(int64(kept))
	}
	if u.Size() > 0 && kept < len(both) && err == nil {
		err = writeParts(u, both[kept:])
	}
	if err == nil {
		_, err = u.Commit(w.ctx, storage.Descriptor{Digest: digest.FromBytes(both), Size: int64(len(both))})
	}
	return errors.Join(err, w.letGo())
}

// purge removes all uploads.
func (w *world) purge() error {
	_, err := w.reg.(storage.Purger).PurgeUploads(w.ctx, storage.PurgeOptions{OlderThan: -time.Hour})
	return err
}

// removeApp removes the repository app.
func (w *world) removeApp() error {
	return w.gone(w.reg.(storage.RepositoryRemover).RemoveRepository(w.ctx, "app"))
}

// repair repairs all that is damaged.
func (w *world) repair() error {
	var damage error
	_, err := w.reg.(storage.Checker).Check(w.ctx, storage.CheckOptions{Repair: true}, func(f storage.Finding) {
		if f.Damage && !f.Repaired {
			damage = fmt.Errorf("%w: %s: %s: %s", errDamage, f.Path, f.Reason, f.Remedy)
		}
	})
	return errors.Join(damage, err)
}

// collect removes what nothing needs, and reports what it cannot read.
func (w *world) collect() error { return w.collectBy(storage.CollectOptions{Offline: true}) }

// collectUntagged removes manifests too that no tag leads to.
func (w *world) collectUntagged() error {
	return w.collectBy(storage.CollectOptions{Offline: true, Untagged: true})
}

func (w *world) collectBy(o storage.CollectOptions) error {
	var damage error
	_, err := w.reg.(storage.Collector).Collect(w.ctx, o, func(c storage.Collected) {
		if c.Err != nil {
			damage = fmt.Errorf("%w: %s: %w", errDamage, c.Path, c.Err)
		}
	})
	return errors.Join(damage, err)
}

// errDamage says that a collection, or a repair, came to its end, and left as it
// is what it could not read, or could not make sense of without that.
var errDamage = errors.New("damage is left")

// check reports damage that a check of the store finds.
func (w *world) check() error {
	var damage []error
	_, err := w.reg.(storage.Checker).Check(w.ctx, storage.CheckOptions{}, func(f storage.Finding) {
		if f.Damage {
			damage = append(damage, fmt.Errorf("check finds %s %s: %s", f.Kind, f.Path, f.Reason))
		}
	})
	return errors.Join(append(damage, err)...)
}

// scene is a store to begin with.
type scene struct {
	op   *operation
	dir  string
	seen []sight // what is to show after so many steps
}

// newScene makes the store of an operation, and finds out by a run that nothing
// disturbs what is to show after each step.
func newScene(t *testing.T, op *operation) *scene {
	t.Helper()
	s := &scene{op: op, dir: storagetest.MemoryDir(t)}
	if op.isFirst {
		s.seen = append(s.seen, sight{})
	} else {
		d := openDir(t, s.dir, filedriver.Options{Sys: &hooked{}})
		repo := repository(t, create(t, d), "app")
		op.index = pushIndex(t, repo, push(t, repo, "one", "v1"), push(t, repo, "two", "v2"))
		putBlob(t, repo, loose)
		if op.prepare != nil {
			op.prepare(t, d, repo)
		}
		w, err := op.enter(t.Context(), s.dir, &hooked{})
		require.NoError(t, err)
		seen, err := w.see()
		require.NoError(t, err)
		s.seen = append(s.seen, seen)
	}
	w, err := op.enter(t.Context(), s.copy(t), &hooked{})
	require.NoError(t, err)
	for _, step := range op.steps {
		require.NoError(t, step(w))
		seen, err := w.see()
		require.NoError(t, err)
		s.seen = append(s.seen, seen)
	}
	return s
}

// copy makes a copy of the store.
func (s *scene) copy(t *testing.T) string {
	t.Helper()
	dir := storagetest.MemoryDir(t)
	require.NoError(t, os.CopyFS(dir, os.DirFS(s.dir)))
	return dir
}

// judge looks at the store in dir as the next process finds it after w died,
// when so many steps had been acknowledged, and reports what must not be. Then
// it makes the steps that are left, and the last one in any case, which must
// lead where the operation leads.
func (s *scene) judge(dir string, w world, done int) error {
	if err := s.inspect(dir, done); err != nil {
		return err
	}
	next, err := s.op.enter(w.ctx, dir, &hooked{})
	if err != nil {
		return err
	}
	next.upload, next.again = w.upload, true
	if err := s.compare(next, done); err != nil {
		return err
	}
	if next.reg != nil && s.isWhole(done) {
		if err := next.check(); err != nil {
			return err
		}
	}
	last := len(s.op.steps)
	if n, err := next.run(min(done, last-1)); err != nil {
		return fmt.Errorf("step %d cannot be repeated: %w", n, err)
	}
	return s.end(dir, next)
}

// end reports what w, which has made all steps, has not led to.
func (s *scene) end(dir string, w *world) error {
	last := len(s.op.steps)
	if err := s.compare(w, last); err != nil {
		return fmt.Errorf("after repeating: %w", err)
	}
	// What is left over can be collected, and nothing else goes with it.
	if err := errors.Join(w.check(), w.purge()); err != nil {
		return err
	}
	store, err := inspect(dir, "")
	switch {
	case err != nil:
		return fmt.Errorf("after repeating: %w", err)
	case store.uploads > 0:
		return errors.New("an upload cannot be purged")
	}
	seen, err := w.see()
	if err != nil {
		return err
	}
	if err := seen.between(s.seen[last], s.seen[last]); err != nil {
		return fmt.Errorf("after purging: %w", err)
	}
	// A collection goes further: blobs that no manifest references go too.
	if err := errors.Join(w.collect(), w.check()); err != nil {
		return err
	}
	after, err := w.see()
	if err != nil {
		return err
	}
	for _, of := range []sight{seen, after} {
		maps.DeleteFunc(of, func(key, _ string) bool { return strings.Contains(key, " blob ") })
	}
	return after.between(seen, seen)
}

// isWhole reports whether nothing may be damaged after so many steps.
func (s *scene) isWhole(done int) bool {
	return done == len(s.op.steps) || s.op.damaged == "" && !s.op.repairs
}

// inspect reports what the files of a store say that they must not, after so
// many steps.
func (s *scene) inspect(dir string, done int) error {
	if s.op.repairs && !s.isWhole(done) {
		return nil
	}
	_, err := inspect(dir, s.damaged(done))
	return err
}

// damaged is the content that need not be right after so many steps.
func (s *scene) damaged(done int) digest.Digest {
	if done == len(s.op.steps) {
		return ""
	}
	return s.op.damaged
}

// compare reports what does not show, after so many steps, as it must.
func (s *scene) compare(w *world, done int) error {
	if s.op.isFirst && done == 0 {
		_, err := storage.Open(w.ctx, w.driver, storage.Options{})
		if errors.Is(err, storage.ErrNoRegistry) {
			return nil
		}
	}
	seen, err := w.see()
	if err != nil {
		return err
	}
	if err := seen.between(s.seen[done], s.seen[min(done+1, len(s.op.steps))]); err != nil {
		return err
	}
	if s.op.holds != nil {
		return s.op.holds(w, seen, done)
	}
	return nil
}

// openBelow is the files that this process has open in a directory.
func openBelow(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	var open []string
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", entry.Name()))
		if err == nil && strings.HasPrefix(target, dir+"/") {
			open = append(open, target)
		}
	}
	return open
}
