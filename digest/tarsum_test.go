package digest_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

func TestParseTarsum(t *testing.T) {
	for in, want := range map[string]struct {
		tarsum digest.Tarsum
		err    error
	}{
		"tarsum+sha256:" + hexOfNothing:    {digest.Tarsum{Version: "v0", Hash: "sha256", Hex: hexOfNothing}, nil},
		"tarsum.v1+sha256:" + hexOfNothing: {digest.Tarsum{Version: "v1", Hash: "sha256", Hex: hexOfNothing}, nil},

		"tarsum.dev+sha256:" + hexOfNothing:             {digest.Tarsum{Version: "dev", Hash: "sha256", Hex: hexOfNothing}, digest.ErrTarsumVersion},
		"tarsum.v2+sha256:" + hexOfNothing:              {digest.Tarsum{Version: "v2", Hash: "sha256", Hex: hexOfNothing}, digest.ErrTarsumVersion},
		"tarsum.1+md5:d41d8cd98f00b204e9800998ecf8427e": {digest.Tarsum{Version: "1", Hash: "md5", Hex: "d41d8cd98f00b204e9800998ecf8427e"}, digest.ErrTarsumVersion},
		"tarsum.v1+sha512:" + hex512OfNothing:           {digest.Tarsum{Version: "v1", Hash: "sha512", Hex: hex512OfNothing}, digest.ErrUnsupported},
		"tarsum+sha1:" + hexOfNothing[:40]:              {digest.Tarsum{Version: "v0", Hash: "sha1", Hex: hexOfNothing[:40]}, digest.ErrUnsupported},
	} {
		t.Run(in, func(t *testing.T) {
			got, err := digest.ParseTarsum(in)
			require.NoError(t, err)
			require.Equal(t, want.tarsum, got)
			require.Equal(t, in, string(got.Digest()))
			require.LessOrEqual(t, len(in), digest.MaxTarsumLength)
			require.ErrorIs(t, got.Supported(), want.err)
			require.Equal(t, errors.Is(want.err, digest.ErrTarsumVersion), errors.Is(got.Supported(), digest.ErrTarsumVersion))

			d, err := digest.Parse(in)
			require.ErrorIs(t, err, want.err)
			require.Equal(t, want.err == nil, digest.IsTarsum(d))
			require.Equal(t, want.err == nil, digest.IsAlgorithm(got.Digest().Algorithm().String()))
			require.NotErrorIs(t, err, digest.ErrInvalid)
		})
	}
}

func TestTarsumVersionError(t *testing.T) {
	_, err := digest.Parse("tarsum.v7+sha256:" + hexOfNothing)
	var version *digest.TarsumVersionError
	require.ErrorAs(t, err, &version)
	require.Equal(t, "v7", version.Version)
	require.ErrorIs(t, err, digest.ErrUnsupported)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NotErrorIs(t, err, fs.ErrInvalid)
}

func TestNotATarsum(t *testing.T) {
	for _, in := range []string{
		"tarsum.v0+sha256:" + hexOfNothing, // a second spelling of version 0
		"tarsum.+sha256:" + hexOfNothing,
		"tarsum.V1+sha256:" + hexOfNothing,
		"tarsum.v1.2+sha256:" + hexOfNothing,
		"tarsum./+sha256:" + hexOfNothing,
		"tarsum." + strings.Repeat("v", 17) + "+sha256:" + hexOfNothing,
		"tarsum.v1:" + hexOfNothing,
		"tarsum.v1+:" + hexOfNothing,
		"tarsum.v1+sha256",
		"tarsum.v1+sha256:",
		"tarsum.v1+sha256:" + hexOfNothing[1:],
		"tarsum.v1+sha256:" + hexOfNothing + "0",
		"tarsum.v1+sha256:" + strings.ToUpper(hexOfNothing),
		"tarsum.v1+sha256:" + hexOfNothing + "\n",
		"tarsum.v1+sha256:../" + hexOfNothing[3:],
		"tarsum.v1+crc32:00000000",
		"tarsum.v1+sha256:" + strings.Repeat("a", 1<<20),
		"tarsum+",
		"tarsum.",
	} {
		_, err := digest.ParseTarsum(in)
		require.ErrorIs(t, err, digest.ErrInvalid, in)
		_, err = digest.Parse(in)
		require.ErrorIs(t, err, digest.ErrInvalid, in)
		require.Less(t, len(err.Error()), 4*digest.MaxTarsumLength)
	}
	for _, in := range []string{"", "tarsum", "sha256:" + hexOfNothing, "xtarsum+sha256:" + hexOfNothing} {
		_, err := digest.ParseTarsum(in)
		require.ErrorIs(t, err, digest.ErrInvalid, in)
		require.False(t, digest.IsTarsum(digest.Digest(in)))
	}
}

func FuzzParseTarsum(f *testing.F) {
	for _, s := range []string{"", "tarsum", "tarsum+:", "tarsum.v1+sha256:" + hexOfNothing,
		"tarsum+sha256:" + hexOfNothing, "tarsum.dev+sha512:" + hex512OfNothing, "tarsum.v0+sha256:" + hexOfNothing} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := digest.ParseTarsum(s)
		if err != nil {
			require.ErrorIs(t, err, digest.ErrInvalid)
			require.Zero(t, got)
			return
		}
		require.Equal(t, s, string(got.Digest()))
		again, err := digest.NewTarsum(got.Version, got.Hash, got.Hex)
		require.NoError(t, err)
		require.Equal(t, got, again)
		_, err = digest.Parse(s)
		require.Equal(t, got.Supported(), err)
		require.NotContains(t, got.Version+got.Hash+got.Hex, "/", "fit for a path")
	})
}
