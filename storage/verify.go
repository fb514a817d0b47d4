package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"

	"registryfs/digest"
	"registryfs/driver"
)

const (
	// maxVerdicts bounds the verdicts that are remembered.
	maxVerdicts = 1 << 17
	// verifyBuffer is the size in bytes of the reads of a verification.
	verifyBuffer = 1 << 20
)

// errChanged says that a file was replaced or written to during a pass.
var errChanged = fmt.Errorf("%w: it changes while it is read", ErrCorrupt)

// errPanic says that a verification ended in a way that no content is to bring
// about.
var errPanic = errors.New("storage: the verification panicked")

// verifier checks stored content against digests, and remembers what it found
// for as long as the file stays as it was.
type verifier struct {
	slots chan struct{} // bounds the passes that run at once
	log   *slog.Logger

	mu       sync.Mutex
	verdicts map[digest.Digest]verdict
	passes   map[passKey]*pass
}

// verdict is what is known about a version of a file: that it is good, and
// perhaps that it is durable.
type verdict struct {
	version string
	durable bool
}

// passKey tells passes over different versions of a file apart.
type passKey struct {
	digest  digest.Digest
	version string
}

// pass is one verification, shared by all who wait for it. It stops when
// nobody does.
type pass struct {
	done    chan struct{}
	err     error // valid after done
	cancel  context.CancelFunc
	waiters int
}

func newVerifier(log *slog.Logger) *verifier {
	return &verifier{
		log:      log,
		slots:    make(chan struct{}, max(1, runtime.GOMAXPROCS(0))),
		verdicts: map[digest.Digest]verdict{},
		passes:   map[passKey]*pass{},
	}
}

// setGood records that a version of a file is the content of d.
func (v *verifier) setGood(d digest.Digest, version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.record(d, version)
}

func (v *verifier) record(d digest.Digest, version string) {
	if version == "" {
		return
	}
	if _, known := v.verdicts[d]; !known && len(v.verdicts) >= maxVerdicts {
		for other := range v.verdicts { // any: the cost is one more pass
			delete(v.verdicts, other)
			break
		}
	}
	v.verdicts[d] = verdict{version: version}
}

// setDurable records that a version of a file, if it is the one that is good,
// is durable too.
func (v *verifier) setDurable(d digest.Digest, version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if version != "" && v.verdicts[d].version == version {
		v.verdicts[d] = verdict{version, true}
	}
}

func (v *verifier) isDurable(d digest.Digest, version string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return version != "" && v.verdicts[d] == verdict{version, true}
}

// check verifies this version of a file against d, unless it is known to be
// good. open opens the file anew, since a pass may outlive the caller that
// began it. Errors: [ErrCorrupt], errChanged.
func (v *verifier) check(ctx context.Context, d digest.Digest, version string, open func(context.Context) (driver.File, error)) error {
	key := passKey{d, version}
	v.mu.Lock()
	if version != "" && v.verdicts[d].version == version {
		v.mu.Unlock()
		return nil
	}
	p := v.passes[key]
	if p == nil {
		p = v.begin(context.WithoutCancel(ctx), key, open)
	}
	p.waiters++
	v.mu.Unlock()

	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		v.mu.Lock()
		defer v.mu.Unlock()
		if p.waiters--; p.waiters == 0 && v.passes[key] == p {
			p.cancel()
			delete(v.passes, key) // a later caller begins afresh
		}
		return ctx.Err()
	}
}

// begin starts a pass. The caller holds mu.
func (v *verifier) begin(ctx context.Context, key passKey, open func(context.Context) (driver.File, error)) *pass {
	ctx, cancel := context.WithCancel(ctx)
	p := &pass{done: make(chan struct{}), cancel: cancel}
	v.passes[key] = p
	go func() {
		defer cancel()
		err := v.run(ctx, key, open)
		v.mu.Lock()
		defer v.mu.Unlock()
		if err == nil {
			v.record(key.digest, key.version)
		}
		if v.passes[key] == p {
			delete(v.passes, key)
		}
		p.err = err
		close(p.done)
	}()
	return p
}

// run is a pass. Nobody above it would catch a panic, which would take all
// others that use the process with it.
func (v *verifier) run(ctx context.Context, key passKey, open func(context.Context) (driver.File, error)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
			v.log.Error("panic", "digest", key.digest, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	f, err := open(ctx)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Version != key.version {
		return errChanged
	}
	if err := hashFile(ctx, key.digest, f, info); err != nil {
		return err
	}
	after, err := f.Stat()
	if err != nil {
		return err
	}
	if after.Version != key.version {
		return errChanged
	}
	return nil
}

// hashFile compares the content of f with d.
func hashFile(ctx context.Context, d digest.Digest, f io.ReaderAt, info driver.FileInfo) error {
	got, err := hashContent(ctx, d.Algorithm(), f, info.Size)
	if isNoArchive(err) {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, info.Path, err)
	}
	if err != nil {
		return err
	}
	if got != d {
		return fmt.Errorf("%w: %s holds %s", ErrCorrupt, info.Path, got)
	}
	return nil
}

// isNoArchive reports whether a tarsum could not be computed because content is
// nothing that has one.
func isNoArchive(err error) bool {
	return errors.Is(err, digest.ErrArchive) || errors.Is(err, digest.ErrArchiveTooLarge)
}

// hashContent is the digest of the first size bytes of r. Reading fewer is an
// error.
func hashContent(ctx context.Context, alg digest.Algorithm, r io.ReaderAt, size int64) (digest.Digest, error) {
	section := io.NewSectionReader(r, 0, size)
	d, err := digest.Of(alg, bufio.NewReaderSize(&contextReader{ctx, section}, int(min(verifyBuffer, size+1))))
	if err != nil {
		return "", err
	}
	if n, _ := section.Seek(0, io.SeekCurrent); n != size {
		return "", fmt.Errorf("read %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	return d, nil
}

// contextReader ends reading when a context does; it lives for one call. It
// hides the WriterTo of what it reads, which would ignore the buffer.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
