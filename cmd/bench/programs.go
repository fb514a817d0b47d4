package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// commandPatience bounds one command.
const commandPatience = 10 * time.Minute

// output runs a program to its end and returns what it prints.
func (b *bench) output(ctx context.Context, name string, args ...string) (string, error) {
	var out bytes.Buffer
	err := b.start(ctx, &out, name, args...)
	return strings.TrimSpace(out.String()), err
}

// do runs a program to its end; what it prints goes to /dev/null.
func (b *bench) do(ctx context.Context, name string, args ...string) error {
	return b.start(ctx, nil, name, args...)
}

// shell runs a script, its arguments being $1, $2 and so on.
func (b *bench) shell(ctx context.Context, script string, args ...string) error {
	return b.do(ctx, "sh", append([]string{"-euc", script, "sh"}, args...)...)
}

// start runs a program to its end. Without out it writes to /dev/null itself,
// not to a pipe of ours.
func (b *bench) start(ctx context.Context, out *bytes.Buffer, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stderr = &errs
	if out != nil {
		cmd.Stdout = out
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %.200q: %w: %.1000s", name, args, err, strings.TrimSpace(errs.String()))
	}
	return nil
}

// doing is do, for later.
func (b *bench) doing(name string, args ...string) func(context.Context) error {
	return func(ctx context.Context) error { return b.do(ctx, name, args...) }
}

// atOnce runs functions at the same time and returns the first error.
func atOnce(n int, fn func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- fn(i) }()
	}
	var first error
	for range n {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}
