package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// line is one line of the table.
type line struct {
	row, work, against string
	ours, peer         float64 // seconds, or bytes where there is no peer
	goal               float64 // the largest ratio, or the most bytes
}

// ratio is a line about seconds.
func ratio(row, work, against string, ours, peer, goal float64) line {
	return line{row, work, against, ours, peer, goal}
}

// memory is a line about bytes.
func memory(row, work string, ours, limit float64) line {
	return line{row: row, work: "peak resident memory: " + work, against: "–", ours: ours, goal: limit}
}

// header names the cells.
var header = []string{"row", "work", "against", "ours", "peer", "ratio", "goal", "met"}

func (l line) cells() []string {
	met := "**no**"
	if l.peer == 0 {
		if l.ours <= l.goal {
			met = "yes"
		}
		return []string{l.row, l.work, l.against, bytesOf(int64(l.ours)), "–", "–", "≤ " + bytesOf(int64(l.goal)), met}
	}
	if l.ours/l.peer <= l.goal {
		met = "yes"
	}
	return []string{l.row, l.work, l.against, seconds(l.ours), seconds(l.peer), fmt.Sprintf("%.2f", l.ours/l.peer), fmt.Sprintf("≤ %.4g", l.goal), met}
}

func seconds(s float64) string {
	if s < 0.1 {
		return fmt.Sprintf("%.2f ms", s*1000)
	}
	return fmt.Sprintf("%.2f s", s)
}

// bytesOf is a size in words.
func bytesOf(n int64) string {
	const mebi, gibi = 1 << 20, 1 << 30
	switch {
	case n >= gibi && n%gibi == 0:
		return fmt.Sprintf("%d GiB", n/gibi)
	case n >= mebi:
		return fmt.Sprintf("%d MiB", n/mebi)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// report is what a run found.
type report struct {
	begun    time.Time
	took     time.Duration
	lines    []line
	failures []string
}

func (r report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, l := range r.lines {
		fmt.Fprintln(t, strings.ReplaceAll(strings.Join(l.cells(), "\t"), "**", ""))
	}
	t.Flush()
	for _, f := range r.failures {
		fmt.Fprintln(w, "not measured:", f)
	}
	fmt.Fprintf(w, "took %s\n", r.took.Round(time.Second))
}

// notes is the heading from which on the text in the file is kept.
const notes = "## Notes"

// save writes the table to the file, with the circumstances, and keeps the
// notes in it.
func (r report) save(ctx context.Context, o options) error {
	old, err := os.ReadFile(o.out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var w bytes.Buffer
	fmt.Fprintf(&w, "# Benchmarks\n\nWritten by `make bench`, which measures each row against its peer, in turns on the same store; the times are medians\nof at least %d. Only ratios count. The store is on a tmpfs unless the row says otherwise. Cold is freshly mounted; nothing\nelse has a cache of its own there.\n\n", o.sizes.rounds)
	fmt.Fprintf(&w, "%s, in %s, on %s.\n\n", r.begun.Format("2006-01-02 15:04 MST"), r.took.Round(time.Second), machine())
	for _, v := range versions(ctx, o) {
		fmt.Fprintf(&w, "- %s\n", v)
	}
	fmt.Fprintf(&w, "\n| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat(" --- |", len(header)))
	for _, l := range r.lines {
		fmt.Fprintf(&w, "| %s |\n", strings.Join(l.cells(), " | "))
	}
	w.WriteString("\n" + notes)
	_, kept, found := bytes.Cut(old, []byte("\n"+notes))
	if !found {
		kept = []byte("\n")
	}
	w.Write(kept)
	return os.WriteFile(o.out, w.Bytes(), 0o644)
}

// machine says what this is run on.
func machine() string {
	var name unix.Utsname
	var info unix.Sysinfo_t
	if err := errors.Join(unix.Uname(&name), unix.Sysinfo(&info)); err != nil {
		return "a machine that does not tell"
	}
	model := "processors"
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(cpuinfo)) {
		if key, value, _ := strings.Cut(l, ":"); strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
		}
	}
	return fmt.Sprintf("%d × %s, %d GiB of memory, %s %s", runtime.NumCPU(), model,
		(info.Totalram*uint64(info.Unit)+1<<29)>>30, unix.ByteSliceToString(name.Sysname[:]), unix.ByteSliceToString(name.Release[:]))
}

// versions are the first lines of what programs say of themselves.
func versions(ctx context.Context, o options) []string {
	var all []string
	for _, command := range [][]string{
		{o.program, "version"},
		{o.registry, "--version"},
		{o.crane, "version"},
		{"curl", "--version"},
		{"openssl", "version"},
		{"fio", "--version"},
		{"ls", "--version"},
	} {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
		first, _, _ := strings.Cut(string(out), "\n")
		first = strings.TrimPrefix(first, filepath.Dir(command[0])+"/") // the registry begins with how it was called
		if command[0] == o.crane {
			first = "crane " + first
		}
		if err != nil {
			first = fmt.Sprintf("%s: %v", command[0], err)
		}
		all = append(all, first)
	}
	return all
}
