package fsmount_test

import (
	"crypto/sha512"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBlobs(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"cp by digest stores a blob that reads back verified", func(t *testing.T, r *repo) {
			f := r.random(t, "layer", 300_000)
			r.ok(t, `cp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
			r.ok(t, `cmp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
			require.Equal(t, f.hex, r.ok(t, `ls "$R/_blobs/sha256"`))
		}},
		{"wrong content does not appear, and the reason is told", func(t *testing.T, r *repo) {
			f, other := r.random(t, "f", 1000), r.random(t, "other", 1000)
			r.fails(t, "Bad message", `cp "$1" "$R/_blobs/sha256/$2"`, other.path, f.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+f.hex)
			require.Empty(t, r.ok(t, `ls "$R/_blobs/sha256"`))
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`), "what the writer was told of is dropped")
			r.errorsSay(t, "close", "/"+r.name+"/_blobs/sha256/"+f.hex, "does not match its digest", other.hex)
		}},
		{"cp under any name makes an alias, and rm removes the alias only", func(t *testing.T, r *repo) {
			f := r.random(t, "layer.tar.gz", 5000)
			r.ok(t, `cp "$1" "$R/_blobs/"`, f.path)
			require.Equal(t, "sha256/"+f.hex, r.ok(t, `readlink "$R/_blobs/layer.tar.gz"`))
			require.Equal(t, "layer.tar.gz\nsha256", r.ok(t, `ls "$R/_blobs"`))
			r.ok(t, `cmp "$1" "$R/_blobs/layer.tar.gz"`, f.path)
			r.ok(t, `rm "$R/_blobs/layer.tar.gz"`)
			require.Equal(t, "sha256", r.ok(t, `ls "$R/_blobs"`))
			r.requireBlob(t, f)
		}},
		{"an alias moves with what is written to it, and earlier blobs stay", func(t *testing.T, r *repo) {
			a, b := r.random(t, "a", 500), r.random(t, "b", 700)
			for range 2 {
				r.ok(t, `cp "$1" "$R/_blobs/layer"; cp "$2" "$R/_blobs/layer"`, a.path, b.path)
				require.Equal(t, "sha256/"+b.hex, r.ok(t, `readlink "$R/_blobs/layer"`))
			}
			r.requireBlob(t, a)
			r.requireBlob(t, b)
		}},
		{"an alias can be renamed, and made with ln -s", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 500)
			r.pushBlobs(t, f)
			r.ok(t, `cd "$R/_blobs"; ln -s "sha256/$1" one; mv one two`, f.hex)
			require.Equal(t, "sha256\ntwo", r.ok(t, `ls "$R/_blobs"`))
			require.Equal(t, "sha256/"+f.hex, r.ok(t, `readlink "$R/_blobs/two"`))
		}},
		{"a digest can be pasted", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 500)
			r.ok(t, `cp "$1" "$R/_blobs/$2"`, f.path, f.digest())
			r.ok(t, `cmp "$1" "$R/_blobs/$2"`, f.path, f.digest())
			require.Equal(t, "sha256/"+f.hex, r.ok(t, `readlink "$R/_blobs/$1"`, f.digest()))
			require.Equal(t, "sha256", r.ok(t, `ls "$R/_blobs"`), "it is not listed")
		}},
		{"an algorithm's directory stays where it is", func(t *testing.T, r *repo) {
			for _, view := range []string{"_blobs", "_manifests"} {
				r.fails(t, "Operation not permitted", `mv -T "$R/$1/sha256" "$R/$1/sha512"`, view)
				r.fails(t, "Operation not permitted", `mv -T "$R/$1/sha256" "$R/$1/other"`, view)
			}
		}},
		{"content can go by another algorithm", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 500)
			content, err := os.ReadFile(f.path)
			require.NoError(t, err)
			sum := sha512.Sum512(content)
			name := hex.EncodeToString(sum[:])
			r.ok(t, `cp "$1" "$R/_blobs/sha512/$2"`, f.path, name)
			r.ok(t, `cmp "$1" "$R/_blobs/sha512/$2"`, f.path, name)
			r.requireBlob(t, f)
			r.fails(t, "Bad message", `cp /dev/fd/0 "$R/_blobs/sha512/$1" < /etc/passwd`, strings.Repeat("ab", 64))
		}},
		{"bad digests are invalid arguments", func(t *testing.T, r *repo) {
			for _, name := range []string{"sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:" + strings.Repeat("A", 64)} {
				r.fails(t, "Invalid argument", `cp /etc/passwd "$R/_blobs/$1"`, name)
			}
			r.errorsSay(t, "create", "sha256:abc")
		}},
		{"a name that is too long is told so", func(t *testing.T, r *repo) {
			r.fails(t, "File name too long", `cp /etc/passwd "$R/_blobs/$1"`, strings.Repeat("x", 256))
		}},
		{"what is no digest below an algorithm is scratch until it is renamed", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 500)
			r.ok(t, `cp "$1" "$R/_blobs/sha256/download.part"`, f.path)
			require.Empty(t, r.ok(t, `ls -A "$R/_blobs/sha256"`))
			r.ok(t, `cmp "$1" "$R/_blobs/sha256/download.part"`, f.path)
			r.ok(t, `mv "$R/_blobs/sha256/download.part" "$R/_blobs/sha256/$1"`, f.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/download.part")
			r.requireBlob(t, f)
		}},
		{"renaming scratch to a wrong digest fails and keeps it", func(t *testing.T, r *repo) {
			f, other := r.random(t, "f", 500), r.random(t, "other", 500)
			r.fails(t, "Bad message", `cp "$1" "$R/_blobs/.tmp"; mv "$R/_blobs/.tmp" "$R/_blobs/sha256/$2"`, f.path, other.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+other.hex)
			r.ok(t, `cmp "$1" "$R/_blobs/.tmp"; rm "$R/_blobs/.tmp"`, f.path)
			r.isGone(t, r.dir()+"/_blobs/.tmp")
		}},
		{"removing what is not there is no such file", func(t *testing.T, r *repo) {
			r.fails(t, "No such file", `rm "$R/_blobs/nothing"`)
			r.fails(t, "No such file", `mv "$R/_blobs/nothing" "$R/_blobs/something"`)
			r.fails(t, "No such file", `cat "$R/_blobs/sha256/$1"`, strings.Repeat("0", 64))
		}},
	})
}

func TestExistingDigestName(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"the same content is a push again", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 5000)
			for range 3 {
				r.ok(t, `cp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
				r.ok(t, `cp -f "$1" "$R/_blobs/sha256/$2"; cat "$1" > "$R/_blobs/sha256/$2"`, f.path, f.hex)
			}
			r.requireBlob(t, f)
		}},
		{"other content is refused and changes nothing", func(t *testing.T, r *repo) {
			f, other := r.random(t, "f", 5000), r.random(t, "other", 6000)
			r.pushBlobs(t, f)
			r.fails(t, "Bad message", `cp "$1" "$R/_blobs/sha256/$2"`, other.path, f.hex)
			require.Equal(t, "5000", r.ok(t, `stat -c %s "$R/_blobs/sha256/$1"`, f.hex))
			r.requireBlob(t, f)
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}},
		{"appending and truncating are not permitted", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 5000)
			r.pushBlobs(t, f)
			r.fails(t, "Operation not permitted", `dd if=/etc/passwd of="$R/_blobs/sha256/$1" oflag=append conv=notrunc`, f.hex)
			r.fails(t, "operation not permitted", `FSMOUNT_TEST_ROLE=truncate "$SELF" "$R/_blobs/sha256/$1" 0`, f.hex)
			r.fails(t, "operation not permitted", `FSMOUNT_TEST_ROLE=truncate "$SELF" "$R/_blobs/sha256/$1" 9000`, f.hex)
			r.errorsSay(t, " truncate /"+r.name+"/_blobs/sha256/"+f.hex+" ")
			r.requireBlob(t, f)
			i := r.pushed(t, "image", "v1")
			r.fails(t, "operation not permitted", `FSMOUNT_TEST_ROLE=truncate "$SELF" "$R/_tags/v1" 0`)
			r.errorsSay(t, " truncate /"+r.name+"/_manifests/sha256/"+i.manifest.hex+" ")
		}},
		{"opening it to truncate shows readers nothing", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 5000)
			r.pushBlobs(t, f)
			r.ok(t, `exec 3> "$R/_blobs/sha256/$1"; test "$(stat -c %s "$R/_blobs/sha256/$1")" = 5000
				cmp "$2" "$R/_blobs/sha256/$1"; exec 3>&-; cmp "$2" "$R/_blobs/sha256/$1"`, f.hex, f.path)
		}},
		{"the empty blob is whole at once", func(t *testing.T, r *repo) {
			empty := r.file(t, "empty", nil)
			r.ok(t, `: > "$R/_blobs/sha256/$1"`, empty.hex)
			require.Equal(t, empty.hex, r.ok(t, `ls "$R/_blobs/sha256"`))
			r.requireBlob(t, empty)
		}},
		{"it cannot be removed or renamed", func(t *testing.T, r *repo) {
			f, other := r.random(t, "f", 5000), r.random(t, "other", 10)
			r.pushBlobs(t, f)
			i := r.pushed(t, "image")
			r.fails(t, "Operation not permitted", `rm "$R/_blobs/sha256/$1"`, f.hex)
			r.errorsSay(t, "remove", f.hex, "--allow-delete")
			r.fails(t, "Operation not permitted", `rm "$R/_manifests/sha256/$1"`, i.manifest.hex)
			r.fails(t, "Operation not permitted", `mv "$R/_blobs/sha256/$1" "$R/_blobs/sha256/$2"`, f.hex, other.hex)
			r.fails(t, "Operation not permitted", `mv "$R/_blobs/sha256/$1" "$R/_blobs/name"`, f.hex)
			r.fails(t, "Operation not permitted", `mv "$R/_manifests/sha256/$1" "$R/_tags/v1"`, i.manifest.hex)
			r.fails(t, "Operation not permitted", `mkdir -p "$M/team/elsewhere"; mv "$R/_blobs/sha256/$1" "$M/team/elsewhere/_blobs/sha256/$1"`, f.hex)
			r.requireBlob(t, f)
			require.Equal(t, "sha256", r.ok(t, `ls "$R/_blobs"`))
			require.Empty(t, r.ok(t, `ls "$R/_tags"`))
		}},
	})
}
