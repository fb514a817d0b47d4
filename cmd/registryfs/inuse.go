package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"registryfs/storage"
)

// inUse says of an error that another process is in the way which one that is,
// as far as can be seen, and what to do.
func inUse(src source, err error, remedy string) error {
	if !errors.Is(err, storage.ErrInUse) {
		return err
	}
	who := "" // the mark of an exclusive mount tells
	if pids := lockHolders(filepath.Join(src.dir, storeDir), filepath.Join(src.dir, storeDir, "repositories")); len(pids) > 0 && !strings.Contains(err.Error(), pids[0]) {
		who = ", held by process " + strings.Join(pids, ", ")
	}
	return fmt.Errorf("%s: %w%s: %s", src.name, err, who, remedy)
}

// lockHolders is the processes that hold flock(2) locks on directories. The
// kernel tells of those of this pid namespace.
func lockHolders(dirs ...string) []string {
	locked := map[string]bool{} // as /proc/locks names files: major:minor:inode
	for _, dir := range dirs {
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil {
			locked[fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)] = true
		}
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return nil
	}
	defer f.Close()
	var pids []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 30955 fe:00:5310437 0 EOF
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" || !locked[fields[5]] {
			continue
		}
		if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 && pid != os.Getpid() && !slices.Contains(pids, fields[4]) {
			pids = append(pids, fields[4])
		}
	}
	return pids
}
