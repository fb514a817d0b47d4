package digest_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

func TestOf(t *testing.T) {
	content := strings.Repeat("content", 100_000)
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		got, err := digest.Of(alg, strings.NewReader(content))
		require.NoError(t, err)
		require.Equal(t, alg.FromString(content), got)
		require.True(t, digest.Matches(got, []byte(content)))
		require.False(t, digest.Matches(got, []byte(content)[1:]))
	}
	require.True(t, digest.Matches("sha256:"+hexOfNothing, nil))
	require.True(t, digest.Matches("tarsum.v1+sha256:"+hexOfNothing, nil))
	require.False(t, digest.Matches("sha512:"+hex512OfNothing, []byte("x")))
}

func TestOfErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		_, err := digest.Of(alg, iotest.ErrReader(broken))
		require.ErrorIs(t, err, broken)
	}
	for _, alg := range []digest.Algorithm{"", "md5", "sha384", "tarsum", "tarsum.dev+sha256", "tarsum.v1+sha512"} {
		_, err := digest.Of(alg, bytes.NewReader(nil))
		require.ErrorIs(t, err, digest.ErrUnsupported)
	}
}
