package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A deed is an operation on a mount, as the process that does it tells of it:
// once before, and once when it is done.
type deed struct {
	N    int
	What string
	// Makes is what is so once the deed is done: by path below the mount
	// point, the digest in hex of what can be read there, for an upload how
	// many bytes it has, and for what is not there nothing.
	Makes map[string]string `json:",omitempty"`

	At    int64         // unix time in nanoseconds, of its begin or end
	Done  bool          `json:",omitempty"`
	Errno syscall.Errno `json:",omitempty"`
	Fault string        `json:",omitempty"` // in words

	ended int64
	was   map[string]string // before it, of what it makes; settle tells
}

// gone is the value of a path where nothing is.
const gone = ""

// uploadBytes is what a test writes to an upload: each has a stream of its
// own.
func uploadBytes(id string, size int) []byte {
	p := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(id))).Read(p) // never fails
	return p
}

func hexOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// question is what look is asked.
type question struct {
	Mount string
	Paths []string
}

// look is the program that reads what is at paths of a mount.
func look(in io.Reader, out io.Writer) error {
	var q question
	if err := json.NewDecoder(in).Decode(&q); err != nil {
		return err
	}
	found := map[string]string{}
	for _, path := range q.Paths {
		value, err := valueOf(q.Mount, path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			value = gone
		case err != nil:
			value = err.Error()
		}
		found[path] = value
	}
	return json.NewEncoder(out).Encode(found)
}

// valueOf reads what is at a path, as a deed tells of it.
func valueOf(mnt, path string) (string, error) {
	file := filepath.Join(mnt, path)
	if strings.Contains(path, "/_tags/") {
		to, err := os.Readlink(file)
		if err != nil {
			return "", err
		}
		content, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if got := hexOf(content); err != nil || got != filepath.Base(to) {
			return "", fmt.Errorf("leads to %s, and that is %s (%v)", to, got, err)
		}
		return filepath.Base(to), nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if strings.Contains(path, "/_uploads/") {
		if !slices.Equal(content, uploadBytes(filepath.Base(path), len(content))) {
			return "", fmt.Errorf("an upload of %d other bytes", len(content))
		}
		return strconv.Itoa(len(content)), nil
	}
	return hexOf(content), nil
}

// ledger is what is known of a mount: by path, what must be there.
type ledger map[string]string

// accounts is what became of the deeds of several processes, of which each did
// one after the other.
type accounts struct {
	acknowledged int
	inFlight     int    // when the daemon died
	open         []deed // those, and what began later
	refused      []deed // that failed though the mount stood
	// allowed is, for each path that a deed was about, what may be there now.
	allowed map[string][]string
}

// settle goes through the deeds of each process up to the death of the daemon
// at that time.
func (l ledger) settle(processes [][]deed, died int64) accounts {
	a := accounts{allowed: map[string][]string{}}
	acknowledged := map[string]bool{} // some process has, as its last word
	for _, deeds := range processes {
		last := map[string]string{}
		begun := map[int]deed{}
		for _, d := range deeds {
			if !d.Done {
				begun[d.N] = d
				continue
			}
			this := begun[d.N]
			if d.Errno != 0 {
				this.Errno, this.Fault, this.ended = d.Errno, d.Fault, d.At
				begun[d.N] = this
				continue
			}
			delete(begun, d.N)
			a.acknowledged++
			for path, value := range this.Makes {
				last[path] = value
			}
		}
		for path, value := range last {
			a.allowed[path] = append(a.allowed[path], value)
			acknowledged[path] = true
		}
		for _, d := range begun {
			d.was = map[string]string{}
			for path := range d.Makes {
				value, known := last[path]
				if !known {
					value = l[path]
				}
				d.was[path] = value
			}
			a.open = append(a.open, d)
		}
	}
	for _, d := range a.open {
		switch {
		case d.Errno != 0 && (d.ended < died || !isDisconnected(d.Errno)):
			a.refused = append(a.refused, d)
		case d.At < died:
			a.inFlight++
		}
		for path, value := range d.Makes {
			if !acknowledged[path] {
				a.allowed[path] = append(a.allowed[path], l[path])
			}
			a.allowed[path] = append(a.allowed[path], value)
		}
	}
	return a
}

// isDisconnected reports what a mount answers whose daemon is dead. EIO is what
// the kernel makes of a request that the daemon is killed in the middle of
// reading.
func isDisconnected(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EIO)
}

// paths is all that is known, and all that the deeds were about.
func (l ledger) paths(a accounts) []string {
	var paths []string
	for path := range l {
		paths = append(paths, path)
	}
	for path := range a.allowed {
		if _, known := l[path]; !known {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// audit compares what is found with what may be there, takes note of it, and
// returns what is wrong.
func (l ledger) audit(a accounts, found map[string]string) []string {
	wrong := l.wrong(a, found)
	for path := range a.allowed {
		l[path] = found[path]
	}
	return wrong
}

// wrong is what is found and may not be there.
func (l ledger) wrong(a accounts, found map[string]string) []string {
	var wrong []string
	for _, path := range l.paths(a) {
		allowed, touched := a.allowed[path]
		if !touched {
			allowed = []string{l[path]}
		}
		if value := found[path]; !isAllowed(path, value, allowed) {
			wrong = append(wrong, fmt.Sprintf("%s: %q, and should be one of %q", path, value, allowed))
		}
	}
	for _, d := range a.open {
		if !isSomewhere(d, found) {
			wrong = append(wrong, fmt.Sprintf("lost between two names: %+v", d))
		}
	}
	return wrong
}

func isAllowed(path, value string, allowed []string) bool {
	if slices.Contains(allowed, value) {
		return true
	}
	if !strings.Contains(path, "/_uploads/") {
		return false
	}
	// Of an append some of the bytes may have come.
	size, err := strconv.Atoi(value)
	least, most := -1, -1
	for _, text := range allowed {
		if n, err := strconv.Atoi(text); err == nil {
			if least < 0 {
				least = n
			}
			least, most = min(least, n), max(most, n)
		}
	}
	return err == nil && least <= size && size <= most
}

// isSomewhere reports whether what an interrupted move was to move has its old
// name, or its new one.
func isSomewhere(d deed, found map[string]string) bool {
	if d.What != moveTag && d.What != finishUpload {
		return true
	}
	for path, value := range d.Makes {
		if value == gone && found[path] == d.was[path] || value != gone && found[path] == value {
			return true
		}
	}
	return false
}
