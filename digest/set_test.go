package digest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

func padded(alg digest.Algorithm, hex string) digest.Digest {
	length := 64
	if alg == digest.SHA512 {
		length = 128
	}
	return digest.Digest(alg.String() + ":" + hex + strings.Repeat("0", length-len(hex)))
}

func TestSetLookup(t *testing.T) {
	a1, a2 := padded(digest.SHA256, "ab1"), padded(digest.SHA256, "ab2")
	long := padded(digest.SHA512, "ab15")
	between := padded(digest.SHA512, "ab0")
	sum := padded(digest.TarsumV1, "ab3")
	same := padded(digest.TarsumV0, "ab2") // has the hex of a2
	var s digest.Set
	require.NoError(t, s.Add(sum, a2, long, a1, between, same, a1))
	require.Equal(t, []digest.Digest{between, a1, long, a2, same, sum}, s.All())

	for short, want := range map[string]any{
		a1.String():                   a1,
		a1.Encoded():                  a1,
		long.Encoded():                long,
		"ab10":                        a1,
		"ab15":                        long,
		"ab0":                         between,
		"ab1":                         digest.ErrAmbiguous,
		"sha256:ab1":                  a1,
		"sha512:ab1":                  long,
		"sha256:ab":                   digest.ErrAmbiguous,
		"sha512:ab":                   digest.ErrAmbiguous,
		"tarsum.v1+sha256:ab":         sum,
		"tarsum+sha256:a":             same,
		"sha256:ab2":                  a2,
		"ab2":                         digest.ErrAmbiguous,
		a2.Encoded():                  digest.ErrAmbiguous,
		"ab3":                         sum,
		"sha256:ab3":                  digest.ErrUnknown,
		"sha256:ab0":                  digest.ErrUnknown,
		"ab4":                         digest.ErrUnknown,
		"aa":                          digest.ErrUnknown,
		"b":                           digest.ErrUnknown,
		"":                            digest.ErrUnknown,
		"sha256:":                     digest.ErrUnknown,
		":ab0":                        digest.ErrUnknown,
		"AB0":                         digest.ErrUnknown,
		"x":                           digest.ErrUnknown,
		"md5:ab":                      digest.ErrUnknown,
		a1.Encoded() + "0":            digest.ErrUnknown,
		"sha256:sha256:ab":            digest.ErrUnknown,
		strings.Repeat("a", 1<<20):    digest.ErrUnknown,
		"sha256:" + hexOfNothing[:10]: digest.ErrUnknown,
	} {
		got, err := s.Lookup(short)
		if wanted, ok := want.(error); ok {
			require.ErrorIs(t, err, wanted, "%.80s", short)
			require.Empty(t, got)
			require.Less(t, len(err.Error()), 200)
			continue
		}
		require.NoError(t, err, short)
		require.Equal(t, want, got, short)
	}

	s.Remove(a1)
	s.Remove(a1)
	s.Remove("junk")
	got, err := s.Lookup("ab1")
	require.NoError(t, err)
	require.Equal(t, long, got)
}

func TestSetErrors(t *testing.T) {
	var s digest.Set
	_, err := s.Lookup("a")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, s.All())
	require.ErrorIs(t, s.Add(padded(digest.SHA256, "a"), "sha256:a"), digest.ErrInvalid)
	require.Empty(t, s.All(), "all or none")
	require.ErrorIs(t, s.Add("md5:d41d8cd98f00b204e9800998ecf8427e"), digest.ErrUnsupported)
	require.NoError(t, s.Add())
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	var (
		s  digest.Set
		wg sync.WaitGroup
	)
	for worker := range 4 {
		wg.Go(func() {
			for i := range 200 {
				d := digest.FromBytes(fmt.Append(nil, worker, i))
				if err := s.Add(d); err != nil {
					t.Error(err)
				}
				if got, err := s.Lookup(d.String()); err != nil || got != d {
					t.Error(got, err)
				}
				if i%2 == 1 {
					s.Remove(d)
				}
			}
		})
	}
	wg.Wait()
	all := s.All()
	require.Len(t, all, 400)
	require.True(t, slices.IsSortedFunc(all, func(a, b digest.Digest) int { return strings.Compare(a.Encoded(), b.Encoded()) }))
}

// A set answers as a search through all of it does.
func FuzzSetLookup(f *testing.F) {
	f.Add(uint8(10), "a")
	f.Add(uint8(200), "sha256:7")
	f.Add(uint8(200), "sha512:7f")
	f.Fuzz(func(t *testing.T, n uint8, short string) {
		var (
			s   digest.Set
			all []digest.Digest
		)
		for i := range n {
			alg := hashes[i%2]
			all = append(all, alg.FromBytes([]byte{i}))
		}
		require.NoError(t, s.Add(all...))
		var matches []digest.Digest
		for _, d := range all {
			if strings.HasPrefix(d.Encoded(), short) || strings.HasPrefix(d.String(), short) && strings.Index(short, ":") == 6 {
				matches = append(matches, d)
			}
		}
		got, err := s.Lookup(short)
		switch {
		case err == nil:
			require.Equal(t, []digest.Digest{got}, matches)
		case errors.Is(err, digest.ErrAmbiguous):
			require.Greater(t, len(matches), 1)
		default:
			require.ErrorIs(t, err, digest.ErrUnknown)
			require.True(t, len(matches) == 0 || short == "" || strings.HasSuffix(short, ":"))
		}
	})
}
