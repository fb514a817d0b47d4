package digest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

func random(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// chunksOf hashes content in pieces.
func chunksOf(t *testing.T, content []byte, piece int) *digest.Chunks {
	t.Helper()
	c := digest.NewChunker(int64(len(content)))
	for rest := content; len(rest) > 0; {
		n := min(piece, len(rest))
		_, err := c.Write(rest[:n])
		require.NoError(t, err)
		rest = rest[n:]
	}
	d, chunks := c.Finish()
	require.Equal(t, digest.FromBytes(content), d)
	require.NotNil(t, chunks)
	require.EqualValues(t, len(content), chunks.Size())
	return chunks
}

func TestChunks(t *testing.T) {
	const chunk = 128 << 10
	for _, size := range []int{1, 63, 64, 100, chunk - 1, chunk, chunk + 1, 3*chunk - 64, 3 * chunk, 3*chunk + 5} {
		content := random(size)
		for _, piece := range []int{1000, chunk, 1 << 20} {
			t.Run(fmt.Sprint(size, " in ", piece), func(t *testing.T) {
				c := chunksOf(t, content, piece)
				require.EqualValues(t, chunk, c.Chunk())
				for off := 0; off < size; off += chunk {
					part := bytes.Clone(content[off:min(off+chunk, size)])
					require.True(t, c.Check(part, int64(off)), "at %d", off)
					for _, i := range []int{0, len(part) / 2, len(part) - 1} {
						part[i] ^= 1
						require.False(t, c.Check(part, int64(off)), "flipped at %d", off+i)
						part[i] ^= 1
					}
					require.False(t, c.Check(part[:len(part)-1], int64(off)))
					require.False(t, c.Check(append(part, 0), int64(off)))
					if off > 0 {
						require.False(t, c.Check(part, int64(off-chunk)), "elsewhere")
					}
				}
				for _, off := range []int64{-chunk, 1, int64(size), int64(size) + chunk} {
					require.False(t, c.Check(content[:1], off))
				}
			})
		}
	}
}

func TestChunksOfOtherLength(t *testing.T) {
	for _, said := range []int64{0, 99, 101} {
		c := digest.NewChunker(said)
		_, err := c.Write(random(100))
		require.NoError(t, err)
		d, chunks := c.Finish()
		require.Equal(t, digest.FromBytes(random(100)), d)
		require.Nil(t, chunks)
	}
}

func TestChunksGrowWithContent(t *testing.T) {
	const chunk = 128 << 10
	for size, want := range map[int64]int64{0: chunk, 10 << 30: chunk, 16 << 30: chunk, 17 << 30: 2 * chunk, 1 << 40: 64 * chunk} {
		_, chunks := digest.NewChunker(size).Finish()
		if size == 0 {
			require.EqualValues(t, want, chunks.Chunk())
			require.False(t, chunks.Check(nil, 0), "there is none")
		} else {
			require.Nil(t, chunks)
		}
	}
}

func BenchmarkChunker(b *testing.B) {
	content := random(1 << 20)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		c := digest.NewChunker(int64(len(content)))
		_, _ = c.Write(content)
		c.Finish()
	}
}

func BenchmarkDigest(b *testing.B) {
	content := random(1 << 20)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		digest.FromBytes(content)
	}
}

func BenchmarkCheckChunk(b *testing.B) {
	content := random(1 << 20)
	c := digest.NewChunker(int64(len(content)))
	_, _ = c.Write(content)
	_, chunks := c.Finish()
	b.SetBytes(chunks.Chunk())
	for b.Loop() {
		if !chunks.Check(content[chunks.Chunk():2*chunks.Chunk()], chunks.Chunk()) {
			b.Fatal("it does not check")
		}
	}
}
