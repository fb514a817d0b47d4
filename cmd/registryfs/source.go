package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// storeDir is where a registry's storage directory keeps its registry.
	storeDir = "docker/registry/v2"
	// maxHintEntries bounds how many children of a directory are looked into
	// for the registry that was meant.
	maxHintEntries = 1000
)

// source is a registry named on the command line.
type source struct {
	name     string // as /proc/mounts shows it
	dir      string // absolute, without symlinks; empty: in memory
	capacity int64  // in bytes, in memory
	make     bool   // there is no registry yet, and --create was given
}

// findSource checks that arg names a registry that can be mounted, or, with
// create, a place for one. It makes nothing.
func findSource(arg string, create bool) (source, error) {
	scheme, _, isURL := strings.Cut(arg, "://")
	switch {
	case arg == "":
		return source{}, errors.New("SOURCE is empty: name a registry's storage directory")
	case strings.HasPrefix(arg, memSource):
		return findMemory(arg)
	case isURL && (scheme == "s3" || scheme == "https"):
		return source{}, fmt.Errorf("%s: %s:// is not supported yet: name a directory or mem: instead", arg, scheme)
	case isURL:
		return source{}, fmt.Errorf("%s: unknown kind of source %s://: name a directory or mem: instead", arg, scheme)
	}
	return findStore(arg, create)
}

// findStore applies the rules that keep a typing error from making a registry
// in the wrong place: a new one is made only on demand, and only where nothing
// else is.
func findStore(arg string, create bool) (source, error) {
	dir, err := resolve(arg)
	if err != nil {
		return source{}, sourceError(arg, err)
	}
	src := source{name: dir, dir: dir}
	entries, err := readNames(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		src.make = true
		return src, nil
	case errors.Is(err, fs.ErrNotExist):
		return src, fmt.Errorf("%s does not exist: mount --create makes a new registry there", arg)
	case errors.Is(err, syscall.ENOTDIR):
		return src, fmt.Errorf("%s is not a directory: name a registry's storage directory", arg)
	case err != nil:
		return src, sourceError(arg, err)
	}
	found, err := isStore(dir)
	switch {
	case err != nil:
		return src, sourceError(arg, err)
	case found:
		return src, checkReadable(dir)
	}
	if hint := meantStore(dir, entries); hint != "" {
		return src, fmt.Errorf("%s is not a registry's storage directory: did you mean %s?", arg, hint)
	}
	switch {
	case len(entries) > 0:
		return src, fmt.Errorf("%s is not a registry's storage directory: it has no %s; "+
			"a new registry needs an empty directory and --create", arg, storeDir)
	case !create:
		return src, fmt.Errorf("%s is empty: mount --create makes a new registry there", arg)
	}
	src.make = true
	return src, nil
}

// readNames returns the first names in a directory, without a trace in its time
// of last access where the caller may do so. The name that mkfs leaves in a new
// file system does not count.
func readNames(dir string) ([]string, error) {
	const flags = os.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK
	f, err := os.OpenFile(dir, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		f, err = os.OpenFile(dir, flags, 0)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxHintEntries)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(names) == 1 && names[0] == "lost+found" {
		return nil, nil
	}
	return names, nil
}

// isStore tells whether a registry keeps its content in dir.
func isStore(dir string) (bool, error) {
	info, err := os.Stat(filepath.Join(dir, storeDir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	return err == nil && info.IsDir(), err
}

// meantStore is the registry that was meant where dir is inside one, or its
// child is one; "" where there is none.
func meantStore(dir string, children []string) string {
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		if found, err := isStore(up); err == nil && found {
			return up
		}
		if up == filepath.Dir(up) {
			break
		}
	}
	for _, name := range children {
		child := filepath.Join(dir, name)
		if found, err := isStore(child); err == nil && found {
			return child
		}
	}
	return ""
}
