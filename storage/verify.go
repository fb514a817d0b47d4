package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"

	"registryfs/digest"
	"registryfs/driver"
)

// errChanged says that a file was replaced or written to during a pass, or its
// attributes changed. It is no [ErrCorrupt]: the content may be good, and nobody
// may take it away.
var errChanged = errors.New("storage: content changes while it is read")

// errPanic says that a verification ended in a way that no content is to bring
// about.
var errPanic = errors.New("storage: the verification panicked")

// verifier checks stored content against digests, and remembers what it found
// for as long as the file stays as it was.
type verifier struct {
	slots chan struct{} // bounds the passes that run at once
	log   *slog.Logger

	mu       sync.Mutex
	verdicts verdicts
	passes   map[passKey]*pass
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
		verdicts: verdicts{byDigest: map[digest.Digest]verdict{}, most: maxChunkMemory},
		passes:   map[passKey]*pass{},
	}
}

// setGood records that a version of a file is the content of d.
func (v *verifier) setGood(d digest.Digest, version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.verdicts.record(d, version, nil)
}

// chunks is what good content of d is checked with, part by part, or nil.
func (v *verifier) chunks(d digest.Digest) *digest.Chunks {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.verdicts.byDigest[d].chunks
}

// check verifies this version of a file against d, unless it is known to be
// good. open opens the file anew, since a pass may outlive the caller that
// began it. The pass that this begins, if it does, shows o the content; o may
// be nil. Errors: [ErrCorrupt], errChanged.
func (v *verifier) check(ctx context.Context, d digest.Digest, version string, o Observer, open func(context.Context) (driver.File, error)) error {
	key := passKey{d, version}
	v.mu.Lock()
	if version != "" && v.verdicts.byDigest[d].version == version {
		v.mu.Unlock()
		return nil
	}
	p := v.passes[key]
	if p == nil {
		p = v.begin(context.WithoutCancel(ctx), key, o, open)
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
func (v *verifier) begin(ctx context.Context, key passKey, o Observer, open func(context.Context) (driver.File, error)) *pass {
	ctx, cancel := context.WithCancel(ctx)
	p := &pass{done: make(chan struct{}), cancel: cancel}
	v.passes[key] = p
	go func() {
		defer cancel()
		chunks, err := v.run(ctx, key, o, open)
		if o != nil {
			o.Verified(err)
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if err == nil {
			v.verdicts.record(key.digest, key.version, chunks)
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
func (v *verifier) run(ctx context.Context, key passKey, o Observer, open func(context.Context) (driver.File, error)) (chunks *digest.Chunks, err error) {
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
		return nil, ctx.Err()
	}
	f, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Version != key.version {
		return nil, errChanged
	}
	chunks, err = hashFile(ctx, key.digest, f, info, o)
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if after.Version != key.version {
		return nil, errChanged
	}
	return chunks, nil
}
