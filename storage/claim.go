package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"registryfs/driver"
)

// Claimer is implemented by registries that can make their use known to the
// other processes that work on the store.
type Claimer interface {
	// Claim says, until the result is closed or the process ends, that this
	// process writes to the store. Nobody then collects garbage offline,
	// repairs the store or removes repositories. It comes before the first
	// write. Errors: [ErrInUse], [ErrReadOnly].
	Claim(ctx context.Context, o ClaimOptions) (io.Closer, error)
}

// ClaimOptions say how a store is used.
type ClaimOptions struct {
	// Exclusive says that nothing but this process writes to the store, and
	// marks it so. Then garbage can be collected meanwhile, unless there is no
	// room for the mark, which is logged.
	Exclusive bool
	// By says for people who it is.
	By string
}

var _ Claimer = (*registry)(nil)

// mark is what the file at layoutMark says of the process that made it. Only
// while that process holds its lock does it mean anything.
type mark struct {
	By    string    `json:"by"`
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// maxMark is the size in bytes of the largest mark that is read.
const maxMark = 4096

func (r *registry) Claim(ctx context.Context, o ClaimOptions) (io.Closer, error) {
	if err := r.writable(); err != nil {
		return nil, err
	}
	use, err := r.lock(ctx, lockUse, !o.Exclusive)
	if err != nil {
		return nil, r.inUse(ctx, err)
	}
	if !o.Exclusive {
		if err := r.unmarked(ctx); err != nil {
			use.Close()
			return nil, err
		}
		return use, nil
	}
	if err := r.markExclusive(ctx, o.By); err != nil {
		// A full disk is no reason not to use the store. The mark of one who
		// has died must not stand for us, though.
		r.log.Warn("garbage cannot be collected beside this mount", "reason", err)
		if err := ignore(r.driver.Delete(ctx, layoutMark)); err != nil {
			use.Close()
			return nil, err
		}
	}
	return closers{endOfClaim{r}, use}, nil
}

// markExclusive makes the leases first, so that whoever finds the mark finds
// them.
func (r *registry) markExclusive(ctx context.Context, by string) error {
	l := &leases{registry: r}
	if err := l.begin(ctx); err != nil {
		return fmt.Errorf("begin leases: %w", err)
	}
	host, _ := os.Hostname()
	content, err := json.Marshal(mark{By: by, PID: os.Getpid(), Host: host, Since: r.clock.Now().UTC().Truncate(time.Second)})
	if err == nil {
		err = r.driver.PutContent(ctx, layoutMark, append(content, '\n'))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("mark the store: %w", err), l.end())
	}
	r.leases.Store(l)
	return nil
}

// unmarked takes away the mark of a process that has died. A collection that
// began beside that process may still be at work.
func (r *registry) unmarked(ctx context.Context) error {
	sweep, err := r.lock(ctx, lockSweep, true)
	if errors.Is(err, ErrInUse) {
		return fmt.Errorf("%w: garbage is being collected, which ends by itself", err)
	}
	if err != nil {
		return err
	}
	defer sweep.Close()
	return ignore(r.driver.Delete(ctx, layoutMark))
}

// endOfClaim takes away the mark, and then the leases.
type endOfClaim struct{ registry *registry }

func (e endOfClaim) Close() error {
	err := ignore(e.registry.driver.Delete(context.Background(), layoutMark))
	if l := e.registry.leases.Swap(nil); l != nil {
		err = errors.Join(err, l.end())
	}
	return err
}

// isMarked reports whether an exclusive user is at work. The caller holds
// lockSweep, and nobody but that user holds lockUse alone then.
func (r *registry) isMarked(ctx context.Context) (bool, error) {
	if _, err := r.driver.Stat(ctx, layoutMark); err != nil {
		return false, ignore(err)
	}
	use, err := driver.Lock(ctx, r.driver, lockUse, true)
	switch {
	case errors.Is(err, driver.ErrBusy):
		return true, nil
	case errors.Is(err, errors.ErrUnsupported):
		return false, nil
	case err != nil:
		return false, err
	}
	return false, use.Close()
}

// inUse says of [ErrInUse] who it is, as far as that can be known.
func (r *registry) inUse(ctx context.Context, err error) error {
	if !errors.Is(err, ErrInUse) {
		return err
	}
	content, _, readErr := driver.GetFile(ctx, r.driver, layoutMark, maxMark)
	var m mark
	if readErr != nil || json.Unmarshal(content, &m) != nil || m.PID == 0 {
		return err
	}
	return fmt.Errorf("%w: by %s, process %d on %s", err, m.By, m.PID, m.Host)
}
