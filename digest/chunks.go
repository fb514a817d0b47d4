package digest

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"

	godigest "github.com/opencontainers/go-digest"
)

// minChunk is the size in bytes of the smallest chunks, and maxChunks the
// number of them from which on they are larger.
const (
	minChunk  = 128 << 10
	maxChunks = 1 << 17
)

// A state of SHA-256 as Go's crypto/sha256 marshals it (see
// [Digester.MarshalBinary]) begins so and has that many bytes.
const (
	stateMagic  = "sha\x03"
	sha256State = len(stateMagic) + sha256.Size + sha256.BlockSize + 8
)

// Chunks lets parts of content be checked without the rest: it holds the state
// of SHA-256 at the beginning of every chunk. Hashing a chunk from one state
// must end in the next, or, the last, in the digest. So a chunk that checks is
// what the digest stands for, as surely as the digest is what the whole hashes
// to. It may be used concurrently.
type Chunks struct {
	digest Digest
	size   int64 // of the content
	chunk  int64 // of a chunk
	states []byte
}

// Chunk is the size in bytes of all chunks but the last, which may be smaller.
func (c *Chunks) Chunk() int64 { return c.chunk }

// Size is the number of bytes of the content.
func (c *Chunks) Size() int64 { return c.size }

// Memory is about how many bytes c takes.
func (c *Chunks) Memory() int64 { return int64(cap(c.states)) + 128 }

// Check reports whether p is the chunk at off, which is a multiple of the size
// of chunks.
func (c *Chunks) Check(p []byte, off int64) bool {
	if off < 0 || off >= c.size || off%c.chunk != 0 || int64(len(p)) != min(c.chunk, c.size-off) {
		return false
	}
	i := off / c.chunk
	h := sha256.New()
	if i > 0 {
		state := make([]byte, 0, sha256State)
		state = append(state, stateMagic...)
		state = append(state, c.state(i)...)
		state = append(state, make([]byte, sha256.BlockSize)...)
		state = binary.BigEndian.AppendUint64(state, uint64(off))
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
			return false
		}
	}
	h.Write(p)
	if off+int64(len(p)) == c.size {
		return godigest.NewDigest(SHA256, h) == c.digest
	}
	return bytes.Equal(stateOf(h), c.state(i+1))
}

// state is that at the beginning of chunk i, which is not the first.
func (c *Chunks) state(i int64) []byte {
	return c.states[(i-1)*sha256.Size : i*sha256.Size]
}

// stateOf is the chaining values of a SHA-256 at the end of a block.
func stateOf(h hash.Hash) []byte {
	state, _ := h.(encoding.BinaryAppender).AppendBinary(make([]byte, 0, sha256State)) // never fails
	return state[len(stateMagic) : len(stateMagic)+sha256.Size]
}

// Chunker hashes content with SHA-256 and keeps what [Chunks] needs. It is not
// safe for concurrent use.
type Chunker struct {
	hash   hash.Hash
	chunks Chunks
	offset int64
}

// NewChunker begins content of size bytes.
func NewChunker(size int64) *Chunker {
	chunk := int64(minChunk)
	for size/chunk > maxChunks {
		chunk *= 2
	}
	return &Chunker{hash: sha256.New(), chunks: Chunks{
		size:   size,
		chunk:  chunk,
		states: make([]byte, 0, max(0, (size-1)/chunk)*sha256.Size),
	}}
}

// Write hashes p. It never fails.
func (c *Chunker) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		left := c.chunks.chunk - c.offset%c.chunks.chunk
		n := min(left, int64(len(rest)))
		c.hash.Write(rest[:n])
		rest = rest[n:]
		c.offset += n
		if n == left && c.offset < c.chunks.size {
			c.chunks.states = append(c.chunks.states, stateOf(c.hash)...)
		}
	}
	return len(p), nil
}

// Finish returns the digest of what was written, and its chunks, or nil where
// that was not as long as had been said.
func (c *Chunker) Finish() (Digest, *Chunks) {
	d := godigest.NewDigest(SHA256, c.hash)
	if c.offset != c.chunks.size {
		return d, nil
	}
	c.chunks.digest = d
	return d, &c.chunks
}
