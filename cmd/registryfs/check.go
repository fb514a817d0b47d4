package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"registryfs/driver"
	"registryfs/storage"
)

// damageError is the summary of a check that leaves damage in the store.
type damageError struct{ summary string }

func (e *damageError) Error() string { return e.summary }

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "verify all that a registry's storage directory holds",
		ArgsUsage: "SOURCE",
		Description: "Prints a line for each finding: what it is (corrupt, unreadable, missing, dangling, foreign,\n" +
			"half-written, leftover), whether it is damage, repaired or harmless, its path in SOURCE, and\n" +
			"why, with tabs between. Exit status 0: no damage, or none is left; 4: damage.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print each finding as an object of JSON on a line, and a summary as the last"},
			&cli.BoolFlag{Name: "repair", Usage: "put aside what is damaged, and end what was half done; nothing else may write meanwhile"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("check needs one SOURCE")
			}
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return check(ctx, c.Args().First(), c.Bool("repair"), c.Bool("json"), c.App.Writer, c.App.ErrWriter)
		},
	}
}

func check(ctx context.Context, arg string, repair, asJSON bool, stdout, stderr io.Writer) error {
	src, checker, err := openChecker(ctx, arg, repair)
	if err != nil {
		return err
	}
	bar := newProgress(stderr)
	var failed error
	summary, err := checker.Check(ctx, storage.CheckOptions{Repair: repair, Progress: bar.add()}, func(f storage.Finding) {
		bar.clear()
		failed = cmp.Or(failed, printFinding(stdout, f, asJSON))
	})
	bar.clear()
	if errors.Is(err, storage.ErrInUse) {
		return inUse(src, err, "end that first, or check without --repair")
	}
	if err == nil && asJSON {
		err = json.NewEncoder(stdout).Encode(map[string]storage.CheckSummary{"summary": summary})
	}
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("the check did not come to its end: %w", err)
	}
	text := summaryText(summary)
	if summary.Damaged > summary.Repaired {
		switch {
		case summary.Repairable > 0:
			text += fmt.Sprintf("; --repair deals with %d of them", summary.Repairable)
		case !repair:
			text += "; --repair cannot help: the lines above say what to do"
		}
		return &damageError{text}
	}
	fmt.Fprintf(stderr, "registryfs: %s\n", text)
	return nil
}

// openChecker opens a source, for reading only unless it is to be repaired.
func openChecker(ctx context.Context, arg string, repair bool) (source, storage.Checker, error) {
	src, err := findSource(arg, false)
	if err != nil {
		return src, nil, err
	}
	if src.dir == "" {
		return src, nil, fmt.Errorf("%s: a registry in memory is new and empty: name a registry's storage directory", src.name)
	}
	if repair {
		if err := src.checkMovable("check it without --repair"); err != nil {
			return src, nil, err
		}
	}
	d, err := openDriver(src, !repair)
	if err != nil {
		return src, nil, err
	}
	reg, err := openRegistry(ctx, src, d, storage.Options{ReadOnly: !repair})
	if err != nil {
		return src, nil, err
	}
	checker, ok := reg.(storage.Checker)
	if !ok {
		return src, nil, fmt.Errorf("%s: this kind of source cannot be checked", src.name)
	}
	return src, checker, nil
}

func printFinding(w io.Writer, f storage.Finding, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(f)
	}
	state, why := "harmless", f.Reason
	switch {
	case f.Damage && !f.Repaired:
		state = "damage"
	case f.Repaired:
		state = "repaired"
	}
	if f.Remedy != "" {
		why += "; " + f.Remedy
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Kind, state, driver.ShownPath(f.Path), oneLine(errors.New(why)))
	return err
}

func summaryText(s storage.CheckSummary) string {
	repositories := counted(s.Repositories, "repository")
	if s.Repositories != 1 {
		repositories = fmt.Sprintf("%d repositories", s.Repositories)
	}
	return fmt.Sprintf("checked %s, %s, %s, %s and %s with %s: %d damaged, %d repaired, %d left over",
		repositories, counted(s.Manifests, "manifest"), counted(s.Tags, "tag"), counted(s.Links, "link"),
		counted(s.Blobs, "blob"), counted(s.Bytes, "byte"), s.Damaged, s.Repaired, s.Leftovers)
}
