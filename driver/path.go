package driver

import (
	"strconv"
	"strings"
)

const (
	// MaxPath is the length in bytes of the longest path a driver accepts.
	MaxPath = 3072
	// MaxName is the length in bytes of the longest component of a path.
	MaxName = 255
)

// ValidPath reports whether path is absolute, clean and made of the characters
// that every backend takes: one or more components of letters, digits, dot,
// underscore and hyphen, none of them "." or "..".
func ValidPath(path string) bool {
	if len(path) < 2 || len(path) > MaxPath || path[0] != '/' {
		return false
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if !validName(part) {
			return false
		}
	}
	return true
}

func validName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// ShownPath is a path in a line of text: others may have given names with
// anything in them, and those are quoted as a string of Go.
func ShownPath(path string) string {
	if ValidPath(path) || path == "/" {
		return path
	}
	return strconv.Quote(path)
}
