package digest

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	godigest "github.com/opencontainers/go-digest"
)

// ErrState says that bytes are no state of a digester at the offset given.
var ErrState = errors.New("digest: invalid state of a digester")

// MaxState is the length in bytes of the longest state of a [Digester]:
// SHA-512's. SHA-256's has 108.
const MaxState = 204

// Digester hashes content as it is written, and can be taken up where another
// one stopped, in another process too. It is not safe for concurrent use.
type Digester struct {
	alg    Algorithm
	hash   hash.Hash
	offset int64
}

var (
	_ io.Writer                = (*Digester)(nil)
	_ encoding.BinaryMarshaler = (*Digester)(nil)
)

// NewDigester begins at offset 0. The algorithm is [SHA256] or [SHA512], else
// [ErrUnsupported].
func NewDigester(alg Algorithm) (*Digester, error) {
	if alg != SHA256 && alg != SHA512 {
		return nil, fmt.Errorf("%w: %.40q", ErrUnsupported, alg)
	}
	return &Digester{alg: alg, hash: alg.Hash()}, nil
}

// Resume continues at offset bytes, where MarshalBinary returned state. The
// state is not authenticated: who trusts it must know who wrote it. Errors:
// [ErrState], [ErrUnsupported].
func Resume(alg Algorithm, state []byte, offset int64) (*Digester, error) {
	d, err := NewDigester(alg)
	if err != nil {
		return nil, err
	}
	if len(state) == 0 || len(state) > MaxState {
		return nil, fmt.Errorf("%w: %d bytes", ErrState, len(state))
	}
	if err := d.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	// The state ends with the number of bytes that were hashed.
	if said := binary.BigEndian.Uint64(state[len(state)-8:]); offset < 0 || said != uint64(offset) {
		return nil, fmt.Errorf("%w: it is that at %d bytes, not %d", ErrState, said, offset)
	}
	d.offset = offset
	if again, err := d.MarshalBinary(); err != nil || !bytes.Equal(again, state) {
		return nil, fmt.Errorf("%w: it has bytes that do not belong to it", ErrState)
	}
	return d, nil
}

// Write hashes p. It never fails.
func (d *Digester) Write(p []byte) (int, error) {
	n, err := d.hash.Write(p)
	d.offset += int64(n)
	return n, err
}

// Digest is that of what was written so far.
func (d *Digester) Digest() Digest { return godigest.NewDigest(d.alg, d.hash) }

// Algorithm is the hash of the digests.
func (d *Digester) Algorithm() Algorithm { return d.alg }

// Offset is the number of bytes hashed so far, before and after [Resume].
func (d *Digester) Offset() int64 { return d.offset }

// MarshalBinary returns the state for [Resume], as Go's crypto/sha256 and
// crypto/sha512 marshal theirs: four bytes that name the hash ("sha\x03" for
// SHA-256, "sha\x07" for SHA-512), the chaining values, the block that is not
// full yet and the number of bytes hashed, in big endian.
func (d *Digester) MarshalBinary() ([]byte, error) {
	return d.hash.(encoding.BinaryMarshaler).MarshalBinary()
}
