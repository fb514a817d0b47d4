package fsmount_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// onColdBlob pushes a blob, mounts anew with o, so that nothing is known of it,
// and calls fn.
func onColdBlob(t *testing.T, o serveOptions, size int, fn func(t *testing.T, r *repo, f file)) {
	t.Helper()
	t.Parallel()
	m := newMount(t, serveOptions{Store: t.TempDir()})
	r := m.repo(t)
	f := r.random(t, "f", size)
	r.pushBlobs(t, f)
	m.stop(t)
	r.mount = m.again(t, o)
	fn(t, r, f)
}

// While an open verifies content it goes into the page cache, up to a bound;
// beyond it reads come here, in any order.
func TestPageCache(t *testing.T) {
	const size, bound = 6<<20 + 123, 2 << 20
	for name, c := range map[string]struct {
		limit         int64
		atLeast, most int // bytes that the server reads
	}{
		"whole":   {0, size, size + size/2},
		"bounded": {bound, 2*size - bound, 2*size + size/2},
		"none":    {-1, 2 * size, 2*size + size/2},
	} {
		t.Run(name, func(t *testing.T) {
			onColdBlob(t, serveOptions{PageCache: c.limit}, size, func(t *testing.T, r *repo, f file) {
				before := r.mount.readByServer(t)
				r.ok(t, `cmp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
				read := r.mount.readByServer(t) - before
				require.GreaterOrEqual(t, read, c.atLeast)
				require.Less(t, read, c.most)
				r.ok(t, `cmp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
				require.Less(t, r.mount.readByServer(t)-before, c.most, "and nothing again")
				for _, at := range []int{0, 1, 4095, 4096, bound - 1, bound, bound + 1, size - 4097, size - 1, size, size + 1} {
					part := fmt.Sprintf(`tail -c +%d "$1" | head -c 5000 | cmp - "$W/part"`, at+1)
					r.ok(t, fmt.Sprintf(`dd if="$R/_blobs/sha256/$2" bs=5000 count=1 skip=%d iflag=skip_bytes status=none > "$W/part"; `, at)+part, f.path, f.hex)
				}
			})
		})
	}
}

// Nobody sees a byte of corrupt content, although it is in the page cache while
// it is found out, nor after it has been healed.
func TestPageCacheOfCorruptContent(t *testing.T) {
	const size = 5<<20 + 17
	onColdBlob(t, serveOptions{}, size, func(t *testing.T, r *repo, f file) {
		r.ok(t, `cp "$STORE/$1" "$W/good"; printf X | dd of="$STORE/$1" bs=1 seek=$(($2 - 1)) conv=notrunc status=none`, f.stored(), fmt.Sprint(size))
		r.ok(t, `for i in 1 2 3 4; do
				for n in 1 2 3 4 5; do ! cat "$R/_blobs/sha256/$1" 2> "$W/err.$i" && grep -q 'Input/output' "$W/err.$i" || echo "$i read it"; done > "$W/out.$i" &
			done; wait
			cat "$W"/out.* > "$W/out"; test ! -s "$W/out"`, f.hex)
		// A reader who comes upon it as it is healed has it whole or not at
		// all; between the bad content and the good there is none for a moment.
		r.ok(t, `(until cat "$R/_blobs/sha256/$1" > "$W/healed" 2> "$W/why"; do
				grep -Eq 'Input/output|No such file|Stale' "$W/why"; test ! -s "$W/healed"
			done) & reader=$!
			cp "$W/good" "$R/_blobs/sha256/$1"; wait $reader; cmp "$W/good" "$W/healed"`, f.hex)
		r.requireBlob(t, f)
	})
}

// Content that is changed and put right behind the mount, over and over, is
// read as it should be or not at all.
func TestPageCacheOfChangingContent(t *testing.T) {
	const size = 3<<20 + 5
	for _, limit := range []int64{0, 1 << 20, -1} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			onColdBlob(t, serveOptions{PageCache: limit}, size, func(t *testing.T, r *repo, f file) {
				said := r.ok(t, `blob="$R/_blobs/sha256/$1" stored="$STORE/$2"
					(while test ! -e "$W/stop"; do
						printf XXXX | dd of="$stored" bs=1 seek=$(($4 - 4)) conv=notrunc status=none
						tail -c 4 "$3" | dd of="$stored" bs=1 seek=$(($4 - 4)) conv=notrunc status=none
					done) & changer=$!
					for i in 1 2 3; do
						for n in $(seq 15); do
							if cat "$blob" > "$W/out.$i" 2> "$W/err.$i"; then echo whole; cmp "$3" "$W/out.$i"
							else grep -q 'Input/output' "$W/err.$i"; head -c "$(stat -c %s "$W/out.$i")" "$3" | cmp - "$W/out.$i"; echo none; fi
						done > "$W/said.$i" || echo "reader $i failed" > "$W/said.$i" &
						readers="${readers-} $!"
					done
					wait $readers; touch "$W/stop"; wait $changer; cat "$W"/said.*`, f.hex, f.stored(), f.path, fmt.Sprint(size))
				require.NotContains(t, said, "failed")
				require.Equal(t, 45, strings.Count(said, "\n")+1)
				r.requireBlob(t, f)
			})
		})
	}
}

// What is cut while somebody has it open is read whole, or is an error where it
// ends; never zeros.
func TestPageCacheOfTruncatedContent(t *testing.T) {
	const size, cut = 3 << 20, 1<<20 + 1000
	for _, limit := range []int64{0, 2 << 20, -1} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			onColdBlob(t, serveOptions{PageCache: limit}, size, func(t *testing.T, r *repo, f file) {
				r.ok(t, `exec 3< "$R/_blobs/sha256/$1"; head -c 10 <&3 > "$W/first"; truncate -s "$4" "$STORE/$2"
					if cat "$W/first" - <&3 > "$W/out" 2> "$W/err"; then cmp "$3" "$W/out"
					else grep -q 'Input/output' "$W/err"; head -c "$(stat -c %s "$W/out")" "$3" | cmp - "$W/out"; fi`,
					f.hex, f.stored(), f.path, fmt.Sprint(cut))
				r.fails(t, "Input/output", `cat "$R/_blobs/sha256/$1"`, f.hex)
				r.pushBlobs(t, f)
				r.requireBlob(t, f)
			})
		})
	}
}
