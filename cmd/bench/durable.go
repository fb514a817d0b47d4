package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// smallBlob is the size in bytes of the blobs of row 3c.
const smallBlob = 4096

// measureDurable is row 3c: small blobs, then tags that move from one manifest
// to another.
func measureDurable(ctx context.Context, b *bench) ([]line, error) {
	files, err := b.uploaded(b.sizes.small, smallBlob)
	if err != nil {
		return nil, err
	}
	disk, err := b.mountExt4(ctx)
	if err != nil {
		return nil, err
	}
	var before, after string
	var tags []string
	for i := range b.sizes.retags {
		tags = append(tags, fmt.Sprintf("tag%d", i))
	}
	fixture := func(l layout) error {
		var err1, err2 error
		before, err1 = l.image(writeRepo, 1)
		after, err2 = l.image(writeRepo, 2)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		for _, tag := range tags {
			if err := l.tag(writeRepo, tag, before); err != nil {
				return err
			}
		}
		return nil
	}
	l := storeIn(disk)
	blobs, moves := deal(files, connections), deal(tags, connections)
	t, err := b.contest(ctx, "3c", contender{
		name:    "curl PUT",
		prepare: b.stockOn(l, fixture),
		work: func(ctx context.Context) error {
			if err := b.curlUploads(ctx, writeRepo, blobs); err != nil {
				return err
			}
			puts := make([]string, connections)
			for i, tags := range moves {
				puts[i] = curlConfig(len(tags), func(w *strings.Builder, j int) {
					fmt.Fprintf(w, "upload-file = %q\nurl = \"%s/manifests/%s\"\noutput = \"/dev/null\"\nheader = \"Content-Type: %s\"\n",
						l.blobPath(after), base(writeRepo), tags[j], mediaTypeManifest)
				})
			}
			_, err := b.curl(ctx, puts)
			return err
		},
	}, contender{
		name:    "registryfs",
		prepare: b.mountOn(l, fixture),
		work: func(ctx context.Context) error {
			err := atOnce(connections, func(i int) error {
				return b.do(ctx, "cp", append([]string{"-t", b.blobsDir()}, blobs[i]...)...)
			})
			if err != nil {
				return err
			}
			return atOnce(connections, func(i int) error {
				const retag = `dir=$1 to=$2; shift 2; for tag in "$@"; do ln -sfn "../_manifests/sha256/$to" "$dir/$tag"; done`
				return b.shell(ctx, retag, append([]string{filepath.Join(b.mnt, writeRepo, "_tags"), after}, moves[i]...)...)
			})
		},
	})
	if err != nil {
		return nil, err
	}
	return []line{ratio("3c", fmt.Sprintf("%d blobs of 4 KiB and %d retags, on ext4, durable, %d at a time", len(files), len(tags), connections),
		"the same by curl into the stock registry", t["registryfs"], t["curl PUT"], 1)}, os.RemoveAll(l.store)
}
