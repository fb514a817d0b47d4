package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"registryfs/driver"
	"registryfs/storage"
)

const (
	// defaultGrace is longer than a push takes, from its first layer to its
	// manifest.
	defaultGrace = "24h"
	// maxGrace is far beyond any push: more is a slip of the pen.
	maxGrace = 100 * 365 * 24 * time.Hour
)

// cacheRemedy is what must follow when content, or links to it, have gone.
const cacheRemedy = "restart registries on this store that cache descriptors (storage: cache: blobdescriptor, Debian's default): " +
	"they would answer for what is gone, and take manifests that need it"

func gcCommand() *cli.Command {
	return &cli.Command{
		Name:      "gc",
		Usage:     "free what nothing in a store needs",
		ArgsUsage: "SOURCE",
		Description: "Removes links to blobs that no manifest of their repository needs, and content that nothing\n" +
			"links to. Prints a line for each: kind, repository, digest or path, size in bytes, and what was\n" +
			"done, with tabs between. Beside a mount made with --exclusive it is set aside first; a run after\n" +
			"the grace looks again and removes it. What cannot be read is kept, with all that it may need, and\n" +
			"named on standard error. It may be interrupted at any time, and run again.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "offline", Usage: "my word that nobody writes to SOURCE meanwhile: no registry, no mount"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only print what would go; changes nothing, and needs no --offline"},
			&cli.BoolFlag{Name: "untagged", Usage: "remove manifests too that no tag leads to; signatures stay with what they sign"},
			&cli.StringFlag{Name: "grace", Value: defaultGrace, Usage: "keep what is younger, and as long what was set aside: a `duration`, or seconds"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON objects, one a line, the last of them a summary"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("gc needs one SOURCE")
			}
			grace, err := parseDuration(c, "grace", maxGrace)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return collect(ctx, c.Args().First(), storage.CollectOptions{
				Offline:  c.Bool("offline"),
				DryRun:   c.Bool("dry-run"),
				Untagged: c.Bool("untagged"),
				Grace:    grace,
			}, newGCReport(c.App.Writer, c.App.ErrWriter, c.Bool("json")))
		},
	}
}

func collect(ctx context.Context, arg string, o storage.CollectOptions, report *gcReport) error {
	src, reg, err := openStore(ctx, arg, o.DryRun, "see with --dry-run what would go")
	if err != nil {
		return err
	}
	collector, ok := reg.(storage.Collector)
	if !ok {
		return fmt.Errorf("%s: garbage cannot be collected in this kind of source", arg)
	}
	summary, err := collector.Collect(ctx, o, report.add)
	switch {
	case errors.Is(err, storage.ErrUnsupported):
		return fmt.Errorf("%s: %w: mount it with --exclusive if only that mount writes to it, "+
			"or end all that writes and add --offline, or see with --dry-run what would go", arg, err)
	case errors.Is(err, storage.ErrNoRepositories):
		repositories := filepath.Join(src.dir, storeDir, "repositories")
		return fmt.Errorf("%s: %w: most likely a disk is not mounted on %s; if all were removed on purpose, say so with mkdir %s/_removed",
			arg, err, repositories, repositories)
	case errors.Is(err, storage.ErrInUse) && o.Offline:
		return inUse(src, err, "end that first, or run gc without --offline beside a mount made with --exclusive")
	case errors.Is(err, storage.ErrInUse) && summary.Repositories == 0:
		return inUse(src, err, "try again")
	}
	report.end(summary, o.DryRun)
	return errors.Join(err, report.failed)
}

// openStore opens the registry that is in a directory. instead is what can be
// done where it cannot be changed.
func openStore(ctx context.Context, arg string, readOnly bool, instead string) (source, storage.Registry, error) {
	src, err := findSource(arg, false)
	if err != nil {
		return src, nil, err
	}
	if src.dir == "" {
		return src, nil, fmt.Errorf("%s: it ends with its mount: name a registry's storage directory", src.name)
	}
	if !readOnly {
		if err := src.checkMovable(instead); err != nil {
			return src, nil, err
		}
	}
	d, err := openDriver(src, readOnly)
	if err != nil {
		return src, nil, err
	}
	reg, err := openRegistry(ctx, src, d, storage.Options{ReadOnly: readOnly})
	return src, reg, err
}

// gcReport prints what a collection meets.
type gcReport struct {
	stdout, stderr io.Writer
	asJSON         bool
	failed         error // of printing, the first
}

func newGCReport(stdout, stderr io.Writer, asJSON bool) *gcReport {
	return &gcReport{stdout: stdout, stderr: stderr, asJSON: asJSON}
}

// gcLine is one thing, as JSON.
type gcLine struct {
	Kind       string `json:"kind"`
	Repository string `json:"repository,omitempty"`
	Digest     string `json:"digest,omitempty"`
	Path       string `json:"path"`
	Size       int64  `json:"size,omitempty"`
	Step       string `json:"step,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

// gcCounts counts things.
type gcCounts struct {
	Manifests int   `json:"manifests"`
	Links     int   `json:"links"`
	Blobs     int   `json:"blobs"`
	Leftovers int   `json:"leftovers"`
	Bytes     int64 `json:"bytes"`
}

// gcSummary is the last line.
type gcSummary struct {
	Kind         string   `json:"kind"` // "summary"
	DryRun       bool     `json:"dryRun"`
	Repositories int      `json:"repositories"`
	gcCounts              // removed
	Aside        gcCounts `json:"aside"`
	Restored     gcCounts `json:"restored"`
	Damage       int      `json:"damage"`
	ContentKept  bool     `json:"contentKept"`
}

func (r *gcReport) add(it storage.Collected) {
	line := gcLine{
		Kind:       string(it.Kind),
		Repository: it.Repository,
		Digest:     it.Digest.String(),
		Path:       it.Path,
		Size:       it.Size,
		Step:       string(it.Step),
	}
	if it.Err != nil {
		line.Reason = oneLine(it.Err)
		fmt.Fprintf(r.stderr, "registryfs: cannot read %s: %s\n", driver.ShownPath(line.Path), line.Reason)
	}
	switch name := line.Digest; {
	case r.asJSON:
		r.json(line)
	case it.Kind == storage.CollectDamage:
	default:
		if name == "" {
			name = line.Path
		}
		r.print(fmt.Sprintf("%s\t%s\t%s\t%d\t%s\n", line.Kind, line.Repository, name, line.Size, line.Step))
	}
}

func (r *gcReport) end(s storage.CollectSummary, dryRun bool) {
	if r.asJSON {
		r.json(gcSummary{
			Kind: "summary", DryRun: dryRun, Repositories: s.Repositories,
			gcCounts: gcCounts(s.CollectCounts), Aside: gcCounts(s.Aside), Restored: gcCounts(s.Restored),
			Damage: s.Damage, ContentKept: s.ContentKept,
		})
	}
	would := ""
	if dryRun {
		would = "would "
	}
	r.count(would+past("remove", dryRun), s.CollectCounts)
	if s.Aside != (storage.CollectCounts{}) {
		r.count("set aside, to be removed by a run after the grace,", s.Aside)
	}
	if s.Restored != (storage.CollectCounts{}) {
		r.count(would+past("restore", dryRun), s.Restored)
	}
	if s.Damage > 0 {
		r.say("kept all of the repositories where something cannot be read (%s): registryfs check tells more", counted(s.Damage, "place"))
	}
	if s.ContentKept {
		r.say("kept all content: what cannot be read may lead to any of it")
	}
	if gone := s.Manifests + s.Links + s.Blobs + s.Aside.Manifests + s.Aside.Links + s.Aside.Blobs; !dryRun && gone > 0 {
		r.say(cacheRemedy)
	}
}

// past is a verb in the past, unless it stays to be done.
func past(verb string, dryRun bool) string {
	if dryRun {
		return verb
	}
	return verb + "d"
}

func (r *gcReport) count(did string, n storage.CollectCounts) {
	r.say("%s %s, %s, %s and %s of content, %s", did, counted(n.Manifests, "manifest"), counted(n.Links, "link"),
		counted(n.Leftovers, "leftover"), counted(n.Blobs, "blob"), counted(n.Bytes, "byte"))
}

func (r *gcReport) say(format string, args ...any) {
	fmt.Fprintf(r.stderr, "registryfs: "+format+"\n", args...)
}

func (r *gcReport) json(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		r.failed = errors.Join(r.failed, err)
		return
	}
	r.print(string(line) + "\n")
}

func (r *gcReport) print(line string) {
	if r.failed != nil {
		return
	}
	if _, err := io.WriteString(r.stdout, line); err != nil {
		r.failed = fmt.Errorf("print what was collected: %w", err)
	}
}
