package storage

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
)

const (
	// MaxName is the length in bytes of the longest repository name.
	MaxName = reference.RepositoryNameTotalLengthMax
	// MaxTag is the length in bytes of the longest tag.
	MaxTag = 128
)

// CheckName reports a repository name that the distribution specification does
// not allow, as [ErrNameInvalid].
func CheckName(name string) error {
	// The grammar of references begins with a host, which may be of any length,
	// in upper case, an address in brackets and with a port; names in a store
	// have none.
	if len(name) > MaxName || strings.ContainsAny(name, ":[ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		return fmt.Errorf("%w: %q", ErrNameInvalid, name)
	}
	if _, err := reference.WithName(name); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrNameInvalid, name, err)
	}
	return nil
}

// CheckTag reports a tag that the distribution specification does not allow,
// as [ErrTagInvalid]: [A-Za-z0-9_][A-Za-z0-9._-]{0,127}.
func CheckTag(tag string) error {
	if tag == "" || len(tag) > MaxTag || tag[0] == '.' || tag[0] == '-' {
		return fmt.Errorf("%w: %q", ErrTagInvalid, tag)
	}
	for i := range len(tag) {
		switch c := tag[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("%w: %q", ErrTagInvalid, tag)
		}
	}
	return nil
}
