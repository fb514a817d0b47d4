package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// daemon is a registryfs that serves a mount.
type daemon struct {
	bench *bench
	cmd   *exec.Cmd
	log   tail
	ended chan struct{}
}

// mount mounts a store on b.mnt and returns once that is done.
func (b *bench) mount(ctx context.Context, store string, options ...string) (*daemon, error) {
	d := &daemon{bench: b, ended: make(chan struct{})}
	d.cmd = exec.Command(b.program, append(append([]string{"mount"}, options...), store, b.mnt)...)
	errs, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		defer close(d.ended)
		lines := bufio.NewScanner(errs)
		for first := true; lines.Scan(); {
			if first && strings.HasPrefix(lines.Text(), "registryfs: mounted ") {
				first = false
				close(ready)
				continue
			}
			fmt.Fprintf(&d.log, "%s\n", lines.Text())
		}
		_, _ = io.Copy(io.Discard, errs) // after a line that is too long
		_ = d.cmd.Wait()
	}()
	select {
	case <-ready:
		return d, nil
	case <-d.ended:
		return nil, fmt.Errorf("registryfs did not mount: %s", d.log.String())
	case <-ctx.Done():
		_ = d.cmd.Process.Kill()
		return nil, ctx.Err()
	}
}

// unmount ends the mount and its daemon.
func (d *daemon) unmount(ctx context.Context) error {
	if err := d.bench.do(ctx, d.bench.program, "unmount", d.bench.mnt); err != nil {
		return fmt.Errorf("%w; the daemon said: %s", err, d.log.String())
	}
	select {
	case <-d.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// peak is the largest size that was ever resident, in bytes.
func (d *daemon) peak() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, found := strings.Cut(string(status), "VmHWM:")
	if !found {
		return 0, errors.New("no VmHWM in /proc/<pid>/status")
	}
	kib, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	return kib * 1024, err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// tailSize is how many bytes a tail keeps.
const tailSize = 4096

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	t.buf.Next(max(0, t.buf.Len()-tailSize))
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.buf.String())
}
