package fsmount

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"
)

// maxFailures is how many lines .registryfs/errors keeps.
const maxFailures = 1000

// failures is the last failures, in the order in which they came.
type failures struct {
	mu    sync.Mutex
	lines []string
}

// add takes note of a failure: time, pid, operation, path, reason in words.
// Any line breaks in the reason are folded.
func (f *failures) add(when time.Time, pid uint32, op, path, reason string) {
	line := fmt.Sprintf("%s %d %s %s %s\n", when.UTC().Format(time.RFC3339Nano), pid, op, path,
		strings.Join(strings.Fields(reason), " "))
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lines) == maxFailures {
		f.lines = append(f.lines[:0], f.lines[1:]...)
	}
	f.lines = append(f.lines, line)
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
