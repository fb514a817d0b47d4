package fsmount_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBrowsing(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"ls and find show the tree, every byte once", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1", "v2")
			require.Equal(t, "_blobs\n_manifests\n_tags", r.ok(t, `ls -A "$R"`))
			require.Equal(t, "v1\nv2", r.ok(t, `ls "$R/_tags"`))
			require.Equal(t, "4", r.ok(t, `find "$R" -type f | wc -l`))
			require.Equal(t, "2", r.ok(t, `find "$R" -type l | wc -l`))
			require.Equal(t, "6", r.ok(t, `find "$R" -type d | wc -l`))
			require.Equal(t, i.manifest.hex, r.ok(t, `ls "$R/_manifests/sha256"`))
			require.NotContains(t, r.ok(t, `ls -A "$M"`), ".registryfs")
			r.ok(t, `ls -lR "$R"; grep -r nothing "$R" || test $? = 1`)
		}},
		{"listings carry types and the inode numbers of stat", func(t *testing.T, r *repo) {
			r.pushed(t, "image", "v1")
			r.ok(t, `cp /etc/passwd "$R/_blobs/alias"`)
			for dir, types := range map[string]string{"": "dir", "_blobs/sha256": "file", "_manifests/sha256": "file", "_tags": "link", "_uploads": ""} {
				lines := strings.Split(r.ok(t, `FSMOUNT_TEST_ROLE=dirents "$SELF" "$R/$1"`, dir), "\n")
				require.Regexp(t, `^dir \d+ \.$`, lines[0])
				require.Regexp(t, `^dir \d+ \.\.$`, lines[1])
				for _, line := range lines[2:] {
					fields := strings.Fields(line)
					require.Equal(t, types, fields[0], line)
					require.Equal(t, fields[1], r.ok(t, `stat -c %i "$R/$1/$2"`, dir, fields[2]), line)
				}
				require.Equal(t, strings.Fields(lines[0])[1], r.ok(t, `stat -c %i "$R/$1"`, dir))
				require.Equal(t, strings.Fields(lines[1])[1], r.ok(t, `stat -c %i "$R/$1/.."`, dir))
			}
			require.Contains(t, r.ok(t, `FSMOUNT_TEST_ROLE=dirents "$SELF" "$R/_blobs"`), "link ")
		}},
		{"views are listed, and numbered, in the order in which they must be copied", func(t *testing.T, r *repo) {
			r.pushed(t, "image", "v1")
			var last int
			lines := strings.Split(r.ok(t, `FSMOUNT_TEST_ROLE=dirents "$SELF" "$R"`), "\n")[2:]
			for i, name := range []string{"_blobs", "_manifests", "_tags"} {
				fields := strings.Fields(lines[i])
				require.Equal(t, name, fields[2])
				number, err := strconv.Atoi(fields[1])
				require.NoError(t, err)
				require.Greater(t, number, last)
				last = number
			}
		}},
		{"repositories can be called like parts of others, of the store too", func(t *testing.T, r *repo) {
			r.pushed(t, "image", "v1")
			names := []string{"blobs", "layers", "manifests", "sha256", "tags", "uploads", "v1"}
			for _, name := range names {
				inner := r.mount.named(t, r.name+"/"+name)
				inner.ok(t, `mkdir "$R"`)
				inner.requireTag(t, "v1", inner.pushed(t, name, "v1").manifest)
			}
			require.Equal(t, "_blobs\n_manifests\n_tags\n"+strings.Join(names, "\n"), r.ok(t, `LC_ALL=C ls "$R"`))
			require.Equal(t, "v1", r.ok(t, `ls "$R/_tags"`))
			r.fails(t, "", `mkdir "$R/_sub"`)
		}},
		{"a directory can be a namespace and a repository", func(t *testing.T, r *repo) {
			r.pushed(t, "image", "v1")
			inner := r.mount.named(t, r.name+"/inner")
			inner.ok(t, `mkdir "$R"`)
			i := inner.pushed(t, "inner", "v1")
			require.Equal(t, "_blobs\n_manifests\n_tags\ninner", r.ok(t, `ls "$R"`))
			inner.requireTag(t, "v1", i.manifest)
		}},
		{"a namespace lists no views and has them all the same", func(t *testing.T, r *repo) {
			r.pushed(t, "image", "v1")
			require.NotContains(t, r.ok(t, `ls -A "$R/.."`), "_")
			require.Equal(t, "sha256", r.ok(t, `ls "$R/../_blobs"`))
			require.Empty(t, r.ok(t, `ls "$R/../_tags"; ls "$R/../_uploads"; ls "$R/../_images"`))
		}},
		{"names that no repository has are not there", func(t *testing.T, r *repo) {
			for _, name := range []string{"nothing", "UPPER", "_x", ".hidden", "a b", "_blobs"} {
				r.isGone(t, r.mount.dir+"/"+name)
			}
			r.isGone(t, r.dir()+"/_manifests/sha512x")
		}},
		{"unlisted directories can be entered", func(t *testing.T, r *repo) {
			require.Equal(t, "errors\nversion", r.ok(t, `ls -A "$M/.registryfs"`))
			require.Equal(t, testVersion, r.ok(t, `cat "$M/.registryfs/version"`))
			require.Equal(t, "600\n600", r.ok(t, `stat -c %a "$M/.registryfs/errors" "$M/.registryfs/version"`))
			require.Empty(t, r.ok(t, `ls -A "$R/_uploads"`))
			r.isGone(t, r.mount.dir+"/.registryfs/nothing")
			r.fails(t, "Operation not permitted", `rm "$M/.registryfs/errors"`)
			r.fails(t, "Operation not permitted", `dd if=/etc/passwd of="$M/.registryfs/version"`)
			r.fails(t, "Operation not permitted", `touch "$M/.registryfs/new"`)
		}},
		{"a failure is the next line of the errors, with pid, path and reason", func(t *testing.T, r *repo) {
			r.fails(t, "Operation not permitted", `mkdir "$R/_tags/dir"`)
			require.Regexp(t, `^\d{4}-\d\d-\d\dT[0-9:.]+Z \d+ mkdir /`+r.name+`/_tags/dir \w.+$`, r.ok(t, `tail -n 1 "$M/.registryfs/errors"`))
		}},
		{"no name forges a line of the errors", func(t *testing.T, r *repo) {
			forged := "2026-11-30T01:26:34.294Z 1 close forged"
			r.fails(t, "Invalid argument", `ln -s v1 "$R/_tags/$1"`, "bad\n"+forged+"\xff")
			require.Regexp(t, ` symlink /`+r.name+`/_tags/bad\\n`+forged+`\\xff \w.+$`, r.ok(t, `tail -n 1 "$M/.registryfs/errors"`))
		}},
	})
}

func TestListViews(t *testing.T) {
	onEach(t, serveOptions{ListViews: true}, []mountCase{
		{"everything that can be entered is listed", func(t *testing.T, r *repo) {
			require.Contains(t, r.ok(t, `ls -A "$M"`), ".registryfs")
			require.Equal(t, "_blobs\n_images\n_manifests\n_oci\n_tags\n_uploads", r.ok(t, `ls -A "$R"`))
		}},
	})
}

func TestAttributes(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"content has mode 644, two links, mtime 1 and blocks from its size", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 5000)
			r.pushBlobs(t, f)
			require.Equal(t, "644 2 1 1 1 5000 10 regular file",
				r.ok(t, `stat -c '%a %h %X %Y %Z %s %b %F' "$R/_blobs/sha256/$1"`, f.hex))
			require.Equal(t, "755 1 directory", r.ok(t, `stat -c '%a %h %F' "$R/_blobs"`))
			require.Equal(t, "755 1 directory", r.ok(t, `stat -c '%a %h %F' "$R"`))
		}},
		{"one blob is one inode in every view, and du counts it once", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 1<<20)
			r.ok(t, `cp "$1" "$R/_blobs/alias"`, f.path)
			other := r.mount.repo(t)
			other.pushBlobs(t, f)
			inode := r.ok(t, `stat -c %i "$R/_blobs/sha256/$1"`, f.hex)
			require.Equal(t, inode, r.ok(t, `stat -L -c %i "$R/_blobs/alias"`))
			require.Equal(t, inode, r.ok(t, `stat -L -c %i "$R/_blobs/$1"`, f.digest()))
			require.Equal(t, inode, other.ok(t, `stat -c %i "$R/_blobs/sha256/$1"`, f.hex))
			i := r.pushed(t, "image", "v1")
			require.Equal(t, r.ok(t, `stat -c %i "$R/_manifests/sha256/$1"`, i.manifest.hex), r.ok(t, `stat -L -c %i "$R/_tags/v1"`))
			kib, err := strconv.Atoi(strings.Fields(r.ok(t, `du -skc "$R/_blobs" "$1/_blobs" | tail -n 1`, other.dir()))[0])
			require.NoError(t, err)
			require.InDelta(t, 1024, kib, 200)
		}},
		{"tags carry the time they moved", func(t *testing.T, r *repo) {
			r.ok(t, `touch "$W/before"`)
			r.pushed(t, "image", "v1")
			r.ok(t, `touch -d "next hour" "$W/after"`)
			require.Equal(t, "v1", r.ok(t, `find "$R/_tags" -name v1 -newermt "@$(($(stat -c %Y "$W/before") - 1))" -printf '%f\n'`))
			require.Empty(t, r.ok(t, `find "$R/_tags" -name v1 -newer "$W/after"`))
			require.Empty(t, r.ok(t, `find "$R/_tags" -name v1 -mtime +30`))
		}},
		{"chmod, chown, touch and ACLs", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v1")
			attributes := `stat -c '%a %u %g %Y' "$R" "$R/_blobs" "$R/_tags" "$R/_blobs/sha256/$1" "$R/_manifests/sha256/$2" "$R/_tags/v1"`
			before := r.ok(t, attributes, i.layers[0].hex, i.manifest.hex)
			r.ok(t, `chmod -R 777 "$R"; chown -hR 12:13 "$R"; touch -d 2001-01-01 "$R" "$R/_blobs" "$R/_blobs/sha256/$1" "$R/_tags/v1"
				touch -h -d 2001-01-01 "$R/_tags/v1"; touch "$M" "$M/.registryfs/errors" "$R/_uploads"`, i.layers[0].hex)
			require.Equal(t, before, r.ok(t, attributes, i.layers[0].hex, i.manifest.hex))
			r.fails(t, "Operation not supported", `getfattr -n system.posix_acl_access "$R/_blobs/sha256/$1"`, i.layers[0].hex)
			r.fails(t, "Operation not supported", `setfattr -n system.posix_acl_access -v 0x02000000 "$R/_blobs/sha256/$1"`, i.layers[0].hex)
		}},
		{"getfattr tells digest, media type and size, and tags when asked", func(t *testing.T, r *repo) {
			i := r.pushed(t, "image", "v2", "v1")
			for _, path := range []string{"_manifests/sha256/" + i.manifest.hex, "_tags/v1"} {
				dump := r.ok(t, `getfattr --absolute-names -d "$R/$1"`, path)
				require.Contains(t, dump, `user.registryfs.digest="`+i.manifest.digest()+`"`)
				require.Contains(t, dump, `user.registryfs.mediatype="application/vnd.oci.image.manifest.v1+json"`)
				require.Contains(t, dump, `user.registryfs.size="`+strconv.Itoa(i.manifest.size)+`"`)
				require.NotContains(t, dump, "registryfs.tags")
				require.Equal(t, "v1 v2", r.ok(t, `getfattr --only-values -n user.registryfs.tags "$R/$1"`, path))
			}
			blob := "_blobs/sha256/" + i.layers[0].hex
			require.Equal(t, "application/octet-stream", r.ok(t, `getfattr --only-values -n user.registryfs.mediatype "$R/$1"`, blob))
			require.Equal(t, i.layers[0].digest(), r.ok(t, `getfattr --only-values -n user.registryfs.digest "$R/$1"`, blob))
			r.fails(t, "Operation not supported", `getfattr -d "$R" "$R/_blobs"`)
		}},
		{"setting our attributes does nothing, and others are not supported", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 10)
			r.pushBlobs(t, f)
			r.ok(t, `setfattr -n user.registryfs.digest -v x "$R/_blobs/sha256/$1"`, f.hex)
			r.ok(t, `setfattr -x user.registryfs.digest "$R/_blobs/sha256/$1"`, f.hex)
			require.Equal(t, f.digest(), r.ok(t, `getfattr --only-values -n user.registryfs.digest "$R/_blobs/sha256/$1"`, f.hex))
			for _, path := range []string{"_blobs/sha256/" + f.hex, "_blobs", "."} {
				r.fails(t, "Operation not supported", `setfattr -n user.other -v x "$R/$1"`, path)
				r.fails(t, "Operation not supported", `getfattr -n user.other "$R/$1"`, path)
			}
			r.fails(t, "Operation not supported", `getfattr -n security.selinux "$R/_blobs/sha256/$1"`, f.hex)
		}},
		{"df knows its blocks and the length of names", func(t *testing.T, r *repo) {
			require.Equal(t, "255 4096 4096", r.ok(t, `stat -f -c '%l %s %S' "$M"`))
			r.ok(t, `df "$M"; df -i "$M"`)
			if r.mount.store != "" {
				require.Equal(t, r.ok(t, `df --output=size "$STORE" | tail -n 1`), r.ok(t, `df --output=size "$M" | tail -n 1`))
				require.Positive(t, len(r.ok(t, `df --output=avail "$M" | tail -n 1 | tr -d ' 0'`)))
			}
		}},
	})
}

func TestKeptListings(t *testing.T) {
	onEach(t, serveOptions{AttrTimeout: time.Hour}, []mountCase{
		{"a write that is refused makes a repository of a namespace", func(t *testing.T, r *repo) {
			inner := r.mount.named(t, r.name+"/inner")
			inner.ok(t, `mkdir "$R"`)
			f, other := r.random(t, "f", 10), r.random(t, "other", 10)
			inner.pushBlobs(t, f)
			require.Equal(t, "inner", r.ok(t, `ls "$R"`))
			r.fails(t, "Bad message", `cp "$1" "$R/_manifests/sha256/$2"`, other.path, f.hex)
			require.Equal(t, "_blobs\n_manifests\n_tags\ninner", r.ok(t, `ls "$R"`))
		}},
	})
}

func TestOwnerAndUmask(t *testing.T) {
	onEach(t, serveOptions{UID: 7, GID: 8, Umask: 0o027}, []mountCase{
		{"are those of the options", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 10)
			r.pushBlobs(t, f)
			require.Equal(t, "640 7 8", r.ok(t, `stat -c '%a %u %g' "$R/_blobs/sha256/$1"`, f.hex))
			require.Equal(t, "750 7 8", r.ok(t, `stat -c '%a %u %g' "$R/_blobs"`))
		}},
	})
}
