package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// acceptManifest is the header of curl's configuration without which a
// registry does not give manifests away.
const acceptManifest = "header = \"Accept: " + mediaTypeManifest + "\"\n"

// measureTagNames is row 4.
func measureTagNames(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.shelfOf()
	if err != nil {
		return nil, err
	}
	if err := b.restock(ctx, s.store); err != nil {
		return nil, err
	}
	t, err := b.contest(ctx, "4", contender{
		name: "crane ls",
		work: b.doing(b.crane, "ls", address+"/"+shelfRepo),
	}, contender{
		name:    "registryfs",
		prepare: b.remounting(s.store),
		work:    b.doing("ls", "-f", filepath.Join(b.mnt, shelfRepo, "_tags")),
	})
	if err != nil {
		return nil, err
	}
	return []line{ratio("4", fmt.Sprintf("ls -f _tags, %d tags, cold", len(s.tags)), "crane ls", t["registryfs"], t["crane ls"], 0.3)}, nil
}

// measureTagDigests is row 5. The peer answers for some tags, which stand for
// all.
func measureTagDigests(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.shelfOf()
	if err != nil {
		return nil, err
	}
	if err := b.restock(ctx, s.store); err != nil {
		return nil, err
	}
	n := min(b.sizes.heads, len(s.tags))
	heads := make([]string, n)
	for i := range heads {
		heads[i] = base(shelfRepo) + "/manifests/" + s.tags[i*len(s.tags)/n]
	}
	config := []string{curlGet(heads, acceptManifest, "head\n")}
	t, err := b.contest(ctx, "5", contender{
		name: "curl HEAD",
		own: func(ctx context.Context) (time.Duration, error) {
			begun := time.Now()
			_, err := b.curl(ctx, config)
			return time.Since(begun) * time.Duration(len(s.tags)) / time.Duration(n), err
		},
	}, contender{
		name:    "registryfs",
		prepare: b.remounting(s.store),
		work:    b.doing("ls", "-l", filepath.Join(b.mnt, shelfRepo, "_tags")),
	})
	if err != nil {
		return nil, err
	}
	return []line{ratio("5", fmt.Sprintf("tag → digest of %d tags: ls -l _tags, cold", len(s.tags)),
		fmt.Sprintf("curl HEAD of each on one connection (%d, scaled)", n), t["registryfs"], t["curl HEAD"], 0.25)}, nil
}

// measureTagsAgain is row 5b.
func measureTagsAgain(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.shelfOf()
	if err != nil {
		return nil, err
	}
	native, mounted := filepath.Join(b.fast, "symlinks"), filepath.Join(b.mnt, shelfRepo, "_tags")
	if err := os.Mkdir(native, 0o755); err != nil {
		return nil, err
	}
	for i, tag := range s.tags {
		if err := os.Symlink("../_manifests/sha256/"+s.manifests[i%len(s.manifests)], filepath.Join(native, tag)); err != nil {
			return nil, err
		}
	}
	// A listing is kept from its beginning on, and may take more than the
	// second that is the default.
	const timeout = "10s"
	if err := b.remount(ctx, s.store, "--attr-timeout", timeout); err != nil {
		return nil, err
	}
	ls, find := []string{"ls", "-f"}, []string{"find", "-type", "l"}
	on := func(command []string, dir string) func(context.Context) error {
		if command[0] == "find" {
			return b.doing("find", append([]string{dir}, command[1:]...)...)
		}
		return b.doing(command[0], append(command[1:len(command):len(command)], dir)...)
	}
	var lines []line
	for _, command := range [][]string{ls, find} {
		name := strings.Join(command, " ")
		t, err := b.contest(ctx, "5b",
			contender{name: name + " on tmpfs", prepare: on(command, native), work: on(command, native)},
			contender{name: name + " of registryfs", prepare: on(command, mounted), work: on(command, mounted)})
		if err != nil {
			return nil, err
		}
		lines = append(lines, ratio("5b", name+" of _tags again, within the attribute timeout ("+timeout+")",
			"the same over as many symlinks on tmpfs", t[name+" of registryfs"], t[name+" on tmpfs"], 2))
	}
	return lines, os.RemoveAll(native)
}
