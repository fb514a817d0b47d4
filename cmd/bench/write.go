package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writeRepo is the repository of the rows that write.
const writeRepo = "bench/new"

// stockOn prepares a turn of the stock registry on a new store, which fill, if
// not nil, puts something into.
func (b *bench) stockOn(l layout, fill func(layout) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := b.renew(ctx, l, fill); err != nil {
			return err
		}
		return b.restock(ctx, l.store)
	}
}

// mountOn is stockOn for registryfs.
func (b *bench) mountOn(l layout, fill func(layout) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := b.renew(ctx, l, fill); err != nil {
			return err
		}
		if err := b.remount(ctx, l.store); err != nil {
			return err
		}
		return b.do(ctx, "mkdir", "-p", filepath.Join(b.mnt, writeRepo))
	}
}

// renew makes a store anew. What is still to be written of what was before
// does not count.
func (b *bench) renew(ctx context.Context, l layout, fill func(layout) error) error {
	if err := b.rest(ctx); err != nil {
		return err
	}
	if err := l.fresh(); err != nil {
		return err
	}
	if fill != nil {
		if err := fill(l); err != nil {
			return err
		}
	}
	return b.do(ctx, "sync", "-f", l.store)
}

// storeIn is the store of a row that writes, below a directory.
func storeIn(dir string) layout { return layout{filepath.Join(dir, "store")} }

// uploaded makes n files of random bytes in a new directory, named by their
// digests, and returns their paths.
func (b *bench) uploaded(n int, size int64) ([]string, error) {
	if err := errors.Join(os.RemoveAll(b.in("")), os.Mkdir(b.in(""), 0o755)); err != nil {
		return nil, err
	}
	files := make([]string, n)
	for i := range files {
		temp := b.in("new")
		sum, err := fill(temp, uint64(i), size)
		if err != nil {
			return nil, err
		}
		files[i] = b.in(sum)
		if err := os.Rename(temp, files[i]); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// blobsDir is where registryfs takes the blobs of writeRepo.
func (b *bench) blobsDir() string { return filepath.Join(b.mnt, writeRepo, "_blobs/sha256") }

// measureUpload is rows 3 and 3b.
func measureUpload(ctx context.Context, b *bench) ([]line, error) {
	files, err := b.uploaded(1, b.sizes.blob)
	if err != nil {
		return nil, err
	}
	l, copied := storeIn(b.fast), filepath.Join(b.fast, "copied")
	const curl, native, ours = "curl PUT", "cp, openssl", "registryfs"
	t, err := b.contest(ctx, "3", contender{
		name:    curl,
		prepare: b.stockOn(l, nil),
		work:    func(ctx context.Context) error { return b.curlUploads(ctx, writeRepo, [][]string{files}) },
	}, contender{
		name:    native,
		prepare: func(ctx context.Context) error { return errors.Join(b.rest(ctx), os.RemoveAll(copied)) },
		work: func(ctx context.Context) error {
			return b.shell(ctx, `cp "$1" "$2"; openssl dgst -sha256 "$2"`, files[0], copied)
		},
	}, contender{
		name:    ours,
		prepare: b.mountOn(l, nil),
		work:    b.doing("cp", files[0], b.blobsDir()),
	})
	if err != nil {
		return nil, err
	}
	return []line{
		ratio("3", "cp in of "+bytesOf(b.sizes.blob)+" by digest, through close", "curl PUT of the same", t[ours], t[curl], 0.7),
		ratio("3b", "the same", "cp to the same tmpfs, then openssl dgst", t[ours], t[native], 2),
	}, os.Remove(copied)
}

// uploadsAtOnce is how many row 8 has.
const uploadsAtOnce = 64

// measureUploads is row 8.
func measureUploads(ctx context.Context, b *bench) ([]line, error) {
	files, err := b.uploaded(uploadsAtOnce, b.sizes.upload)
	if err != nil {
		return nil, err
	}
	l := storeIn(b.fast)
	t, err := b.contest(ctx, "8", contender{
		name:    "curl PUT",
		prepare: b.stockOn(l, nil),
		work:    func(ctx context.Context) error { return b.curlUploads(ctx, writeRepo, deal(files, len(files))) },
	}, contender{
		name:    "registryfs",
		prepare: b.mountOn(l, nil),
		work: func(ctx context.Context) error {
			return atOnce(len(files), func(i int) error { return b.do(ctx, "cp", files[i], b.blobsDir()) })
		},
	})
	if err != nil {
		return nil, err
	}
	return []line{ratio("8", fmt.Sprintf("%d uploads of %s at once", len(files), bytesOf(b.sizes.upload)), "the same by curl PUT",
		t["registryfs"], t["curl PUT"], 0.7)}, nil
}
