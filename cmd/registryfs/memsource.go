package main

import (
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"strings"

	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/fsmount"
)

const (
	// memSource names a registry in memory, gone with its mount: alone, or
	// with its capacity behind it.
	memSource = "mem:"
	// memShare is the part of the memory that there is which it may fill where
	// nothing is said, as tmpfs does.
	memShare = 2
	// memSlack is the memory in bytes that the daemon may have beside what the
	// registry may hold, and a quarter of that, before the garbage collector
	// has to work harder.
	memSlack = 64 << 20
	// sizeUnits are the powers of 1024 that a size may end with.
	sizeUnits = "kmgt"
)

// findMemory is findSource for a registry in memory.
func findMemory(arg string) (source, error) {
	src := source{name: arg, make: true}
	size := strings.TrimPrefix(arg, memSource)
	if size == "" {
		src.capacity = fsmount.MemoryAvailable() / memShare
		if src.capacity == 0 {
			src.capacity = memdriver.DefaultCapacity
		}
		return src, nil
	}
	var ok bool
	if src.capacity, ok = parseSize(size); !ok {
		return src, fmt.Errorf("%s: after mem: there can only be a size, as in mem:512M or mem:4G; "+
			"for a directory of that name write ./%s", arg, arg)
	}
	return src, nil
}

// parseSize reads a number of bytes as mount options have it: 512m, 4G.
func parseSize(text string) (int64, bool) {
	shift := 0
	if i := strings.IndexByte(sizeUnits, strings.ToLower(text)[len(text)-1]); i >= 0 {
		text, shift = text[:len(text)-1], 10*(i+1)
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n) << shift, err == nil && n > 0 && n <= math.MaxInt64>>shift
}

// openMemory makes a registry in memory. Without a limit the garbage collector
// would let the daemon take twice what the registry holds.
func openMemory(capacity int64) driver.Driver {
	limit := capacity + min(capacity/4+memSlack, math.MaxInt64-capacity)
	if limit < debug.SetMemoryLimit(-1) {
		debug.SetMemoryLimit(limit)
	}
	return memdriver.New(memdriver.Capacity(capacity))
}
