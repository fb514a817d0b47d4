package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"
)

// measureReads is rows 1, 1b and 2: a blob read for the first time after
// mounting, and again.
func measureReads(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.shelfOf()
	if err != nil {
		return nil, err
	}
	if err := b.restock(ctx, s.store); err != nil {
		return nil, err
	}
	stored, mounted := s.blobPath(s.blob), filepath.Join(b.mnt, shelfRepo, "_blobs/sha256", s.blob)
	const curl, openssl, first, native, again = "curl | openssl", "openssl", "registryfs, first", "cat in the store", "registryfs, again"
	t, err := b.contest(ctx, "1", contender{
		name: curl,
		work: func(ctx context.Context) error {
			return b.shell(ctx, `test "$(curl -sSf "$1" | openssl dgst -sha256 -r)" = "$2 *stdin"`,
				base(shelfRepo)+"/blobs/sha256:"+s.blob, s.blob)
		},
	}, contender{
		name: openssl,
		work: b.doing("openssl", "dgst", "-sha256", stored),
	}, contender{
		name:    first,
		prepare: b.remounting(s.store),
		work:    b.doing("cat", mounted),
	}, contender{
		name: native,
		work: b.doing("cat", stored),
	}, contender{
		name: again,
		work: b.doing("cat", mounted),
	})
	if err != nil {
		return nil, err
	}
	size := bytesOf(b.sizes.blob)
	return []line{
		ratio("1", "first read of a blob of "+size+" after mounting, verified", "curl GET piped into openssl dgst", t[first], t[curl], 0.9),
		ratio("1b", "the same", "openssl dgst of the file", t[first], t[openssl], 1.6),
		ratio("2", "read again", "cat of the file in the store, cached", t[again], t[native], 1.3),
	}, nil
}

// measureRandomReads is row 7.
func measureRandomReads(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.shelfOf()
	if err != nil {
		return nil, err
	}
	stored, mounted := s.blobPath(s.blob), filepath.Join(b.mnt, shelfRepo, "_blobs/sha256", s.blob)
	t, err := b.contest(ctx, "7", contender{
		name:    "fio in the store",
		prepare: b.doing("cat", stored),
		own:     b.randomReads(stored),
	}, contender{
		name: "registryfs",
		prepare: func(ctx context.Context) error {
			if err := b.remount(ctx, s.store); err != nil {
				return err
			}
			return b.do(ctx, "cat", mounted)
		},
		own: b.randomReads(mounted),
	})
	if err != nil {
		return nil, err
	}
	return []line{ratio("7", "fio, random reads of 4 KiB in a verified blob of "+bytesOf(b.sizes.blob), "fio on the file in the store, cached",
		t["registryfs"], t["fio in the store"], 1.3)}, nil
}

// randomReads reads every block of 4 KiB of a file once, in random order. The
// time is that of the reads, without fio's own.
func (b *bench) randomReads(file string) func(context.Context) (time.Duration, error) {
	return func(ctx context.Context) (time.Duration, error) {
		out, err := b.output(ctx, "fio", "--name=random", "--filename="+file, "--readonly", "--rw=randread", "--bs=4k",
			"--ioengine=psync", "--invalidate=0", "--randseed=1", "--output-format=json")
		if err != nil {
			return 0, err
		}
		var said struct {
			Jobs []struct {
				Read struct {
					Total   float64 `json:"total_ios"`
					Latency struct {
						Mean float64 `json:"mean"`
					} `json:"lat_ns"`
				} `json:"read"`
			} `json:"jobs"`
		}
		if err := json.Unmarshal([]byte(out), &said); err != nil || len(said.Jobs) != 1 || said.Jobs[0].Read.Total == 0 {
			return 0, fmt.Errorf("fio says %.200q: %w", out, err)
		}
		read := said.Jobs[0].Read
		return time.Duration(read.Total * read.Latency.Mean), nil
	}
}

// connections is how many clients work at a time, in the rows that say so.
const connections = 4

// measureManifests is row 6.
func measureManifests(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.shelfOf()
	if err != nil {
		return nil, err
	}
	gets := make([]string, connections)
	files := make([][]string, connections)
	for i, part := range deal(s.manifests, connections) {
		var urls []string
		for _, sum := range part {
			urls = append(urls, base(shelfRepo)+"/manifests/sha256:"+sum)
			files[i] = append(files[i], filepath.Join(b.mnt, shelfRepo, "_manifests/sha256", sum))
		}
		gets[i] = curlGet(urls, acceptManifest)
	}
	t, err := b.contest(ctx, "6", contender{
		name:    "curl",
		prepare: b.restocking(s.store),
		work: func(ctx context.Context) error {
			_, err := b.curl(ctx, gets)
			return err
		},
	}, contender{
		name:    "registryfs",
		prepare: b.remounting(s.store),
		work: func(ctx context.Context) error {
			return atOnce(connections, func(i int) error { return b.do(ctx, "cat", files[i]...) })
		},
	})
	if err != nil {
		return nil, err
	}
	return []line{ratio("6", fmt.Sprintf("%d different manifests of 4 KiB, opened and read once, cold, %d at a time", len(s.manifests), connections),
		"curl GET of each, as many connections", t["registryfs"], t["curl"], 0.5)}, nil
}

// deal splits a list into n of about the same length.
func deal(list []string, n int) [][]string {
	parts := make([][]string, n)
	for i := range parts {
		parts[i] = list[i*len(list)/n : (i+1)*len(list)/n]
	}
	return parts
}
