package fsmount

import (
	"bytes"
	"context"
	"io"

	"registryfs/digest"
	"registryfs/storage"
)

// before is what a file held before anything was written to it, as far as that
// was not cut off: a blob of the repository, or bytes.
type before struct {
	digest digest.Digest // of the blob, or ""
	bytes  []byte        // where there is no blob
	size   int64         // of what is left
	isCut  bool
}

// storedBefore is stored content, which is read, and so verified, only when it
// is needed.
func storedBefore(d digest.Digest, size int64) *before { return &before{digest: d, size: size} }

func bytesBefore(content []byte) *before {
	return &before{bytes: content, size: int64(len(content))}
}

// isWhole returns the digest of what there was, if that is all there still.
func (b *before) isWhole() (digest.Digest, bool) {
	if b.digest == "" {
		return digest.FromBytes(b.bytes[:b.size]), true
	}
	return b.digest, !b.isCut
}

func (b *before) cut(size int64) { b.size, b.isCut = size, true }

// open opens it for reading. The size of content that was damaged when it was
// looked at, and has been healed, is known only then.
func (b *before) open(ctx context.Context, repo storage.Repository) (openContent, error) {
	if b.digest == "" {
		return struct {
			io.ReaderAt
			io.Closer
		}{bytes.NewReader(b.bytes), io.NopCloser(nil)}, nil
	}
	blob, err := openIn(ctx, repo, b.digest)
	if err == nil && !b.isCut {
		b.size = blob.Descriptor().Size
	}
	return blob, err
}
