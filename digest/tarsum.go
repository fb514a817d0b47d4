package digest

import (
	"fmt"
	"strings"
)

// ErrTarsumVersion says that a tarsum is of a version that cannot be computed
// here. It is an [ErrUnsupported] too; the error is a [*TarsumVersionError].
var ErrTarsumVersion = fmt.Errorf("digest: unsupported tarsum version: %w", ErrUnsupported)

// TarsumVersionError is the version that is not supported.
type TarsumVersionError struct {
	Version string // as in [Tarsum]
}

func (e *TarsumVersionError) Error() string {
	return fmt.Sprintf("digest: unsupported tarsum version %.40q", e.Version)
}

// Unwrap returns [ErrTarsumVersion].
func (e *TarsumVersionError) Unwrap() error { return ErrTarsumVersion }

// Limits of a tarsum's text.
const (
	maxTarsumVersion = 16 // bytes
	// MaxTarsumLength is the length in bytes of the longest tarsum that
	// [ParseTarsum] accepts.
	MaxTarsumLength = len("tarsum.") + maxTarsumVersion + len("+sha512:") + 128
)

// Tarsum is the parts of a digest of the form tarsum[.<version>]+<hash>:<hex>,
// by which the first releases of Docker's registry named layers: a hash of the
// files in a tar archive, whatever their order and however the archive is
// compressed. It says nothing of the bytes of the archive, and is no
// cryptographic attestation.
//
// Any version can be written down and read; only v0 and v1 with SHA-256 can be
// computed (see [Tarsum.Supported]).
type Tarsum struct {
	Version string // "v0" where the text has none, "v1", "dev", …
	Hash    string // "sha256"
	Hex     string
}

// ParseTarsum splits a tarsum of any version. Errors: [ErrInvalid].
func ParseTarsum(s string) (Tarsum, error) {
	if len(s) > MaxTarsumLength {
		return Tarsum{}, fmt.Errorf("%w: %d bytes long", ErrInvalid, len(s))
	}
	name, hex, _ := strings.Cut(s, ":")
	label, hash, _ := strings.Cut(name, "+")
	version, dotted := strings.CutPrefix(label, "tarsum.")
	switch {
	case label == "tarsum":
		version = "v0"
	case !dotted, version == "v0": // version 0 is written in one way only
		return Tarsum{}, fmt.Errorf("%w: %q", ErrInvalid, s)
	}
	t, err := NewTarsum(version, hash, hex)
	if err != nil {
		return Tarsum{}, fmt.Errorf("%w: %q", ErrInvalid, s)
	}
	return t, nil
}

// NewTarsum checks the parts of a tarsum of any version. Errors: [ErrInvalid].
func NewTarsum(version, hash, hex string) (Tarsum, error) {
	switch {
	case version == "" || len(version) > maxTarsumVersion || !consistsOf(version, lowerAlphanumeric):
		return Tarsum{}, fmt.Errorf("%w: tarsum version %.40q", ErrInvalid, version)
	case hexLength(hash) == 0:
		return Tarsum{}, fmt.Errorf("%w: tarsum of hash %.40q", ErrInvalid, hash)
	case len(hex) != hexLength(hash) || !consistsOf(hex, hexDigits):
		return Tarsum{}, fmt.Errorf("%w: tarsum with %s %.140q", ErrInvalid, hash, hex)
	}
	return Tarsum{Version: version, Hash: hash, Hex: hex}, nil
}

// Supported says whether the tarsum can be computed. Errors:
// [ErrTarsumVersion]; [ErrUnsupported] for a hash other than SHA-256.
func (t Tarsum) Supported() error {
	switch {
	case t.Version != "v0" && t.Version != "v1":
		return &TarsumVersionError{Version: t.Version}
	case t.Hash != SHA256.String():
		return fmt.Errorf("%w: tarsum with %s", ErrUnsupported, t.Hash)
	}
	return nil
}

// Digest joins the parts again. Where [Tarsum.Supported] returns an error,
// [Parse] does not accept the result.
func (t Tarsum) Digest() Digest {
	label := "tarsum"
	if t.Version != "v0" {
		label += "." + t.Version
	}
	return Digest(label + "+" + t.Hash + ":" + t.Hex)
}

// IsTarsum reports whether d, which [Parse] has accepted, is a tarsum.
func IsTarsum(d Digest) bool { return isTarsum(string(d)) }

func isTarsum(s string) bool {
	rest, ok := strings.CutPrefix(s, "tarsum")
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '+')
}

// hexLength is the length of a hash in hexadecimal digits, 0 for one that
// tarsums were never made with.
func hexLength(hash string) int {
	switch hash {
	case "md5":
		return 32
	case "sha1":
		return 40
	case "sha224":
		return 56
	case "sha256":
		return 64
	case "sha384":
		return 96
	case "sha512":
		return 128
	}
	return 0
}

const (
	hexDigits         = "0123456789abcdef"
	lowerAlphanumeric = "0123456789abcdefghijklmnopqrstuvwxyz"
)

func consistsOf(s, charset string) bool { return strings.Trim(s, charset) == "" }
