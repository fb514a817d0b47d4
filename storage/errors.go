package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"registryfs/digest"
	"registryfs/manifest"
)

// Limits of what is read into memory at once.
const (
	// MaxGet is the size in bytes of the largest blob that Get returns.
	MaxGet = 4 << 20
	// MaxLink is the size in bytes of the largest link file that is read.
	MaxLink = 256
)

var (
	// ErrNameInvalid says that a repository name does not follow the grammar
	// of the distribution specification.
	ErrNameInvalid = fmt.Errorf("storage: invalid repository name: %w", fs.ErrInvalid)
	// ErrRepositoryUnknown says that no repository or namespace has a name.
	ErrRepositoryUnknown = fmt.Errorf("storage: unknown repository: %w", fs.ErrNotExist)
	// ErrBlobUnknown says that a repository has no such blob.
	ErrBlobUnknown = fmt.Errorf("storage: unknown blob: %w", fs.ErrNotExist)
	// ErrManifestUnknown says that a repository has no such manifest.
	ErrManifestUnknown = fmt.Errorf("storage: unknown manifest: %w", fs.ErrNotExist)
	// ErrTagUnknown says that a repository has no such tag.
	ErrTagUnknown = fmt.Errorf("storage: unknown tag: %w", fs.ErrNotExist)
	// ErrTagInvalid says that a tag name does not follow the grammar.
	ErrTagInvalid = fmt.Errorf("storage: invalid tag: %w", fs.ErrInvalid)
	// ErrTagImmutable says that a tag exists and must stay as it is.
	ErrTagImmutable = fmt.Errorf("storage: tag is immutable: %w", fs.ErrPermission)
	// ErrUploadUnknown says that no upload has an id: it never had, or it was
	// committed or cancelled.
	ErrUploadUnknown = fmt.Errorf("storage: unknown upload: %w", fs.ErrNotExist)
	// ErrUploadBusy says that another writer has the upload open.
	ErrUploadBusy = errors.New("storage: upload is being written")
	// ErrUploadLost says that what was written could not be made durable, and
	// is gone: nobody knows what a disk has of it.
	ErrUploadLost = errors.New("storage: upload is lost")
	// ErrDigestMismatch says that content is not what its digest names.
	ErrDigestMismatch = errors.New("storage: content does not match its digest")
	// ErrSizeMismatch says that content is not as long as was said.
	ErrSizeMismatch = errors.New("storage: content does not have the given size")
	// ErrCorrupt says that stored content, or a stored link, is not what its
	// name says.
	ErrCorrupt = errors.New("storage: stored content is corrupt")
	// ErrTooLarge says that content passes a limit of this package.
	ErrTooLarge = errors.New("storage: content is too large")
	// ErrReferenced says that something cannot be deleted because something
	// else in the repository names it.
	ErrReferenced = errors.New("storage: still referenced")
	// ErrUnsigned says that a manifest has no signed form.
	ErrUnsigned = manifest.ErrUnsigned
	// ErrInUse says that another process uses the store in a way that does not
	// go together with what was asked for.
	ErrInUse = errors.New("storage: the store is in use")
	// ErrReadOnly says that the registry was opened for reading only.
	ErrReadOnly = errors.New("storage: registry is read-only")
	// ErrUnsupported says that the registry cannot do this, or was told not to.
	ErrUnsupported = fmt.Errorf("storage: %w", errors.ErrUnsupported)
)

// Error is a failed operation on a repository.
type Error struct {
	Op   string // "open", "commit", "tag"
	Repo string // name of the repository
	Name string // digest, tag or upload id; may be empty
	Err  error
}

func (e *Error) Error() string {
	where := e.Repo
	if e.Name != "" {
		where += " " + e.Name
	}
	return fmt.Sprintf("%s %s: %v", e.Op, where, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// MissingError says that a manifest references what the repository does not
// have. It lists all of it.
type MissingError struct {
	Blobs     []digest.Digest
	Manifests []digest.Digest
}

func (e *MissingError) Error() string {
	var b strings.Builder
	b.WriteString("storage: missing")
	write := func(kind string, ds []digest.Digest) {
		for i, d := range ds {
			if i == 0 {
				b.WriteString(" " + kind)
			}
			b.WriteString(" " + d.String())
		}
	}
	write("blobs", e.Blobs)
	write("manifests", e.Manifests)
	return b.String()
}

// orNil is e, or nil where nothing is missing. A blob that is referenced more
// than once is listed once.
func (e *MissingError) orNil() error {
	if len(e.Blobs) == 0 && len(e.Manifests) == 0 {
		return nil
	}
	listed := map[digest.Digest]bool{}
	e.Blobs = slices.DeleteFunc(e.Blobs, func(d digest.Digest) bool {
		again := listed[d]
		listed[d] = true
		return again
	})
	return e
}
