package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// measureMemory is row 9: the most that a daemon ever had resident.
func measureMemory(ctx context.Context, b *bench) ([]line, error) {
	stream, err := b.peakOfStream(ctx)
	if err != nil {
		return nil, err
	}
	lines := []line{memory("9", bytesOf(b.sizes.huge)+" streamed in, and out of a new mount", stream, 64<<20)}

	s, err := b.shelfOf()
	if err != nil {
		return lines, err
	}
	peak, err := b.peakOf(ctx, s.store, "ls", "-l", filepath.Join(b.mnt, shelfRepo, "_tags"))
	if err != nil {
		return lines, err
	}
	lines = append(lines, memory("9", fmt.Sprintf("ls -l of %d tags", len(s.tags)), peak, 192<<20))

	l, err := b.street(b.sizes.repos)
	if err != nil {
		return lines, err
	}
	find := []string{"find"}
	for i := range b.sizes.walked * namespaces / b.sizes.repos {
		find = append(find, filepath.Join(b.mnt, fmt.Sprintf("namespace%d", i)))
	}
	peak, err = b.peakOf(ctx, l.store, find...)
	if err != nil {
		return lines, err
	}
	return append(lines, memory("9", fmt.Sprintf("%d repositories walked with find", b.sizes.walked), peak, 128<<20)), nil
}

// peakOf is the peak of a daemon in whose mount a command is run.
func (b *bench) peakOf(ctx context.Context, store string, command ...string) (float64, error) {
	if err := b.remount(ctx, store); err != nil {
		return 0, err
	}
	if err := b.do(ctx, command[0], command[1:]...); err != nil {
		return 0, err
	}
	peak, err := b.daemon.peak()
	say("row 9    %-38s %9.1f MiB", filepath.Base(store), peak/(1<<20))
	return peak, errors.Join(err, b.unmount(ctx))
}

// peakOfStream is the larger peak of two daemons: one that takes a blob, and
// one that gives it away, both on a disk, since memory may not hold it.
func (b *bench) peakOfStream(ctx context.Context) (float64, error) {
	l := storeIn(filepath.Join(b.scratch, "disk"))
	if err := l.fresh(); err != nil {
		return 0, err
	}
	blobs := filepath.Join(b.mnt, writeRepo, "_blobs")
	const in = `mkdir -p "$1"; dd if=/dev/zero of="$2/zeros" bs=1M count="$3" status=none`
	written, err := b.peakOf(ctx, l.store, "sh", "-euc", in, "sh", filepath.Dir(blobs), blobs, fmt.Sprint(b.sizes.huge>>20))
	if err != nil {
		return 0, err
	}
	read, err := b.peakOf(ctx, l.store, "sh", "-euc", `cat "$1"/sha256/*`, "sh", blobs)
	return max(written, read), errors.Join(err, os.RemoveAll(l.store))
}
