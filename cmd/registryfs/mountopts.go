package main

import (
	"slices"
	"strings"
)

// optionsFlag is the flag that carries mount options: -o a,b=c.
const optionsFlag = "o"

// mountFlags are the mount command's flags that are also words of -o. Words may
// be written with "_" for "-", as is usual in fstab.
var mountFlags = []string{
	"read-only", "create", "allow-delete", "allow-other", "uid", "gid", "umask", "exclusive", "attr-timeout",
	"list-views", "sparse-indexes", "immutable-tags", "fsync", "allow-url", "deny-url", "signing-key", "drain-timeout", "log-level", "log-format", "log-file", "daemon",
}

// ignoredOptions are words that fstab and mount(8) use among themselves, or
// that mean nothing here: a mount of FUSE is nosuid and nodev, no content can
// be executed from it, and it keeps no access times.
var ignoredOptions = []string{
	"defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group",
	"dev", "nodev", "suid", "nosuid", "exec", "noexec", "async", "sync", "silent", "loud",
	"atime", "noatime", "relatime", "norelatime", "strictatime", "nostrictatime",
	"diratime", "nodiratime", "lazytime", "nolazytime",
}

// expandOptions turns the words of -o into flags. What says the same thing
// twice is decided by its last word, so that "ro,rw" is read-write.
func expandOptions(words string, takesValue map[string]bool) ([]string, error) {
	var flags []string
	for word := range strings.SplitSeq(words, ",") {
		key, _, hasValue := strings.Cut(word, "=")
		switch {
		case word == "" || slices.Contains(ignoredOptions, word):
			continue
		case strings.HasPrefix(key, "x-") || strings.HasPrefix(key, "X-") || key == "comment":
			continue // for programs that read fstab
		case word == "ro":
			flags = append(flags, "--read-only")
			continue
		case word == "rw":
			flags = append(flags, "--read-only=false")
			continue
		}
		name := strings.ReplaceAll(key, "_", "-")
		switch {
		case !slices.Contains(mountFlags, name):
			return nil, usagef("unknown mount option %q", key)
		case takesValue[name] && !hasValue:
			return nil, usagef("mount option %q needs a value", key)
		}
		flags = append(flags, "--"+name+word[len(key):])
	}
	return flags, nil
}
