// Command bench compares registryfs with its peers: the file system below the
// store, a stock registry on the loopback with curl, and crane. They take
// turns on the same store, and only the ratio of their times counts. It prints
// a table, and a full run writes it to a file.
//
// All of it happens in namespaces of its own: its mounts, processes and
// addresses end with it, however it ends. It must be run as root.
//
//	<scratch>/
//	├── fast/   a tmpfs
//	│   ├── shelf/   the store of the rows that read
//	│   ├── in/      what is uploaded
//	│   └── store/   the store of a row that writes: new in every round
//	├── ext4/   on disk.img, by a loop device
//	├── disk/   a directory of the disk
//	└── mnt/    the mount
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// patience bounds a run.
const patience = 45 * time.Minute

// options are the command line.
type options struct {
	program  string   // registryfs
	registry string   // the stock registry
	crane    string   //
	sizes    sizes    //
	rows     []string // to measure; none: all
	out      string   // file for the table of a full run
}

// inner is the first argument of the process in the namespaces.
const inner = "-inner"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if args := os.Args[1:]; len(args) > 1 && args[0] == inner {
		err = measureIn(ctx, args[1], args[2:])
	} else if _, err = parse(args); err == nil {
		err = isolate(ctx, args)
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var size, rows string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.program, "registryfs", "bin/registryfs", "the `program` to measure")
	flags.StringVar(&o.registry, "registry", "bin/tools/registry", "the stock registry `program`")
	flags.StringVar(&o.crane, "crane", "bin/tools/crane", "the crane `program`")
	flags.StringVar(&size, "size", "full", "`full`, quick or tiny")
	flags.StringVar(&rows, "rows", "", "`rows` to measure, with commas between; all if empty")
	flags.StringVar(&o.out, "out", "", "`file` for the table of a full run of all rows")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	var known bool
	if o.sizes, known = sizesByName[size]; !known {
		return o, fmt.Errorf("no such size: %q", size)
	}
	for _, name := range []*string{&o.program, &o.registry, &o.crane, &o.out} {
		if *name == "" {
			continue
		}
		abs, err := filepath.Abs(*name)
		if err != nil {
			return o, err
		}
		*name = abs
	}
	for id := range strings.FieldsFuncSeq(rows, func(r rune) bool { return r == ',' || r == ' ' }) {
		if !slices.ContainsFunc(groups, func(g group) bool { return slices.Contains(g.rows, id) }) {
			return o, fmt.Errorf("no such row: %q", id)
		}
		o.rows = append(o.rows, id)
	}
	return o, nil
}

// measureIn measures in the directory scratch, in namespaces of its own.
func measureIn(ctx context.Context, scratch string, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	b, err := newBench(scratch, o)
	if err != nil {
		return err
	}
	r := report{begun: time.Now()}
	for _, g := range groups {
		if !b.wants(g) {
			continue
		}
		lines, err := g.measure(ctx, b)
		err = errors.Join(err, b.rest(ctx))
		if err != nil {
			r.failures = append(r.failures, fmt.Sprintf("%s: %v", strings.Join(g.rows, ", "), err))
			fmt.Fprintf(os.Stderr, "bench: row %s\n", r.failures[len(r.failures)-1])
		}
		for _, l := range lines {
			if len(o.rows) == 0 || slices.Contains(o.rows, l.row) {
				r.lines = append(r.lines, l)
			}
		}
	}
	r.took = time.Since(r.begun)
	slices.SortStableFunc(r.lines, func(a, b line) int { return slices.Index(rowOrder, a.row) - slices.Index(rowOrder, b.row) })
	r.print(os.Stdout)
	if o.out != "" && len(o.rows) == 0 && len(r.failures) == 0 && o.sizes.name == "full" {
		if err := r.save(ctx, o); err != nil {
			return err
		}
	}
	if len(r.failures) > 0 {
		return errors.New("some rows could not be measured")
	}
	return nil
}
