// Package digest names content by its hash.
//
// A [Digest] is the string "<algorithm>:<hex>" of the OCI image specification
// (descriptor.md, "Digests"). SHA-256 is canonical: every blob has exactly one
// canonical digest, and the store keeps it under that name. The others are
// provisional: other names of the same content, which a store links to the
// canonical one.
//
//	sha256:<64 hex>             canonical
//	sha512:<128 hex>            provisional
//	tarsum.v1+sha256:<64 hex>   provisional, of the files in a tar archive
//	tarsum+sha256:<64 hex>      the same, version 0
//
// The type is opencontainers/go-digest's, so that descriptors of image-spec
// carry it as it is; a Digest from outside is only valid once [Parse] or
// [FromHex] has accepted it. Methods of that type that hash (FromBytes,
// Digester, Verifier) panic for a tarsum: use [Of] and [Matches].
//
// All functions are safe for concurrent use.
package digest

import (
	_ "crypto/sha256" // go-digest finds its hashes only when they are linked in
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io/fs"

	godigest "github.com/opencontainers/go-digest"
)

// Digest is "<algorithm>:<hex>"; comparable, the zero value is invalid.
type Digest = godigest.Digest

// Algorithm is the hash of a digest.
type Algorithm = godigest.Algorithm

const (
	// SHA256 is the algorithm of canonical digests.
	SHA256 = godigest.SHA256
	// SHA512 is accepted as a provisional name of content.
	SHA512 = godigest.SHA512
	// TarsumV1 and TarsumV0 name what is in a tar archive (see [Tarsum]).
	TarsumV1 Algorithm = "tarsum.v1+sha256"
	TarsumV0 Algorithm = "tarsum+sha256"
)

var (
	// ErrInvalid says that a string is no digest: wrong grammar, wrong length,
	// upper-case hex.
	ErrInvalid = fmt.Errorf("digest: invalid digest: %w", fs.ErrInvalid)
	// ErrUnsupported says that the algorithm of a digest is not known here.
	ErrUnsupported = fmt.Errorf("digest: unsupported algorithm: %w", errors.ErrUnsupported)
)

// MaxLength is the length in bytes of the longest digest that [Parse] accepts.
const MaxLength = len("sha512:") + 128

// Parse checks s and returns it as a Digest. Errors: [ErrInvalid],
// [ErrUnsupported]; [ErrTarsumVersion], which is an ErrUnsupported too.
func Parse(s string) (Digest, error) {
	if isTarsum(s) {
		t, err := ParseTarsum(s)
		if err == nil {
			err = t.Supported()
		}
		if err != nil {
			return "", err
		}
		return Digest(s), nil
	}
	if len(s) > MaxLength {
		return "", fmt.Errorf("%w: %d bytes long", ErrInvalid, len(s))
	}
	d := Digest(s)
	switch err := d.Validate(); {
	case err == nil:
		if err := known(d.Algorithm()); err != nil {
			return "", err
		}
		return d, nil
	case errors.Is(err, godigest.ErrDigestUnsupported):
		return "", fmt.Errorf("%w: %q", ErrUnsupported, s)
	default:
		return "", fmt.Errorf("%w: %q", ErrInvalid, s)
	}
}

// FromHex joins an algorithm and an encoded hash, and checks the result as
// [Parse] does.
func FromHex(alg, hex string) (Digest, error) { return Parse(alg + ":" + hex) }

// FromBytes is the canonical digest of p.
func FromBytes(p []byte) Digest { return godigest.SHA256.FromBytes(p) }

// IsCanonical reports whether d uses the canonical algorithm.
func IsCanonical(d Digest) bool { return d.Algorithm() == SHA256 }

// IsAlgorithm reports whether s names an algorithm that [Parse] accepts.
func IsAlgorithm(s string) bool { return known(Algorithm(s)) == nil }

func known(a Algorithm) error {
	switch a {
	case SHA256, SHA512, TarsumV1, TarsumV0:
		return nil
	}
	return fmt.Errorf("%w: %q", ErrUnsupported, a)
}
