package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"registryfs/storage"
)

const (
	// defaultUploadAge is what stock registries purge by.
	defaultUploadAge = "168h"
	// maxUploadAge is far beyond any upload: more is a slip of the pen.
	maxUploadAge = 100 * 365 * 24 * time.Hour
)

func purgeUploadsCommand() *cli.Command {
	return &cli.Command{
		Name:      "purge-uploads",
		Usage:     "remove uploads that nobody has finished",
		ArgsUsage: "SOURCE",
		Description: "Prints a line for each upload: repository, id, size in bytes and since when, with tabs between.\n" +
			"An upload that registryfs is writing is left alone. Other registries do not tell when they\n" +
			"write, so where one is at work let --older-than be longer than any upload takes.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "older-than", Value: defaultUploadAge, Usage: "only those begun so long ago: a `duration`, or seconds"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only print them; changes nothing, and read-only media will do"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("purge-uploads needs one SOURCE")
			}
			age, err := parseDuration(c, "older-than", maxUploadAge)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			o := storage.PurgeOptions{OlderThan: age, DryRun: c.Bool("dry-run")}
			return purgeUploads(ctx, c.Args().First(), o, c.App.Writer, c.App.ErrWriter)
		},
	}
}

func purgeUploads(ctx context.Context, arg string, o storage.PurgeOptions, stdout, stderr io.Writer) error {
	src, err := findSource(arg, false)
	if err != nil {
		return err
	}
	if src.dir == "" {
		return fmt.Errorf("%s: it ends with its mount, and its uploads with it: name a registry's storage directory", src.name)
	}
	if !o.DryRun {
		if err := src.checkWritable("see with --dry-run what would go"); err != nil {
			return err
		}
	}
	// That an upload is being written shows only to who would write to it, so
	// the driver is not read-only even where the registry is.
	d, err := openDriver(src, false)
	if err != nil {
		return err
	}
	reg, err := openRegistry(ctx, src, d, storage.Options{ReadOnly: o.DryRun})
	if err != nil {
		return err
	}
	purger, ok := reg.(storage.Purger)
	if !ok {
		return fmt.Errorf("%s: uploads cannot be purged in this kind of source", src.name)
	}
	purged, failed := purger.PurgeUploads(ctx, o)
	var size int64
	for _, u := range purged {
		size += u.Size
		_, err := fmt.Fprintf(stdout, "%s\t%s\t%d\t%s\n", u.Repository, u.ID, u.Size, u.Since.UTC().Format(time.RFC3339))
		if err != nil {
			return fmt.Errorf("print the uploads: %w", err)
		}
	}
	what := "purged"
	if o.DryRun {
		what = "would purge"
	}
	fmt.Fprintf(stderr, "registryfs: %s %s, %s\n", what, counted(len(purged), "upload"), counted(size, "byte"))
	return listed(failed, stderr)
}

// listed is err. Of several joined errors it prints each, and returns how many
// there were.
func listed(err error, stderr io.Writer) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	all := joined.Unwrap()
	if len(all) == 1 {
		return all[0]
	}
	for _, err := range all {
		fmt.Fprintf(stderr, "registryfs: %s\n", oneLine(err))
	}
	return errors.New(counted(len(all), "failure"))
}

func counted[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
