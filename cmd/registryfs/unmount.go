package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func unmountCommand() *cli.Command {
	return &cli.Command{
		Name:      "unmount",
		Aliases:   []string{"umount"},
		Usage:     "unmount a registry and wait until its daemon is gone",
		ArgsUsage: "MOUNTPOINT",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("unmount needs one MOUNTPOINT")
			}
			return unmount(c.Context, c.Args().First(), func(note string) {
				fmt.Fprintf(c.App.ErrWriter, "registryfs: %s\n", note)
			})
		},
	}
}

// unmount unmounts the registry at arg and returns when its daemon has ended,
// and with it the writing that it still had to do.
func unmount(ctx context.Context, arg string, note func(string)) error {
	dir, err := resolve(arg)
	if err != nil {
		return err
	}
	m, err := mountAt(dir)
	switch {
	case err != nil:
		return fmt.Errorf("list mounts: %w", err)
	case m == nil:
		return fmt.Errorf("%s is not a mount point: /proc/mounts lists what is mounted", arg)
	case m.FSType != fsType:
		return fmt.Errorf("%s is a mount of %s, not of registryfs: use umount", arg, m.FSType)
	}
	daemons := findDaemons(m)
	unseen := len(daemons) == 0 && !isDead(dir)
	if err := fusermount(ctx, "-u", dir); err != nil {
		if strings.Contains(err.Error(), "busy") {
			return fmt.Errorf("%s is busy: %s", arg, holders(dir))
		}
		return fmt.Errorf("%s cannot be unmounted: %w", arg, err)
	}
	if unseen {
		note("unmounted; its daemon cannot be seen from here and may still be writing")
	}
	for _, d := range daemons {
		if err := d.wait(); err != nil {
			return fmt.Errorf("wait for the daemon: %w", err)
		}
	}
	return nil
}
