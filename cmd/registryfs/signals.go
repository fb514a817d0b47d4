package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

var errInterrupted = errors.New("a second signal ended the mount at once: what was being written is kept as uploads")

// served is a mount that is being served; fsmount.Mount is one.
type served interface {
	Wait() error
	Shutdown(ctx context.Context) error
}

// signals are the requests to end, caught from before the mount exists, so
// that none of them leaves a dead mount.
type signals struct{ c chan os.Signal }

func catchSignals() signals {
	s := signals{make(chan os.Signal, 2)}
	signal.Notify(s.c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return s
}

func (s signals) stop() { signal.Stop(s.c) }

// wait returns when m has ended. At the first signal it shuts m down, which
// detaches the mount point at once and serves what is open for up to drain; at
// a second it returns without waiting.
func (s signals) wait(ctx context.Context, m served, drain time.Duration, log *slog.Logger) error {
	ended := make(chan error, 1)
	go func() { ended <- m.Wait() }()

	select {
	case err := <-ended:
		return err
	case sig := <-s.c:
		log.Info("unmounting", "signal", sig.String(), "drain", drain)
	}
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	shut := make(chan error, 1)
	go func() { shut <- m.Shutdown(ctx) }()
	select {
	case err := <-shut:
		if errors.Is(err, context.DeadlineExceeded) {
			log.Warn("files were still open at the end of the drain timeout")
			err = nil
		}
		return errors.Join(err, <-ended)
	case <-s.c:
		return errInterrupted
	}
}
