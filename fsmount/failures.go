package fsmount

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxFailures is how many lines .registryfs/errors keeps.
	maxFailures = 1000
	// maxFailuresSize is how many bytes it keeps. One line may be longer: it
	// lists all that a manifest lacks.
	maxFailuresSize = 1 << 20
)

// failures is the last failures, in the order in which they came.
type failures struct {
	mu    sync.Mutex
	lines []string
	size  int // of all lines
}

// add takes note of a failure: time, pid, operation, path, reason in words. It
// is one line of valid UTF-8, whatever is in a name. Any line breaks in the
// reason are folded.
func (f *failures) add(when time.Time, pid uint32, op, path, reason string) {
	line := fmt.Sprintf("%s %d %s %s %s\n", when.UTC().Format(time.RFC3339Nano), pid, op, printable(path),
		printable(strings.Join(strings.Fields(reason), " ")))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, line)
	f.size += len(line)
	old := 0
	for old < len(f.lines)-1 && (len(f.lines)-old > maxFailures || f.size > maxFailuresSize) {
		f.size -= len(f.lines[old])
		old++
	}
	f.lines = slices.Delete(f.lines, 0, old)
}

// printable is a text with what does not show, and the backslash that begins an
// escape, written as in a string of Go.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// length is the size in bytes of the file.
func (f *failures) length() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size
}

// content is the text of the file.
func (f *failures) content() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b bytes.Buffer
	for _, line := range f.lines {
		b.WriteString(line)
	}
	return b.Bytes()
}
