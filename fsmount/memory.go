package fsmount

import (
	"bytes"
	"os"
	"path"
	"strconv"
	"strings"
)

// pushShare is the part of the memory that there is, of which content may fill
// the page cache while one open verifies it.
const pushShare = 4

// pushLimit is how many bytes of one file are put into the page cache: what the
// user says, or a share of the memory that there is: such pages are charged to
// the control group. Where nothing is known it is none.
func pushLimit(said int64) int64 {
	if said != 0 {
		return max(said, 0)
	}
	return MemoryAvailable() / pushShare
}

// MemoryAvailable is how many bytes of memory this process can have: those that
// are free, or as many as its control group may have. Where nothing is known it
// is 0.
func MemoryAvailable() int64 {
	limit := memoryFree()
	for _, file := range []string{path.Join("/sys/fs/cgroup", ownGroup("0::"), "memory.max"),
		path.Join("/sys/fs/cgroup/memory", ownGroup(":memory:"), "memory.limit_in_bytes")} {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if most, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64); err == nil {
			limit = min(limit, most)
		}
	}
	return limit
}

// memoryFree is MemAvailable of proc_meminfo(5) in bytes, or 0.
func memoryFree() int64 {
	content, _ := os.ReadFile("/proc/meminfo")
	_, rest, _ := bytes.Cut(content, []byte("MemAvailable:"))
	kilobytes, _ := strconv.ParseInt(string(bytes.TrimSpace(rest[:max(bytes.IndexByte(rest, 'k'), 0)])), 10, 64)
	return kilobytes << 10
}

// ownGroup is the control group of this process in the hierarchy whose line in
// /proc/self/cgroup has that mark, or "/".
func ownGroup(mark string) string {
	content, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(content)) {
		if _, group, ok := strings.Cut(strings.TrimSpace(line), mark); ok {
			return path.Join("/", group)
		}
	}
	return "/"
}
