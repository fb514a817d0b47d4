package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"

	"registryfs/fsmount"
)

func mountCommand() *cli.Command {
	return &cli.Command{
		Name:      "mount",
		Usage:     "mount a registry and serve it until it is unmounted",
		ArgsUsage: "SOURCE MOUNTPOINT",
		Description: "SOURCE is a registry's storage directory (its rootdirectory, which holds " + storeDir + "),\n" +
			"or mem: for a registry in memory that ends with the mount; mem:4G may hold 4 GiB, mem: half\n" +
			"of the memory that is free.\n" +
			"SIGINT and SIGTERM unmount: open files are served to their end, up to --drain-timeout;\n" +
			"a second signal exits at once.",
		Flags: mountFlagSet(),
		Action: func(c *cli.Context) error {
			o, err := parseMountOptions(c)
			if err != nil {
				return err
			}
			switch {
			case o.readyFD != 0:
				return serveDaemon(c.Context, o)
			case o.daemon:
				return startDaemon(c.Context, o)
			}
			return serve(c.Context, o, func(src source, dir string) {
				fmt.Fprintf(c.App.ErrWriter, "registryfs: mounted %s on %s\n", src.name, dir)
			})
		},
	}
}

// serve mounts a registry, calls ready, and returns when the mount has ended.
func serve(ctx context.Context, o mountOptions, ready func(src source, dir string)) error {
	signals := catchSignals()
	defer signals.stop()

	src, err := findSource(o.source, o.create)
	if err == nil && !o.readOnly {
		err = src.checkMovable("mount it with --read-only")
	}
	if err != nil {
		return err
	}
	if err := preflight(o.allowOther); err != nil {
		return err
	}
	dir, err := findMountPoint(ctx, o.mountPoint, src)
	if err != nil {
		return err
	}
	logs := os.Stderr
	if o.logFile != "" && o.readyFD == 0 { // a daemon's standard error is its log file already
		if logs, err = openLog(o.logFile); err != nil {
			return err
		}
		defer logs.Close()
	}
	log := newLogger(logs, o)

	m, claim, err := mountOnce(ctx, src, dir, o, log)
	if err != nil {
		return err
	}
	defer claim.Close()
	here, err := mountAt(dir)
	if err == nil {
		var lit io.Closer
		if lit, err = lightBeacon(here); err == nil {
			defer lit.Close()
		}
	}
	if err != nil {
		log.Warn("registryfs unmount will not wait for this daemon", "reason", err)
	}
	ready(src, dir)
	err = signals.wait(ctx, m, o.drainTimeout, log)
	signals.stop() // what is left to do can be ended by any
	if errors.Is(err, errInterrupted) && here != nil {
		// The second signal may have come before the first was served.
		if left, _ := mountAt(dir); left != nil && left.ID == here.ID {
			_ = fusermount(ctx, "-uz", dir)
		}
	}
	return err
}

// mountOnce mounts where nothing of ours is mounted, also if several of us start
// at the same moment.
func mountOnce(ctx context.Context, src source, dir string, o mountOptions, log *slog.Logger) (*fsmount.Mount, io.Closer, error) {
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, nil, err
	}
	defer lock.Close()
	if err := clearDead(ctx, dir); err != nil {
		return nil, nil, err
	}
	return mount(ctx, src, dir, o, log)
}

const logMode = 0o640

func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, logMode)
	if err != nil {
		return nil, fmt.Errorf("--log-file: %w", err)
	}
	return f, nil
}
