package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxHolders is how many processes a message names.
const maxHolders = 5

// holders says which processes keep the mount at dir busy, by what /proc tells
// of them: working directory, root, program, open files. Reading these links
// asks nothing of the mount.
func holders(dir string) string {
	const remedy = "stop it, or leave the directory, and try again"
	procs, _ := filepath.Glob("/proc/[0-9]*")
	var found []string
	for _, proc := range procs {
		how := holds(proc, dir)
		if how == "" {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join(proc, "comm"))
		found = append(found, fmt.Sprintf("%s (pid %s) has %s there", strings.TrimSpace(string(comm)), filepath.Base(proc), how))
		if len(found) == maxHolders {
			break
		}
	}
	if len(found) == 0 {
		return "a process of another user has a file or its working directory there; fuser -vm " + dir + " run as root names it"
	}
	return strings.Join(found, ", ") + ": " + remedy
}

// holds says what a process has in dir; "" where nothing is seen.
func holds(proc, dir string) string {
	in := func(link string) bool {
		target, err := os.Readlink(filepath.Join(proc, link))
		return err == nil && beneath(target, dir)
	}
	switch {
	case in("cwd"):
		return "its working directory"
	case in("root"):
		return "its root directory"
	case in("exe"):
		return "its program"
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		if _, err := strconv.Atoi(fd.Name()); err == nil && in(filepath.Join("fd", fd.Name())) {
			return "a file open"
		}
	}
	return ""
}
