package fsmount_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTagLinks(t *testing.T) {
	onEach(t, serveOptions{AttrTimeout: time.Second}, []mountCase{
		{"ln -s takes targets of all forms", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			r.ok(t, `cp "$1" "$R/_manifests/alias"`, i.manifest.path)
			for _, target := range []string{
				"v1", "./v1", "../_tags/v1", r.dir() + "/_tags/v1", i.manifest.digest(),
				"../_manifests/sha256/" + i.manifest.hex, "../_manifests/" + i.manifest.digest(),
				r.dir() + "/_manifests/sha256/" + i.manifest.hex, "../_manifests/alias",
			} {
				r.ok(t, `ln -s "$1" "$R/_tags/made"`, target)
				r.requireTag(t, "made", i.manifest)
				r.ok(t, `rm "$R/_tags/made"`)
			}
		}},
		{"targets that are no manifest are invalid arguments", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			for _, target := range []string{
				"/etc/passwd", "../../..", "../_blobs", "..", "../_uploads/x", "sha256:abc", "a b", "/",
				"../_blobs/sha256/" + i.layers[0].hex,
			} {
				r.fails(t, "Invalid argument", `ln -s "$1" "$R/_tags/made"`, target)
			}
			r.errorsSay(t, "symlink", "/"+r.name+"/_tags/made", "/etc/passwd")
			require.Equal(t, "v1", r.ok(t, `ls "$R/_tags"`))
		}},
		{"targets that are not there are no such file", func(t *testing.T, r *repo) {
			for _, target := range []string{"nothing", "sha256:" + strings.Repeat("0", 64), "../_manifests/sha256/" + strings.Repeat("0", 64)} {
				r.fails(t, "No such file", `ln -s "$1" "$R/_tags/made"`, target)
			}
			require.Empty(t, r.ok(t, `ls "$R/_tags"`))
		}},
		{"names outside the grammar are refused", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image")
			r.fails(t, "Invalid argument", `ln -s "$1" "$R/_tags/-x"`, i.manifest.digest())
			r.fails(t, "Invalid argument", `ln -s "$1" "$R/_tags/a b"`, i.manifest.digest())
			r.fails(t, "Invalid argument", `cp "$1" "$R/_tags/a+b"`, i.manifest.path)
			r.fails(t, "File name too long", `ln -s "$1" "$R/_tags/$2"`, i.manifest.digest(), strings.Repeat("x", 129))
			r.ok(t, `ln -s "$1" "$R/_tags/$2"`, i.manifest.digest(), strings.Repeat("x", 128))
		}},
		{"an existing tag is retagged with ln -sfn, ln -sf and mv, not with ln -s", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "v1"), r.pushed(t, "b", "v2")
			r.fails(t, "File exists", `ln -s v2 "$R/_tags/v1"`)
			r.requireTag(t, "v1", a.manifest)
			r.ok(t, `ln -sfn v2 "$R/_tags/v1"`)
			r.requireTag(t, "v1", b.manifest)
			r.ok(t, `ln -sf "$1" "$R/_tags/v1"`, a.manifest.digest())
			r.requireTag(t, "v1", a.manifest)
			r.ok(t, `ln -s v2 "$R/_tags/.new"; mv -T "$R/_tags/.new" "$R/_tags/v1"`)
			r.requireTag(t, "v1", b.manifest)
			require.Equal(t, "v1\nv2", r.ok(t, `ls -A "$R/_tags"`), "no temporaries are left")
		}},
		{"a retag to what cannot be leaves the tag as it was", func(t *testing.T, r *repo) {
			a := r.pushed(t, "a", "v1")
			r.fails(t, "Invalid argument", `ln -sfn /etc/passwd "$R/_tags/v1"`)
			r.requireTag(t, "v1", a.manifest)
		}},
		{"cp -P and hard links tag", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			r.ok(t, `cp -P "$R/_tags/v1" "$R/_tags/v2"`)
			r.requireTag(t, "v2", i.manifest)
			r.ok(t, `ln "$R/_manifests/sha256/$1" "$R/_tags/v3"`, i.manifest.hex)
			r.requireTag(t, "v3", i.manifest)
			r.ok(t, `ln "$R/_tags/v1" "$R/_tags/v4"`)
			r.requireTag(t, "v4", i.manifest)
			r.fails(t, "Invalid argument", `ln "$R/_blobs/sha256/$1" "$R/_tags/v5"`, i.layers[0].hex)
		}},
		{"a tag is one at once, though its name is like that of a temporary of ln or sed", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "v1"), r.pushed(t, "b", "v2")
			names := []string{"CuDNN812", "Custom12", "sed201901"}
			for _, name := range names {
				r.ok(t, `cd "$R/_tags"; ln -s v1 "$1"; ls | grep -x "$1"`, name)
				r.requireTag(t, name, a.manifest)
				for _, retag := range []string{
					`ln -sfn v2 "$1"`, `ln -s v2 .t; mv -fT .t "$1"`, `cp "$2" "$1"`, `rm "$1"; cp "$2" "$1"; ls | grep -x "$1"`,
				} {
					r.ok(t, `cd "$R/_tags"; `+retag, name, b.manifest.path)
					r.requireTag(t, name, b.manifest)
					r.ok(t, `cd "$R/_tags"; ln -sfn v1 "$1"`, name)
					r.requireTag(t, name, a.manifest)
				}
			}
			require.Equal(t, strings.Join(names, "\n")+"\nv1\nv2", r.ok(t, `ls -A "$R/_tags"`))
			copied := r.mount.repo(t)
			copied.ok(t, `cp -a "$1/." "$R/"`, r.dir())
			require.Equal(t, r.tree(t), copied.tree(t))
		}},
		{"what cannot be such a tag is refused at once", func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			r.fails(t, "No such file", `ln -s nonexistent "$R/_tags/CuDNN904"`)
			r.fails(t, "Invalid argument", `cp /etc/passwd "$R/_tags/sedABCDEF"`)
			r.fails(t, "No data available", `cp "$1" "$R/_tags/sed123456"`, i.manifest.path)
			require.Empty(t, r.ok(t, `ls -A "$R/_tags"`))
		}},
		{"a retag and an edit make no tag but the one", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "v1"), r.pushed(t, "b")
			if r.mount.store == "" {
				return // what was a tag for a moment shows in the trash
			}
			r.ok(t, `ln -sfn "$1" "$R/_tags/v1"; ln -sfr "$R/_manifests/sha256/$2" "$R/_tags/v1"
				sed -i 's/"schemaVersion": 2/"schemaVersion":  2/' "$R/_tags/v1"; ln -sfn "$1" "$R/_tags/v1"`, b.manifest.digest(), a.manifest.hex)
			r.requireTag(t, "v1", b.manifest)
			require.Empty(t, r.ok(t, `if test -d "$STORE/registryfs/trash"; then find "$STORE/registryfs/trash" -path "*/$1/*"; fi`, r.name))
		}},
		{"a temporary of a program that is not known moves the tag, too", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "v1"), r.pushed(t, "b")
			agent := newAgent(t, r.mount.dir)
			temporary, tag := r.dir()+"/_tags/CuAbC123", r.dir()+"/_tags/v1"
			for _, q := range []request{{Op: "symlink", Path: temporary, To: b.manifest.digest()}, {Op: "rename", Path: temporary, To: tag}} {
				got, err := agent.ask(q)
				require.NoError(t, err)
				require.Zero(t, got.Errno, got.Fault)
			}
			r.requireTag(t, "v1", b.manifest)
			require.Equal(t, "v1", r.ok(t, `ls -A "$R/_tags"; ! test -L "$R/_tags/CuAbC123"`))
			r.ok(t, `cp -sf "$R/_manifests/sha256/$1" "$R/_tags/v1"; test "$(ls -A "$R/_tags")" = v1`, a.manifest.hex)
			r.requireTag(t, "v1", a.manifest)
		}},
		{"a tag names a manifest by a constant length", func(t *testing.T, r *repo) {
			r.pushed(t, "image", "v1")
			require.Equal(t, r.ok(t, `readlink -n "$R/_tags/v1" | wc -c`), r.ok(t, `stat -c %s "$R/_tags/v1"`))
		}},
	})
}

func TestTagMoves(t *testing.T) {
	onEach(t, serveOptions{AttrTimeout: time.Hour}, []mountCase{
		{"mv renames a tag, and replaces another", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "v1"), r.pushed(t, "b", "v2")
			r.ok(t, `mv "$R/_tags/v1" "$R/_tags/v3"`)
			r.isGone(t, r.dir()+"/_tags/v1")
			r.requireTag(t, "v3", a.manifest)
			r.ok(t, `mv "$R/_tags/v2" "$R/_tags/v3"`)
			r.requireTag(t, "v3", b.manifest)
			require.Equal(t, "v3", r.ok(t, `ls "$R/_tags"`))
			r.fails(t, "subdirectory of itself", `mv "$R/_tags/v3" "$R/_tags/-x"`) // so mv puts EINVAL
			r.fails(t, "Operation not permitted", `mv "$R/_tags/v3" "$R/_blobs/v3"`)
			r.requireTag(t, "v3", b.manifest)
		}},
		{"while a tag is renamed it is never under both names, or neither", func(t *testing.T, r *repo) {
			r.pushed(t, "a", "old")
			mover := r.start(t, "sh", "-ec", `for i in $(seq 40); do mv "$R/_tags/old" "$R/_tags/new"; mv "$R/_tags/new" "$R/_tags/old"; done; echo done`)
			reader := r.start(t, "sh", "-ec", `while read line; do ls "$R/_tags" | wc -l; done`)
			moved := make(chan string)
			go func() {
				line, _ := mover.stdout.ReadString('\n')
				moved <- line
			}()
			for looks := 0; ; looks++ {
				_, err := reader.stdin.Write([]byte("look\n"))
				require.NoError(t, err)
				require.Equal(t, "1", reader.line(t))
				select {
				case line := <-moved:
					require.Equal(t, "done\n", line, "%s", mover.stderr)
					require.Positive(t, looks)
					return
				default:
				}
			}
		}},
		{"while a tag is moved it is never missing and never empty", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "latest"), r.pushed(t, "b")
			mover := r.start(t, "sh", "-ec", `for i in $(seq 40); do ln -sfn "$1" "$R/_tags/latest"; ln -sfn "$2" "$R/_tags/latest"; done; echo done`,
				"sh", b.manifest.digest(), a.manifest.digest())
			reader := r.start(t, "sh", "-ec", `while read line; do sha256sum < "$R/_tags/latest"; done`)
			moved := make(chan string)
			go func() {
				line, _ := mover.stdout.ReadString('\n')
				moved <- line
			}()
			for seen := map[string]int{}; ; {
				_, err := reader.stdin.Write([]byte("look\n"))
				require.NoError(t, err)
				got := reader.line(t)[:64]
				require.Contains(t, []string{a.manifest.hex, b.manifest.hex}, got)
				seen[got]++
				select {
				case line := <-moved:
					require.Equal(t, "done\n", line, "%s", mover.stderr)
					require.Len(t, seen, 2, "the reader saw no move: %v", seen)
					return
				default:
				}
			}
		}},
		{"who has opened a tag goes on reading what it named", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "v1"), r.pushed(t, "b")
			r.ok(t, `exec 3< "$R/_tags/v1"; ln -sfn "$1" "$R/_tags/v1"; cmp - "$2" <&3
				exec 3< "$R/_tags/v1"; rm "$R/_tags/v1"; cmp - "$3" <&3`, b.manifest.digest(), a.manifest.path, b.manifest.path)
		}},
		{"rm untags and nothing else", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1", "v2")
			r.ok(t, `rm "$R/_tags/v1"`)
			r.isGone(t, r.dir()+"/_tags/v1")
			r.requireTag(t, "v2", i.manifest)
			r.ok(t, `rm "$R/_tags/v2"; cmp "$1" "$R/_manifests/sha256/$2"`, i.manifest.path, i.manifest.hex)
			require.Empty(t, r.ok(t, `ls "$R/_tags"`))
			r.fails(t, "No such file", `rm "$R/_tags/v2"`)
			if r.mount.store != "" {
				r.ok(t, `find "$STORE/registryfs/trash" -path "*/$1/v2/current/link" | grep .`, r.name)
			}
		}},
	})
}

func TestWritingThroughATag(t *testing.T) {
	tools := []struct{ name, script string }{
		{"cp", `cp "$1" "$R/_tags/latest"`},
		{"the shell", `cat "$1" > "$R/_tags/latest"`},
		{"tee", `tee "$R/_tags/latest" < "$1" > /dev/null`},
		{"dd", `dd if="$1" of="$R/_tags/latest" status=none`},
		{"install", `install -m 644 "$1" "$R/_tags/latest"`},
		{"rsync", `rsync "$1" "$R/_tags/latest"`},
	}
	var cases []mountCase
	for _, tool := range tools {
		cases = append(cases, mountCase{tool.name + " moves the tag, again and again", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "latest"), r.image(t, "b")
			r.pushBlobs(t, b.blobs()...)
			for range 2 {
				r.ok(t, tool.script, b.manifest.path)
				r.requireTag(t, "latest", b.manifest)
				r.ok(t, tool.script, a.manifest.path)
				r.requireTag(t, "latest", a.manifest)
			}
			r.ok(t, `cmp "$1" "$R/_manifests/sha256/$2"`, b.manifest.path, b.manifest.hex)
		}})
	}
	cases = append(cases,
		mountCase{"a bad manifest leaves the tag as it was", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "latest"), r.image(t, "b")
			r.fails(t, "No data available", `cp "$1" "$R/_tags/latest"`, b.manifest.path)
			r.fails(t, "Invalid argument", `cp /etc/passwd "$R/_tags/latest"`)
			r.requireTag(t, "latest", a.manifest)
		}},
		mountCase{"writing to where the tag leads is not writing to the tag", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "latest"), r.image(t, "b")
			r.pushBlobs(t, b.blobs()...)
			r.fails(t, "Bad message", `cp "$1" "$(readlink -f "$R/_tags/latest")"`, b.manifest.path)
			r.requireTag(t, "latest", a.manifest)
			r.isGone(t, r.dir()+"/_manifests/sha256/"+b.manifest.hex)
		}},
		mountCase{"what is appended to a tag's manifest makes another", func(t *testing.T, r *repo) {
			a := r.pushed(t, "a", "latest")
			r.fails(t, "Invalid argument", `dd if=/etc/passwd of="$R/_tags/latest" oflag=append conv=notrunc`)
			r.requireTag(t, "latest", a.manifest)
			content, err := a.manifest.content()
			require.NoError(t, err)
			b := r.file(t, "b", append(content, "\n \n"...))
			r.ok(t, `printf '\n \n' >> "$R/_tags/latest"`)
			r.requireTag(t, "latest", b)
			r.fails(t, "Operation not permitted", `echo >> "$R/_manifests/sha256/$1"`, b.hex)
		}},
		mountCase{"a tag's manifest is edited in place", func(t *testing.T, r *repo) {
			a := r.pushed(t, "a", "latest")
			require.Equal(t, a.manifest.hex, r.ok(t, `exec 3<> "$R/_tags/latest"; sha256sum <&3 | cut -c-64`))
			r.requireTag(t, "latest", a.manifest)
			content, err := a.manifest.content()
			require.NoError(t, err)
			content[1] = '\t' // a space or a line break
			b := r.file(t, "b", content)
			r.ok(t, `printf '\t' | dd of="$R/_tags/latest" bs=1 seek=1 conv=notrunc status=none`)
			r.requireTag(t, "latest", b)
			r.fails(t, "Bad message", `printf '\n' | dd of="$R/_manifests/sha256/$1" bs=1 seek=1 conv=notrunc status=none`, b.hex)
			r.requireTag(t, "latest", b)
			r.ok(t, `cmp "$1" "$R/_manifests/sha256/$2"`, a.manifest.path, a.manifest.hex)
		}},
		mountCase{"through another tag's link it moves that tag alone", func(t *testing.T, r *repo) {
			a, b := r.pushed(t, "a", "v1", "latest"), r.image(t, "b")
			r.pushBlobs(t, b.blobs()...)
			r.ok(t, `cp "$1" "$R/_tags/latest"`, b.manifest.path)
			r.requireTag(t, "latest", b.manifest)
			r.requireTag(t, "v1", a.manifest)
		}},
	)
	onEach(t, serveOptions{AttrTimeout: time.Second}, cases)
}
