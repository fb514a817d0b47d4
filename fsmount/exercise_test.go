package fsmount_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// seedEnv repeats a random test: the seed that it logged.
const seedEnv = "FSMOUNT_TEST_SEED"

// seed is that of a random test.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		s, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("%s=%d", seedEnv, s)
	return s
}

// emptyUpload begins an upload and leaves it, with nothing in it.
func (r *repo) emptyUpload(t *testing.T) (id string) {
	t.Helper()
	cp, _, id := r.blockedCopy(t, "_blobs/name", []byte("x"))
	cp.killAll()
	require.False(t, cp.finish(t).Success())
	r.until(t, `: > "$R/_uploads/$1"; test "$(stat -c %s "$R/_uploads/$1")" = 0`, id)
	return id
}

func TestRandomAccess(t *testing.T) {
	calls := 20_000
	if testing.Short() {
		calls = 400
	}
	// exercise leaves a file of the digest that it returns.
	exercise := func(t *testing.T, r *repo, path, kind string) (hex string) {
		t.Helper()
		return r.ok(t, `FSMOUNT_TEST_ROLE=fsx "$SELF" "$R/$1" "$2" "$3" "$4"`, path, kind, fmt.Sprint(seed(t)), strconv.Itoa(calls))
	}
	// holds checks that the repository has the blob and nothing else.
	holds := func(t *testing.T, r *repo, hex string) {
		t.Helper()
		require.Equal(t, hex, r.ok(t, `sha256sum < "$R/_blobs/sha256/$1" | cut -c-64`, hex))
		require.Equal(t, hex, r.ok(t, `ls "$R/_blobs/sha256"`))
		r.until(t, `test -z "$(ls "$R/_uploads")"`)
		require.NotContains(t, r.ok(t, `cat "$M/.registryfs/errors"`), "/"+r.name+"/")
	}
	onEach(t, serveOptions{}, []mountCase{
		{"a name is published with its last bytes, and what it was before is taken back", func(t *testing.T, r *repo) {
			hex := exercise(t, r, "_blobs/layer", "name")
			require.Equal(t, "sha256/"+hex, r.until(t, `readlink "$R/_blobs/layer"`))
			holds(t, r, hex)
		}},
		{"scratch holds what was written, and its rename publishes that", func(t *testing.T, r *repo) {
			hex := exercise(t, r, "_blobs/.scratch", "scratch")
			r.ok(t, `test "$(sha256sum < "$R/_blobs/.scratch" | cut -c-64)" = "$1"; mv "$R/_blobs/.scratch" "$R/_blobs/sha256/$1"`, hex)
			holds(t, r, hex)
		}},
		{"an upload holds what was written, and its rename finishes it", func(t *testing.T, r *repo) {
			id := r.emptyUpload(t)
			hex := exercise(t, r, "_uploads/"+id, "upload")
			r.ok(t, `test "$(sha256sum < "$R/_uploads/$1" | cut -c-64)" = "$2"; mv "$R/_uploads/$1" "$R/_blobs/sha256/$2"`, id, hex)
			require.Equal(t, hex, r.ok(t, `sha256sum < "$R/_blobs/sha256/$1" | cut -c-64`, hex))
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}},
	})
}
