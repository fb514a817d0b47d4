// Command oras uses oras-go on OCI image layouts, for tests.
//
//	oras version             print the version of oras-go
//	oras copy SRC TAG DST NEW
//	                         copy what a tag of the layout SRC names, with all it references, to the layout DST
//	oras tag DIR TAG NEW     tag what a tag names once more
//	oras untag DIR TAG       remove a tag
//	oras delete DIR TAG      delete what a tag names, and what only it needed
//	oras tags DIR            list the tags
//
// It is a module of its own, so that programs which import registryfs do not
// depend on oras-go.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
)

const module = "oras.land/oras-go/v2"

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oras:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch command := strings.Join(args[:min(1, len(args))], ""); {
	case command == "version" && len(args) == 1:
		return printVersion()
	case command == "copy" && len(args) == 5:
		return copyTag(ctx, args[1], args[2], args[3], args[4])
	case command == "tag" && len(args) == 4:
		return onStore(args[1], func(s *oci.Store) error {
			_, err := oras.Tag(ctx, s, args[2], args[3])
			return err
		})
	case command == "untag" && len(args) == 3:
		return onStore(args[1], func(s *oci.Store) error { return s.Untag(ctx, args[2]) })
	case command == "delete" && len(args) == 3:
		return onStore(args[1], func(s *oci.Store) error {
			desc, err := s.Resolve(ctx, args[2])
			if err != nil {
				return err
			}
			return s.Delete(ctx, desc)
		})
	case command == "tags" && len(args) == 2:
		return onStore(args[1], func(s *oci.Store) error {
			return s.Tags(ctx, "", func(tags []string) error {
				fmt.Println(strings.Join(tags, "\n"))
				return nil
			})
		})
	}
	return fmt.Errorf("usage: see main.go")
}

func printVersion() error {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == module {
			fmt.Println(m.Version)
			return nil
		}
	}
	return fmt.Errorf("%s is not among the modules", module)
}

func onStore(dir string, do func(*oci.Store) error) error {
	s, err := oci.New(dir)
	if err != nil {
		return err
	}
	return do(s)
}

func copyTag(ctx context.Context, src, tag, dst, newTag string) error {
	from, err := oci.New(src)
	if err != nil {
		return err
	}
	to, err := oci.New(dst)
	if err != nil {
		return err
	}
	_, err = oras.Copy(ctx, from, tag, to, newTag, oras.DefaultCopyOptions)
	return err
}
