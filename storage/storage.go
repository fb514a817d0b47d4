// Package storage is a container registry's storage: repositories of blobs,
// manifests and tags.
//
// This file is the contract. [Open] implements it over a driver.Driver, in the
// on-disk layout of docker/distribution (see layout.go for the tree), so that a
// stock registry and this package can share one store; other implementations
// may stand on something that is no driver at all, so nothing here names one.
// Package storagetest holds the conformance suite.
//
// What always holds: content read under a digest hashes to that digest; a tag
// is its old or its new value; what a method acknowledged is durable; what a
// method made visible is whole. Everything is safe for concurrent use except
// an [Upload], which belongs to one writer.
package storage

import (
	"context"
	"io"
	"time"

	"registryfs/digest"
	"registryfs/manifest"
)

// Descriptor names content: media type, digest, size in bytes.
type Descriptor = manifest.Descriptor

// Registry is a set of repositories.
type Registry interface {
	// Repository returns the repository of that name, which need not exist
	// yet: it begins with the first content put into it. Errors:
	// [ErrNameInvalid].
	Repository(name string) (Repository, error)

	// List returns, in order, the whole names one level below a namespace:
	// repositories and namespaces. "" is the top. A missing namespace is
	// [ErrRepositoryUnknown].
	List(ctx context.Context, namespace string) ([]string, error)

	// Exists reports whether anything has a name, a repository or a namespace.
	// What is below it costs nothing. Errors: [ErrNameInvalid].
	Exists(ctx context.Context, name string) (bool, error)

	// Stat describes one name: a repository, a namespace or both. Errors:
	// [ErrNameInvalid], [ErrRepositoryUnknown].
	Stat(ctx context.Context, name string) (Entry, error)

	// Space is the room where the registry keeps its content. Errors:
	// [ErrUnsupported].
	Space(ctx context.Context) (Space, error)
}

// Entry is one name in a registry.
type Entry struct {
	Name       string // the whole name: "team/app"
	Repository bool   // a repository has this name
	Namespace  bool   // names of repositories go on below it
}

// Space is room in bytes and in files.
type Space struct {
	Bytes, BytesFree uint64
	Files, FilesFree uint64
}

// Repository is a named set of blobs, manifests and tags.
type Repository interface {
	Name() string
	Blobs() BlobStore
	Manifests() ManifestStore
	Tags() TagStore
}

// Blob is verified content open for reading. ReadAt may be called
// concurrently; it never returns a byte that is not the digest's content:
// content that changed since it was verified is [ErrCorrupt].
type Blob interface {
	io.ReaderAt
	io.Closer
	Descriptor() Descriptor
}

// BlobStore is the blobs of one repository: its layers and configurations.
// Unknown digests are [ErrBlobUnknown], whether no link or no content is there.
type BlobStore interface {
	// Stat describes a blob without verifying it.
	Stat(ctx context.Context, d digest.Digest) (Descriptor, error)

	// Open verifies the whole blob against d, unless that has been done since
	// it last changed, and opens it. Errors: [ErrBlobUnknown], [ErrCorrupt];
	// another where it changes over and over, which says nothing about it.
	Open(ctx context.Context, d digest.Digest, options ...OpenOption) (Blob, error)

	// Get returns a verified blob of at most [MaxGet] bytes, else
	// [ErrTooLarge].
	Get(ctx context.Context, d digest.Digest) ([]byte, error)

	// Put stores small content.
	Put(ctx context.Context, mediaType string, content []byte) (Descriptor, error)

	// Create begins an upload. Nothing is visible before its Commit.
	Create(ctx context.Context) (Upload, error)

	// Resume goes on with an upload that was closed, or left by a process
	// that died. Errors: [ErrUploadUnknown], [ErrUploadBusy].
	Resume(ctx context.Context, id string) (Upload, error)

	// Uploads lists the uploads in progress, by id.
	Uploads(ctx context.Context) ([]UploadInfo, error)

	// Upload describes one of them. Errors: [ErrUploadUnknown].
	Upload(ctx context.Context, id string) (UploadInfo, error)

	// OpenUpload opens the bytes that an upload has so far, unverified.
	// Errors: [ErrUploadUnknown].
	OpenUpload(ctx context.Context, id string) (UploadContent, error)

	// Mount makes a blob of another repository a blob of this one; no content
	// is copied.
	Mount(ctx context.Context, from Repository, d digest.Digest) (Descriptor, error)

	// Delete removes a blob from the repository; its content stays until it
	// is collected. A blob that a manifest references is [ErrReferenced].
	// Errors: [ErrUnsupported] where deletion is disabled.
	Delete(ctx context.Context, d digest.Digest) error

	// Retract takes back a blob that the caller has put and found not to be
	// what it wanted, also where deletion is disabled. It removes the link that
	// a Commit made, and nothing that anybody else was told is there: a blob
	// that a manifest references, that was there before, or that somebody has
	// put, mounted or kept since, is [ErrReferenced], and so is one of which
	// that is not known. Errors: [ErrBlobUnknown].
	Retract(ctx context.Context, made Link) error

	// Keep makes a blob the caller's as well: who put it cannot Retract it any
	// more. It returns the link that this has made, which was not new. Errors:
	// [ErrBlobUnknown].
	Keep(ctx context.Context, d digest.Digest) (Link, error)

	// Enumerate calls fn for each blob, in no order, until fn fails.
	Enumerate(ctx context.Context, fn func(digest.Digest) error) error
}

// Link is one writing of what makes content a part of a repository. Whoever puts
// the same content again writes it anew, so that it tells for whom the content
// is there. The zero Link is nobody's.
type Link struct {
	Digest   digest.Digest
	Version  string // tells it from every other writing; "" where nothing does
	Replaced string // Version of the one whose place it took
	IsNew    bool   // there was none, for certain
}

// Since is l for a caller who has made another before: where that is what l
// replaced, l is as new as that was.
func (l Link) Since(before Link) Link {
	if before.IsNew && before.Version != "" && l.Replaced == before.Version && l.Digest == before.Digest {
		l.IsNew = true
	}
	return l
}

// UploadInfo describes an upload in progress.
type UploadInfo struct {
	ID        string
	Size      int64
	StartedAt time.Time // zero where it is not known
	ModTime   time.Time
}

// UploadContent is what an upload has so far, open for reading.
type UploadContent interface {
	io.ReaderAt
	io.Closer
}

// Upload is content being written. It is exclusive: as long as it is not ended
// nobody else can resume it. The methods of io may be called concurrently with
// each other, the rest may not. Write goes on at the end of what is there, or
// where Seek set it, which Seek(0, io.SeekCurrent) reports.
type Upload interface {
	io.Writer
	io.Seeker
	io.ReaderFrom
	io.WriterAt
	io.ReaderAt

	ID() string
	StartedAt() time.Time

	// Size is the number of bytes so far.
	Size() int64

	// Truncate cuts the content, or extends it with zeros.
	Truncate(size int64) error

	// Sync makes the bytes so far durable; it publishes nothing. Where that
	// fails, here and in Commit and Close, the upload is ended, and only what
	// was synced before is left for Resume: [ErrUploadLost].
	Sync(ctx context.Context) error

	// Digest is the canonical digest of the bytes so far. It costs a pass
	// over them only when they were not written in order.
	Digest(ctx context.Context) (digest.Digest, error)

	// Commit verifies the content against want.Digest, which is required, and
	// want.Size, unless that is 0, publishes it as a blob of the repository,
	// and ends the upload. A failure of verification ends nothing: more may be
	// written, or Commit called with another descriptor. Errors:
	// [ErrDigestMismatch], [ErrSizeMismatch], [ErrUploadLost].
	Commit(ctx context.Context, want Descriptor) (Descriptor, error)

	// Link is what Commit made, for Retract; after it, and before anything
	// else is done with the upload.
	Link() Link

	// Close ends the writer and keeps the upload for Resume.
	Close() error

	// Cancel ends the upload and removes it. It may be repeated, and does
	// nothing after Commit.
	Cancel(ctx context.Context) error
}

// ManifestStore is the manifests of one repository. Unknown digests are
// [ErrManifestUnknown].
type ManifestStore interface {
	Exists(ctx context.Context, d digest.Digest) (bool, error)

	// Stat describes a manifest without reading it: digest and size.
	Stat(ctx context.Context, d digest.Digest) (Descriptor, error)

	// Open opens the exact bytes of a stored manifest, verified, whether or
	// not they can be parsed. Errors: [ErrCorrupt].
	Open(ctx context.Context, d digest.Digest, options ...OpenOption) (Blob, error)

	// Get returns a stored manifest, verified and parsed. Errors:
	// [ErrCorrupt], [ErrTooLarge], manifest.ErrInvalid.
	Get(ctx context.Context, d digest.Digest) (manifest.Manifest, error)

	// GetTagged returns the manifest that a tag names, unless that is the
	// digest known, of which the caller has the content. Errors:
	// [ErrTagUnknown] and those of Get.
	GetTagged(ctx context.Context, tag string, known digest.Digest) (Revision, error)

	// Put validates a manifest, checks that what it references is here, and
	// stores it. mediaType may be empty: the document then tells. An image
	// needs its configuration and layers; an index needs its children only
	// when it is tagged. The signed form of schema 1 is stored without its
	// signatures, under the digest of what is signed, and they beside it.
	// Errors: manifest.ErrInvalid, manifest.ErrTooLarge and a [*MissingError]
	// that lists everything missing.
	Put(ctx context.Context, mediaType string, payload []byte, options ...PutOption) (Descriptor, error)

	// Signed returns a manifest of schema 1 with its signatures: those that
	// are stored, else that of the registry's key. Errors: [ErrUnsigned] and
	// those of Get.
	Signed(ctx context.Context, d digest.Digest) ([]byte, error)

	// Mount makes a manifest of another repository, with everything it
	// references, one of this repository. No content is copied.
	Mount(ctx context.Context, from Repository, d digest.Digest) (Descriptor, error)

	// Delete removes a manifest and the tags that name it. One that an index
	// of the repository names is [ErrReferenced], and so is one that another
	// process tags meanwhile. Errors: [ErrUnsupported] where deletion is
	// disabled.
	Delete(ctx context.Context, d digest.Digest, options ...DeleteOption) error

	// Retract takes back a manifest that the caller has put, as [BlobStore]
	// does for blobs. One that a tag names is [ErrReferenced].
	Retract(ctx context.Context, made Link) error

	// Keep is that of [BlobStore].
	Keep(ctx context.Context, d digest.Digest) (Link, error)

	// Referrers describes the manifests of the repository whose subject is d,
	// in the order of their digests. That d exists is not needed.
	Referrers(ctx context.Context, d digest.Digest) ([]Descriptor, error)

	// Enumerate calls fn for each manifest, in no order, until fn fails.
	Enumerate(ctx context.Context, fn func(digest.Digest) error) error
}

// Revision is a manifest as a tag names it.
type Revision struct {
	Digest   digest.Digest
	Manifest manifest.Manifest // nil where the caller knows it
}

// TagStore is the tags of one repository. Unknown tags are [ErrTagUnknown];
// names outside the grammar of the distribution specification are
// [ErrTagInvalid].
type TagStore interface {
	// All lists the tags in lexical order; none in a repository that does not
	// exist.
	All(ctx context.Context) ([]string, error)

	// List returns at most n of the tags that come after a name in lexical
	// order; n below 1 means all of them.
	List(ctx context.Context, after string, n int) ([]string, error)

	// Get returns the digest and the time of the last move of a tag.
	Get(ctx context.Context, tag string) (Tag, error)

	// Tag sets a tag, new or not, to a manifest of the repository. An index
	// must have its children here. Where tags are immutable, one that exists
	// keeps its digest and its name. Errors: [ErrManifestUnknown],
	// [*MissingError], [ErrTagImmutable].
	Tag(ctx context.Context, tag string, d digest.Digest) error

	// Untag removes a tag and nothing else.
	Untag(ctx context.Context, tag string) error

	// Replace makes a tag that names old name d or, where d is empty, removes
	// it; where old is empty, it makes one that is not there. A tag that names
	// anything else has been moved meanwhile: it stays, and that is no error.
	// Other errors are those of Tag and Untag.
	Replace(ctx context.Context, tag string, old, d digest.Digest) error

	// Rename moves a tag, replacing another of the new name. Readers of this
	// registry see one step.
	Rename(ctx context.Context, from, to string) error

	// Lookup lists the tags of a digest, in lexical order.
	Lookup(ctx context.Context, d digest.Digest) ([]string, error)

	// History lists the digests a tag has had, in no order.
	History(ctx context.Context, tag string) ([]digest.Digest, error)
}

// Tag is the value of a tag.
type Tag struct {
	Name    string
	Digest  digest.Digest
	ModTime time.Time
}
