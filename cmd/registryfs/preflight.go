package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

const (
	fusermountProgram = "fusermount3"
	fuseDevice        = "/dev/fuse"
	fuseConf          = "/etc/fuse.conf"

	// containerRemedy is what a container needs for FUSE.
	containerRemedy = "a container needs --device /dev/fuse --cap-add SYS_ADMIN (and, with AppArmor, --security-opt apparmor=unconfined)"
)

var errNoFusermount = errors.New("fusermount3 is missing: install the package fuse3")

// preflight checks what mounting needs of the machine, each with its remedy;
// fusermount3 itself would only say that it failed.
func preflight(allowOther bool) error {
	if _, err := exec.LookPath(fusermountProgram); err != nil {
		return errNoFusermount
	}
	if allowOther && os.Getuid() != 0 {
		if err := checkUserAllowOther(); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(fuseDevice, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing: load it with modprobe fuse; %s", fuseDevice, containerRemedy)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is forbidden: its mode must be 0666 for users other than root; %s", fuseDevice, containerRemedy)
	}
	return fmt.Errorf("%s cannot be opened: %w; %s", fuseDevice, err, containerRemedy)
}

func checkUserAllowOther() error {
	f, err := os.Open(fuseConf)
	if err == nil {
		defer f.Close()
		var allowed bool
		if allowed, err = hasUserAllowOther(f); err == nil && allowed {
			return nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--allow-other: %w", err)
	}
	return fmt.Errorf("--allow-other is forbidden to users other than root: write the line user_allow_other into %s", fuseConf)
}

// hasUserAllowOther reads /etc/fuse.conf: the word stands on a line by itself
// (fusermount3's manual page).
func hasUserAllowOther(conf io.Reader) (bool, error) {
	lines := bufio.NewScanner(conf)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(line) == "user_allow_other" {
			return true, nil
		}
	}
	return false, lines.Err()
}
