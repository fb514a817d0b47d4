package fsmount

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// A FUSE request names the thread that made it. What else there is to know
// about that thread is in /proc, for as long as it waits for the answer; where
// it cannot be read (another pid namespace, hidepid), the functions here
// answer as if nothing were special.

// threadGroup is the process of a thread, or 0.
func threadGroup(tid uint32) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if tid == 0 || err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "Tgid:"); ok {
			tgid, _ := strconv.Atoi(strings.TrimSpace(value))
			return tgid
		}
	}
	return 0
}

// flagSignaled is PF_SIGNALED of the kernel's sched.h: killed by a signal.
const flagSignaled = 0x400

// isDying reports whether a thread is being killed by a signal: what it closes
// it did not mean to.
func isDying(tid uint32) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
	if tid == 0 || err != nil {
		return false
	}
	// The second field is the command in parentheses and may hold anything;
	// flags is the ninth.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 7 {
		return false
	}
	flags, _ := strconv.ParseUint(string(fields[6]), 10, 64)
	return flags&flagSignaled != 0
}

// isCreatingAnew reports whether a thread waits in openat(2) with O_CREAT and
// O_EXCL.
func isCreatingAnew(tid uint32) bool {
	call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", tid))
	if tid == 0 || err != nil {
		return false
	}
	fields := strings.Fields(string(call))
	if len(fields) < 4 || fields[0] != strconv.Itoa(syscall.SYS_OPENAT) {
		return false
	}
	flags, err := strconv.ParseUint(strings.TrimPrefix(fields[3], "0x"), 16, 64)
	const exclusive = syscall.O_CREAT | syscall.O_EXCL
	return err == nil && flags&exclusive == exclusive
}

// commandOf is the name of the program that a thread runs, or "".
func commandOf(tid uint32) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", tid))
	if tid == 0 || err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
