package digest

import (
	"bytes"
	"fmt"
	"io"

	godigest "github.com/opencontainers/go-digest"
)

// readBuffer is the size in bytes of the reads of content.
const readBuffer = 128 << 10

// Of reads r to its end and returns the digest of what it read, by the
// algorithm of a digest that [Parse] accepts. Memory is bounded: for a hash by
// a buffer, for a tarsum by [MaxArchiveEntries]. Errors: those of r,
// [ErrUnsupported]; for a tarsum [ErrArchive], [ErrArchiveTooLarge].
func Of(alg Algorithm, r io.Reader) (Digest, error) {
	switch alg {
	case SHA256, SHA512:
		h := alg.Hash()
		if _, err := io.CopyBuffer(h, r, make([]byte, readBuffer)); err != nil {
			return "", err
		}
		return godigest.NewDigest(alg, h), nil
	case TarsumV1:
		return tarsumDigest(alg, "v1", r)
	case TarsumV0:
		return tarsumDigest(alg, "v0", r)
	default:
		return "", fmt.Errorf("%w: %.40q", ErrUnsupported, alg)
	}
}

func tarsumDigest(alg Algorithm, version string, r io.Reader) (Digest, error) {
	sum, err := archiveLimits{MaxArchiveEntries, MaxArchiveSize}.tarsum(version, r)
	if err != nil {
		return "", err
	}
	return Digest(alg.String() + ":" + sum), nil
}

// Matches reports whether p is content of d, which [Parse] has accepted.
func Matches(d Digest, p []byte) bool {
	if alg := d.Algorithm(); alg == SHA256 || alg == SHA512 {
		return alg.FromBytes(p) == d // without the buffer
	}
	got, err := Of(d.Algorithm(), bytes.NewReader(p))
	return err == nil && got == d
}
