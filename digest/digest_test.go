package digest_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

const (
	hexOfNothing    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	hex512OfNothing = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
		"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"sha256":              {"sha256:" + hexOfNothing, nil},
		"sha512":              {"sha512:" + hex512OfNothing, nil},
		"sha384":              {"sha384:" + strings.Repeat("a", 96), digest.ErrUnsupported},
		"md5":                 {"md5:d41d8cd98f00b204e9800998ecf8427e", digest.ErrUnsupported},
		"tarsum":              {"tarsum.v1+sha256:" + hexOfNothing, nil},
		"tarsum version 0":    {"tarsum+sha256:" + hexOfNothing, nil},
		"tarsum of v2":        {"tarsum.v2+sha256:" + hexOfNothing, digest.ErrTarsumVersion},
		"short tarsum":        {"tarsum.v1+sha256:" + hexOfNothing[32:], digest.ErrInvalid},
		"empty":               {"", digest.ErrInvalid},
		"no colon":            {hexOfNothing, digest.ErrInvalid},
		"no algorithm":        {":" + hexOfNothing, digest.ErrInvalid},
		"no hex":              {"sha256:", digest.ErrInvalid},
		"colon alone":         {":", digest.ErrInvalid},
		"upper-case hex":      {"sha256:" + strings.ToUpper(hexOfNothing), digest.ErrInvalid},
		"upper-case name":     {"SHA256:" + hexOfNothing, digest.ErrInvalid},
		"short":               {"sha256:" + hexOfNothing[1:], digest.ErrInvalid},
		"long":                {"sha256:" + hexOfNothing + "0", digest.ErrInvalid},
		"sha512 with 64":      {"sha512:" + hexOfNothing, digest.ErrInvalid},
		"not hex":             {"sha256:" + strings.Repeat("g", 64), digest.ErrInvalid},
		"newline":             {"sha256:" + hexOfNothing + "\n", digest.ErrInvalid},
		"newline for a digit": {"sha256:" + hexOfNothing[1:] + "\n", digest.ErrInvalid},
		"space":               {" sha256:" + hexOfNothing, digest.ErrInvalid},
		"path":                {"sha256:../../../etc/passwd", digest.ErrInvalid},
		"two colons":          {"sha256:sha256:" + hexOfNothing, digest.ErrInvalid},
		"not UTF-8":           {"sha256:\xff\xfe", digest.ErrInvalid},
		"too long":            {"sha256:" + strings.Repeat("a", 1<<20), digest.ErrInvalid},
		"too long, unknown":   {"md5:" + strings.Repeat("a", 1<<20), digest.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := digest.Parse(c.in)
			require.ErrorIs(t, err, c.want)
			if c.want == nil {
				require.Equal(t, c.in, string(d))
				return
			}
			require.Empty(t, d, "a digest that was refused is not returned")
			require.Less(t, len(err.Error()), 4*digest.MaxLength, "the message does not grow with the input")
		})
	}
}

func TestErrorsMatchTheirKind(t *testing.T) {
	require.ErrorIs(t, digest.ErrInvalid, fs.ErrInvalid)
	require.ErrorIs(t, digest.ErrUnsupported, errors.ErrUnsupported)
	require.NotErrorIs(t, digest.ErrUnsupported, digest.ErrInvalid)
}

func TestFromHex(t *testing.T) {
	d, err := digest.FromHex("sha256", hexOfNothing)
	require.NoError(t, err)
	require.Equal(t, digest.Digest("sha256:"+hexOfNothing), d)

	for _, c := range [][2]string{
		{"", hexOfNothing},
		{"sha256", ""},
		{"sha256", "_" + hexOfNothing[1:]},
		{"sha256:" + hexOfNothing, hexOfNothing},
		{"sha256", "../" + hexOfNothing},
	} {
		_, err := digest.FromHex(c[0], c[1])
		require.ErrorIs(t, err, digest.ErrInvalid, "%q", c)
	}
	_, err = digest.FromHex("sha1", hexOfNothing[:40])
	require.ErrorIs(t, err, digest.ErrUnsupported)
}

func TestFromBytes(t *testing.T) {
	require.Equal(t, digest.Digest("sha256:"+hexOfNothing), digest.FromBytes(nil))
	require.True(t, digest.IsCanonical(digest.FromBytes([]byte("x"))))
	require.False(t, digest.IsCanonical(digest.SHA512.FromString("x")))
	require.False(t, digest.IsCanonical("tarsum+sha256:"+hexOfNothing))
}

// Both hashes must be linked in, or go-digest knows no digest at all.
func TestAlgorithmsAreAvailable(t *testing.T) {
	require.True(t, digest.SHA256.Available())
	require.True(t, digest.SHA512.Available())
	require.Equal(t, hex512OfNothing, digest.SHA512.FromBytes(nil).Encoded())
}

func TestIsAlgorithm(t *testing.T) {
	for _, s := range []string{"sha256", "sha512", "tarsum.v1+sha256", "tarsum+sha256"} {
		require.True(t, digest.IsAlgorithm(s), s)
	}
	for _, s := range []string{"", "sha384", "SHA256", "md5", "sha256:", "sha256 ", "tarsum", "tarsum.v0+sha256", "tarsum.v1+sha512", "tarsum.dev+sha256"} {
		require.False(t, digest.IsAlgorithm(s), s)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", ":", "sha256:" + hexOfNothing, "sha512:" + hex512OfNothing, "SHA256:AB",
		"sha384:" + strings.Repeat("0", 96), "md5:00", "tarsum.v1+sha256:00", "sha256:" + hexOfNothing + "\n", "a\xff:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := digest.Parse(s)
		if err != nil {
			require.Empty(t, d)
			invalid, unsupported := errors.Is(err, digest.ErrInvalid), errors.Is(err, digest.ErrUnsupported)
			require.True(t, invalid != unsupported, "one reason, and only one: %v", err)
			return
		}
		require.Equal(t, s, string(d))
		require.LessOrEqual(t, len(s), digest.MaxLength)
		require.True(t, digest.IsAlgorithm(d.Algorithm().String()))
		if !digest.IsTarsum(d) {
			require.Len(t, d.Encoded(), 2*d.Algorithm().Size())
		}
		require.Empty(t, strings.Trim(d.Encoded(), "0123456789abcdef"), "fit for a file name")

		again, err := digest.FromHex(d.Algorithm().String(), d.Encoded())
		require.NoError(t, err)
		require.Equal(t, d, again)
	})
}
