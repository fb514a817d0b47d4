package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	// promotedLayers is how many layers the image has that row 11 promotes.
	promotedLayers = 10
	promotedRepo   = "bench/tested"
)

// measurePromotion is row 11.
func measurePromotion(ctx context.Context, b *bench) ([]line, error) {
	l := storeIn(b.fast)
	if err := errors.Join(b.rest(ctx), l.fresh()); err != nil {
		return nil, err
	}
	blob, err := l.randomBlob(0, b.sizes.blob)
	if err != nil {
		return nil, err
	}
	layers := make([]string, promotedLayers)
	for i := range layers {
		if layers[i], err = l.randomBlob(uint64(i+1), b.sizes.layer); err != nil {
			return nil, err
		}
	}
	image, err := l.image(promotedRepo, 0, layers...)
	if err := errors.Join(err, l.tag(promotedRepo, "v1", image), l.layer(promotedRepo, blob)); err != nil {
		return nil, err
	}
	if err := b.restock(ctx, l.store); err != nil {
		return nil, err
	}
	var targets int
	var target string // a repository that is new in every turn
	next := func(context.Context) error {
		targets++
		target = fmt.Sprintf("bench/released%d", targets)
		return nil
	}
	// mounted prepares a turn of registryfs in which the source has been read.
	mounted := func(source string) func(context.Context) error {
		return func(ctx context.Context) error {
			return errors.Join(next(ctx), b.remount(ctx, l.store),
				b.do(ctx, "mkdir", "-p", filepath.Join(b.mnt, target)), b.do(ctx, "cat", source))
		}
	}
	tag := filepath.Join(b.mnt, promotedRepo, "_tags/v1")
	const crane, promote = "crane copy", "registryfs, ln -s"
	t, err := b.contest(ctx, "11", contender{
		name:    crane,
		prepare: next,
		work: func(ctx context.Context) error {
			return b.do(ctx, b.crane, "copy", address+"/"+promotedRepo+":v1", address+"/"+target+":v1")
		},
	}, contender{
		name:    promote,
		prepare: mounted(tag),
		work: func(ctx context.Context) error {
			return b.do(ctx, "ln", "-s", tag, filepath.Join(b.mnt, target, "_tags/v1"))
		},
	})
	if err != nil {
		return nil, err
	}
	lines := []line{ratio("11", fmt.Sprintf("promote an image with %d layers of %s by ln -s", promotedLayers, bytesOf(b.sizes.layer)),
		"crane copy within the stock registry", t[promote], t[crane], 0.2)}

	source, copied := filepath.Join(b.mnt, promotedRepo, "_blobs/sha256", blob), filepath.Join(b.fast, "copied")
	const native, ours = "cp in the store", "registryfs, cp"
	t, err = b.contest(ctx, "11", contender{
		name:    native,
		prepare: func(context.Context) error { return os.RemoveAll(copied) },
		work:    b.doing("cp", l.blobPath(blob), copied),
	}, contender{
		name:    ours,
		prepare: mounted(source),
		work: func(ctx context.Context) error {
			return b.do(ctx, "cp", source, filepath.Join(b.mnt, target, "_blobs/sha256"))
		},
	})
	if err != nil {
		return lines, err
	}
	lines = append(lines, ratio("11", "cp of a blob of "+bytesOf(b.sizes.blob)+" that was read before to another repository",
		"cp on the native file system", t[ours], t[native], 1))
	return lines, errors.Join(b.rest(ctx), os.RemoveAll(l.store), os.Remove(copied))
}
