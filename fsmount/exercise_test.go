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
	s := rand.Uint64() >> 1 // fio takes no more
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

// fio writes blocks in random order that each carry their own checksum, and
// verifies them through the mount, before and after they are published.
func TestFio(t *testing.T) {
	size, kinds := "64m", []string{"crc32c", "sha256"}
	if testing.Short() {
		size, kinds = "4m", kinds[:1]
	}
	// fio runs one job over a file of the repository.
	const fio = `fio --name=job --filename="$R/$1" --bs=4k --fallocate=none --verify_fatal=1 `
	const orShow = ` > "$W/fio" 2>&1 || { cat "$W/fio" >&2; exit 1; }`
	for _, verify := range kinds {
		t.Run(verify, func(t *testing.T) {
			write := fio + `--rw=randwrite --fsync=50 --verify="$2" --randseed="$3" `
			read := func(t *testing.T, r *repo, hex string) {
				t.Helper()
				r.ok(t, fio+`--rw=read --readonly --size="$3" --verify="$2"`+orShow, "_blobs/sha256/"+hex, verify, size)
				r.requireBlob(t, file{hex: hex})
			}
			sum := func(t *testing.T, r *repo, path string) string {
				t.Helper()
				return r.ok(t, `sha256sum < "$R/$1" | cut -c-64`, path)
			}
			onEach(t, serveOptions{}, []mountCase{
				{"scratch that two processes write at once", func(t *testing.T, r *repo) {
					r.ok(t, write+`--do_verify=1 --numjobs=2 --size="$4" --offset_increment="$4"`+orShow,
						"_blobs/.scratch", verify, fmt.Sprint(seed(t)), size)
					hex := sum(t, r, "_blobs/.scratch")
					r.ok(t, `mv "$R/_blobs/.scratch" "$R/_blobs/sha256/$1"`, hex)
					read(t, r, hex)
				}},
				{"an upload", func(t *testing.T, r *repo) {
					path := "_uploads/" + r.emptyUpload(t)
					r.ok(t, `truncate -s "$2" "$R/$1"`, path, size) // or fio would remove it and begin anew
					r.ok(t, write+`--do_verify=1 --size="$4"`+orShow, path, verify, fmt.Sprint(seed(t)), size)
					hex := sum(t, r, path)
					r.ok(t, `mv "$R/$1" "$R/_blobs/sha256/$2"`, path, hex)
					read(t, r, hex)
				}},
				{"a name", func(t *testing.T, r *repo) {
					r.ok(t, write+`--do_verify=0 --size="$4"`+orShow, "_blobs/layer", verify, fmt.Sprint(seed(t)), size)
					read(t, r, sum(t, r, "_blobs/layer"))
				}},
			})
		})
	}
}
