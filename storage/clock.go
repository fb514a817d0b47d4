package storage

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Clock tells the time. Whoever sets the wall clock changes Now; nobody changes
// Uptime.
type Clock interface {
	Now() time.Time
	// Uptime is the time since the machine was started, sleep included, and
	// the name of that start; empty: not known.
	Uptime() (boot string, since time.Duration)
}

// systemClock is the clock of the kernel.
type systemClock struct{ boot string }

func newSystemClock() Clock {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return systemClock{}
	}
	return systemClock{strings.TrimSpace(string(boot))}
}

func (systemClock) Now() time.Time { return time.Now() }

func (c systemClock) Uptime() (string, time.Duration) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return "", 0
	}
	return c.boot, time.Duration(ts.Nano())
}

// stamp is a moment that can be kept in the name of a file: the wall clock in
// seconds, and the uptime in nanoseconds, with its boot.
type stamp struct {
	wall time.Time
	boot string
	up   time.Duration
}

func (r *registry) now() stamp {
	boot, up := r.clock.Uptime()
	return stamp{wall: r.clock.Now(), boot: boot, up: up}
}

func (s stamp) String() string { return fmt.Sprintf("%d-%d-%s", s.wall.Unix(), s.up, s.boot) }

func parseStamp(text string) (s stamp, ok bool) {
	wall, rest, _ := strings.Cut(text, "-")
	up, boot, found := strings.Cut(rest, "-")
	unix, err := strconv.ParseInt(wall, 10, 64)
	if err != nil || !found {
		return stamp{}, false
	}
	nanoseconds, err := strconv.ParseInt(up, 10, 64)
	return stamp{time.Unix(unix, 0), boot, time.Duration(nanoseconds)}, err == nil
}

// since is how long ago s was, at a later moment: by the uptime, unless the
// machine was started anew, or it is another.
func (now stamp) since(s stamp) time.Duration {
	if s.boot != "" && s.boot == now.boot {
		return now.up - s.up
	}
	return now.wall.Sub(s.wall)
}
