package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"registryfs/storage"
)

func rmCommand() *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Usage:     "remove a repository",
		ArgsUsage: "SOURCE REPOSITORY",
		Description: "Removes the tags, the manifests, the links to blobs and the unfinished uploads of a repository.\n" +
			"Repositories below its name stay. Content stays until registryfs gc.",
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return usagef("rm needs SOURCE and REPOSITORY")
			}
			return removeRepository(c.Context, c.Args().Get(0), c.Args().Get(1), c.App.ErrWriter)
		},
	}
}

func removeRepository(ctx context.Context, arg, name string, stderr io.Writer) error {
	src, reg, err := openStore(ctx, arg, false, "")
	if err != nil {
		return err
	}
	remover, ok := reg.(storage.RepositoryRemover)
	if !ok {
		return fmt.Errorf("%s: repositories cannot be removed from this kind of source", arg)
	}
	err = remover.RemoveRepository(ctx, name)
	if errors.Is(err, storage.ErrRepositoryUnknown) || errors.Is(err, storage.ErrNameInvalid) {
		return fmt.Errorf("%w; mount SOURCE to see which there are", err)
	}
	if err != nil {
		return inUse(src, err, "end that first")
	}
	fmt.Fprintf(stderr, "registryfs: removed %s; registryfs gc frees what only it needed\n", name)
	fmt.Fprintf(stderr, "registryfs: %s\n", cacheRemedy)
	return nil
}
