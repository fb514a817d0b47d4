package digest_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

var hashes = []digest.Algorithm{digest.SHA256, digest.SHA512}

// At every offset of three blocks, the state of one digester lets another end
// with the right digest.
func TestResume(t *testing.T) {
	content := make([]byte, 3*128+1)
	for i := range content {
		content[i] = byte(i)
	}
	for _, alg := range hashes {
		for offset := range len(content) + 1 {
			first, err := digest.NewDigester(alg)
			require.NoError(t, err)
			_, err = first.Write(content[:offset])
			require.NoError(t, err)
			require.EqualValues(t, offset, first.Offset())
			require.Equal(t, alg.FromBytes(content[:offset]), first.Digest())
			state, err := first.MarshalBinary()
			require.NoError(t, err)
			require.LessOrEqual(t, len(state), digest.MaxState)

			second, err := digest.Resume(alg, state, int64(offset))
			require.NoError(t, err)
			require.Equal(t, alg, second.Algorithm())
			require.EqualValues(t, offset, second.Offset())
			_, err = second.Write(content[offset:])
			require.NoError(t, err)
			require.EqualValues(t, len(content), second.Offset())
			require.Equal(t, alg.FromBytes(content), second.Digest())
			require.Equal(t, alg.FromBytes(content[:offset]), first.Digest(), "the first is not affected")

			for _, wrong := range []int64{int64(offset) + 1, int64(offset) - 1, -1, int64(offset) + 128} {
				_, err = digest.Resume(alg, state, wrong)
				require.ErrorIs(t, err, digest.ErrState)
			}
		}
	}
}

// The form of the states that registries store.
func TestStateFormat(t *testing.T) {
	d, err := digest.NewDigester(digest.SHA256)
	require.NoError(t, err)
	_, err = d.Write(bytes.Repeat([]byte("x"), 100))
	require.NoError(t, err)
	state, err := d.MarshalBinary()
	require.NoError(t, err)
	require.Len(t, state, 108)
	require.Equal(t, "sha\x03", string(state[:4]))
	require.Equal(t, bytes.Repeat([]byte("x"), 36), state[36:72], "the block that is not full")
	require.EqualValues(t, 100, binary.BigEndian.Uint64(state[100:]))

	d, err = digest.NewDigester(digest.SHA512)
	require.NoError(t, err)
	state, err = d.MarshalBinary()
	require.NoError(t, err)
	require.Len(t, state, digest.MaxState)
	require.Equal(t, "sha\x07", string(state[:4]))
}

func TestResumeRefuses(t *testing.T) {
	d, err := digest.NewDigester(digest.SHA256)
	require.NoError(t, err)
	_, err = d.Write([]byte("abc"))
	require.NoError(t, err)
	good, err := d.MarshalBinary()
	require.NoError(t, err)
	with := func(at int, b byte) []byte {
		state := bytes.Clone(good)
		state[at] = b
		return state
	}
	for name, c := range map[string]struct {
		state  []byte
		offset int64
	}{
		"none":                 {nil, 0},
		"junk":                 {[]byte("junk"), 3},
		"short":                {good[:107], 3},
		"long":                 {append(bytes.Clone(good), 0), 3},
		"huge":                 {make([]byte, 1<<20), 3},
		"of another hash":      {with(3, 2), 3}, // SHA-224
		"length":               {with(107, 4), 3},
		"negative length":      {with(100, 0xff), -72057594037927933},
		"bytes past the block": {with(36+40, 1), 3},
		"a gob":                {[]byte("\x0e\xff\x81\x04\x01\x02\xff\x82\x00\x01\x0c\x01\x10\x00\x00"), 3},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := digest.Resume(digest.SHA256, c.state, c.offset)
			require.ErrorIs(t, err, digest.ErrState)
			require.Nil(t, got)
		})
	}
	_, err = digest.Resume(digest.SHA512, good, 3)
	require.ErrorIs(t, err, digest.ErrState)
	for _, alg := range []digest.Algorithm{"", "sha384", "md5", digest.TarsumV1} {
		_, err = digest.Resume(alg, good, 3)
		require.ErrorIs(t, err, digest.ErrUnsupported)
		_, err = digest.NewDigester(alg)
		require.ErrorIs(t, err, digest.ErrUnsupported)
	}
}

func FuzzResume(f *testing.F) {
	for _, alg := range hashes {
		for _, n := range []int{0, 1, 63, 64, 65, 127, 128, 1000} {
			d, err := digest.NewDigester(alg)
			require.NoError(f, err)
			fmt.Fprintf(d, "%*d", n, 0)
			state, err := d.MarshalBinary()
			require.NoError(f, err)
			f.Add(alg == digest.SHA256, state, d.Offset())
		}
	}
	f.Add(true, []byte(nil), int64(0))
	f.Fuzz(func(t *testing.T, isSHA256 bool, state []byte, offset int64) {
		alg := digest.SHA512
		if isSHA256 {
			alg = digest.SHA256
		}
		d, err := digest.Resume(alg, state, offset)
		if err != nil {
			require.ErrorIs(t, err, digest.ErrState)
			return
		}
		require.GreaterOrEqual(t, offset, int64(0))
		require.Equal(t, offset, d.Offset())
		again, err := d.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, state, again)
		_, err = d.Write(bytes.Repeat([]byte("x"), 300))
		require.NoError(t, err)
		_, err = digest.Parse(string(d.Digest()))
		require.NoError(t, err)
	})
}
