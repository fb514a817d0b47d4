package fsmount

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A FUSE request names the thread that made it. What else there is to know
// about that thread is in /proc, for as long as it waits for the answer; where
// it cannot be read (another pid namespace, hidepid), the functions here
// answer as if nothing were special.

// threadGroup is the process of a thread, or 0.
func threadGroup(tid uint32) int {
	tgid, _ := strconv.Atoi(fieldOf(statusOf(tid), "Tgid:"))
	return tgid
}

// statusOf is a thread's status, or nothing.
func statusOf(tid uint32) []byte {
	if tid == 0 {
		return nil
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	return status
}

// fieldOf is a field of a status, or "".
func fieldOf(status []byte, field string) string {
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// isKilled reports whether a signal waits for a thread that it will not survive.
// The kernel turns most of those into SIGKILL for every thread; but not the ones
// that leave a core dump, nor those that come after one that is handled.
func isKilled(tid uint32) bool {
	status := statusOf(tid)
	set := func(field string) uint64 {
		signals, _ := strconv.ParseUint(fieldOf(status, field), 16, 64)
		return signals
	}
	pending := set("SigPnd:") | set("ShdPnd:")
	return pending&^(set("SigBlk:")|set("SigIgn:")|set("SigCgt:")|harmless) != 0
}

// harmless are the signals that end nobody who does not handle them.
var harmless = func() (set uint64) {
	for _, s := range []syscall.Signal{
		syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
		syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
	} {
		set |= 1 << (s - 1)
	}
	return set
}()

// process is a process, told from others that had its number before. The zero
// value is one that is not known.
type process struct {
	id    int
	start string // in clock ticks since the boot
}

// processOf is the process of a thread.
func processOf(tid uint32) process {
	id := threadGroup(tid)
	fields := statOf(uint32(id))
	if id == 0 || len(fields) <= startOfProcess {
		return process{}
	}
	return process{id, string(fields[startOfProcess])}
}

// startOfProcess is where the time of the start is in what statOf returns, of
// which the first is the third field of stat.
const startOfProcess = 22 - 3

// statOf is the fields of /proc/<tid>/stat from the third on: before them
// stands the command in parentheses, which may hold anything.
func statOf(tid uint32) [][]byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
	if tid == 0 || err != nil {
		return nil
	}
	return bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
}

// flagSignaled is PF_SIGNALED of the kernel's sched.h: killed by a signal.
const flagSignaled = 0x400

// isDying reports whether a thread is being killed by a signal: what it closes
// it did not mean to.
func isDying(tid uint32) bool {
	fields := statOf(tid)
	const at = 9 - 3
	if len(fields) <= at {
		return false
	}
	flags, _ := strconv.ParseUint(string(fields[at]), 10, 64)
	return flags&flagSignaled != 0
}

// isCreatingAnew reports whether a thread waits in openat(2) with O_CREAT and
// O_EXCL.
func isCreatingAnew(tid uint32) bool {
	number, args, ok := syscallOf(tid)
	const exclusive = syscall.O_CREAT | syscall.O_EXCL
	return ok && number == syscall.SYS_OPENAT && args[2]&exclusive == exclusive
}

// openings are the system calls that open a file; on amd64 there are older ones.
var openings = map[string][]int64{"amd64": {2, 85}, "": {syscall.SYS_OPENAT, unix.SYS_OPENAT2}}

// isOpening reports whether a thread waits in a system call that opens a file.
// One of which that is not known counts as such.
func isOpening(tid uint32) bool {
	number, _, ok := syscallOf(tid)
	return !ok || slices.Contains(openings[runtime.GOARCH], number) || slices.Contains(openings[""], number)
}

// unlinkings are the system calls that remove a file, but for unlinkat(2); some
// platforms have none.
var unlinkings = map[string][]int64{"amd64": {87}}

// isRemoving reports whether a thread waits in a system call that removes a
// file, or is of rm, which looks first.
func isRemoving(tid uint32) bool {
	number, args, ok := syscallOf(tid)
	for n := 0; n < 100 && !ok && isRunning(tid); n++ { // it is about to wait
		time.Sleep(50 * time.Microsecond)
		number, args, ok = syscallOf(tid)
	}
	isUnlink := ok && slices.Contains(unlinkings[runtime.GOARCH], number)
	isUnlinkAt := ok && number == syscall.SYS_UNLINKAT && args[2]&unix.AT_REMOVEDIR == 0
	return isUnlink || isUnlinkAt || commandOf(tid) == "rm"
}

// isRunning reports whether a thread does not wait for anything.
func isRunning(tid uint32) bool {
	fields := statOf(tid)
	return len(fields) > 0 && string(fields[0]) == "R"
}

// syscallOf is the system call that a thread waits in, with its arguments.
func syscallOf(tid uint32) (number int64, args [6]uint64, ok bool) {
	call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", tid))
	fields := strings.Fields(string(call))
	if tid == 0 || err != nil || len(fields) <= len(args) {
		return 0, args, false
	}
	number, err = strconv.ParseInt(fields[0], 10, 64)
	for i := range args {
		var argErr error
		args[i], argErr = strconv.ParseUint(strings.TrimPrefix(fields[1+i], "0x"), 16, 64)
		err = errors.Join(err, argErr)
	}
	return number, args, err == nil && number >= 0
}

// argumentsOf is the command line of a thread's program, each argument ended by
// a zero byte, or "".
func argumentsOf(tid uint32) string {
	if tid == 0 {
		return ""
	}
	arguments, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", tid))
	return string(arguments)
}

// directoryOf is the working directory of a thread, or "".
func directoryOf(tid uint32) string {
	if tid == 0 {
		return ""
	}
	directory, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", tid))
	return directory
}

// commandOf is the name of the program that a thread runs, or "".
func commandOf(tid uint32) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", tid))
	if tid == 0 || err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
