package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// readyFlag is the hidden flag by which startDaemon tells its child where
	// to report.
	readyFlag = "ready-fd"
	// firstExtraFD is the number of the first of exec.Cmd's ExtraFiles.
	firstExtraFD = 3
	// readyLine is the report of success; anything else is a reason.
	readyLine = "ready"
)

// startDaemon runs the same command again in a session of its own and returns
// once that has mounted, or with its reason. A Go program cannot fork: its
// threads would be gone in the child.
func startDaemon(ctx context.Context, o mountOptions) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	defer r.Close()

	args := helperArgs(os.Args)[2:] // past the program and "mount"
	args = append([]string{"mount", fmt.Sprintf("--%s=%d", readyFlag, firstExtraFD)}, args...)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = "registryfs" // whatever the file is called: see helperArgs
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if o.logFile != "" {
		// Go writes the traces of a crash there too.
		logs, err := openLog(o.logFile)
		if err != nil {
			w.Close()
			return err
		}
		defer logs.Close()
		cmd.Stderr = logs
	}
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}

	report, err := bufio.NewReader(r).ReadString('\n')
	report = strings.TrimSpace(report)
	switch {
	case err == nil && report == readyLine:
		return cmd.Process.Release()
	case err == nil:
		err = errors.New(report)
	case err == io.EOF:
		err = errors.New("the daemon died before it had mounted")
	}
	_ = cmd.Wait() // its reason is known better than its status
	return err
}

// serveDaemon is serve in the process that startDaemon made.
func serveDaemon(ctx context.Context, o mountOptions) error {
	syscall.CloseOnExec(o.readyFD)
	pipe := os.NewFile(uintptr(o.readyFD), "ready")
	report := func(line string) {
		// A reader that is gone was killed while it waited. The mount it asked
		// for stands, as if it had lived a moment longer.
		_, _ = io.WriteString(pipe, line+"\n")
		pipe.Close()
	}
	mounted := false
	err := serve(ctx, o, func(source, string) {
		mounted = true
		// Keep no directory busy. Every path is absolute by now.
		_ = os.Chdir(string(filepath.Separator))
		report(readyLine)
	})
	if err != nil && !mounted {
		report(oneLine(err))
	}
	return err
}
