package driver

import "context"

// FilePutter is implemented by drivers that know what PutContent did.
type FilePutter interface {
	// PutFile is PutContent, and says what it did.
	PutFile(ctx context.Context, path string, content []byte) (Written, error)
}

// Written is what PutFile did. What is not known for certain is left out.
type Written struct {
	Version  string // of the file that was made, as Stat tells it
	Replaced string // Version of the file whose place it took, as that was just before
	IsNew    bool   // it took no place: whoever writes the path first sees that, and nobody else
}

// PutFile replaces a file, or makes it, and says what it did. It uses d's own
// [FilePutter] where there is one, otherwise PutContent, of which nothing is
// known.
func PutFile(ctx context.Context, d Driver, path string, content []byte) (Written, error) {
	if p, ok := d.(FilePutter); ok {
		return p.PutFile(ctx, path, content)
	}
	return Written{}, d.PutContent(ctx, path, content)
}
