package fsmount_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// tree lists everything in a repository with its type, size and target.
func (r *repo) tree(t *testing.T) string {
	t.Helper()
	return r.ok(t, `cd "$R"; find . -type f -printf '%P %s\n' -o -type l -printf '%P -> %l\n' | sort`)
}

func TestCopyingRepositories(t *testing.T) {
	copied := func(name, script string) mountCase {
		return mountCase{name, func(t *testing.T, from *repo) {
			index, images := from.pushedIndex(t, "v1")
			from.ok(t, `ln -s v1 "$R/_tags/latest"; ln -s "$1" "$R/_tags/amd64"`, images[0].manifest.digest())
			from.ok(t, `cp /etc/passwd "$R/_blobs/passwd"`)
			to := from.mount.repo(t)
			to.ok(t, script, from.dir())
			to.requireTag(t, "latest", index)
			require.Equal(t, from.tree(t), to.tree(t))
			require.Empty(t, to.ok(t, `ls -A "$R/_uploads"`))
		}}
	}
	onEach(t, serveOptions{}, []mountCase{
		copied("cp -a", `cp -a "$1/." "$R/"`),
		copied("cp -r", `cp -r "$1/." "$R/"`),
		copied("rsync -a", `rsync -a "$1/" "$R/"`),
		copied("rsync -a, twice", `rsync -a "$1/" "$R/"; rsync -a "$1/" "$R/"`),
		copied("tar", `tar -C "$1" -cf - . | tar -C "$R" -xf -`),
		copied("tar to a file and back", `tar -C "$1" -cf "$W/out.tar" .; tar -C "$R" -xf "$W/out.tar"`),
		{"a second rsync finds nothing to do", func(t *testing.T, from *repo) {
			from.pushedIndex(t, "v1")
			to := from.mount.repo(t)
			to.ok(t, `rsync -a "$1/" "$R/"`, from.dir())
			require.Empty(t, to.ok(t, `rsync -ai --omit-dir-times --omit-link-times "$1/" "$R/"`, from.dir()))
			require.Contains(t, to.ok(t, `rsync -a --stats "$1/" "$R/"`, from.dir()), "Number of regular files transferred: 0")
		}},
		{"rsync out to a disk and in again", func(t *testing.T, from *repo) {
			index, _ := from.pushedIndex(t, "v1")
			to := from.mount.repo(t)
			to.ok(t, `rsync -a "$1/" "$W/disk/"; rsync -a "$W/disk/" "$R/"`, from.dir())
			to.requireTag(t, "v1", index)
			require.Equal(t, from.tree(t), to.tree(t))
		}},
		{"cp -a out to a disk and in again, view by view", func(t *testing.T, from *repo) {
			// The inode numbers of a disk may be in another order than ours.
			index, _ := from.pushedIndex(t, "v1")
			to := from.mount.repo(t)
			to.ok(t, `cp -a "$1" "$W/disk"; for view in _blobs _manifests _tags _blobs _manifests _tags; do cp -a "$W/disk/$view/." "$R/$view/"; done`, from.dir())
			to.requireTag(t, "v1", index)
			require.Equal(t, from.tree(t), to.tree(t))
		}},
		{"into a repository that mkdir has just made", func(t *testing.T, from *repo) {
			index, _ := from.pushedIndex(t, "v1")
			to := from.mount.named(t, from.name+"-new")
			to.ok(t, `mkdir "$R" && cp -a "$1/." "$R/"`, from.dir())
			to.requireTag(t, "v1", index)
		}},
		{"tar's placeholders for links are replaced", func(t *testing.T, from *repo) {
			index, _ := from.pushedIndex(t, "v1")
			to := from.mount.repo(t)
			to.ok(t, `tar -C "$1" -cf "$W/out.tar" _tags _manifests _blobs; tar -C "$1" -cf "$W/tags.tar" _tags`, from.dir())
			to.ok(t, `tar -C "$1" -cf - _blobs _manifests | tar -C "$R" -xf -; tar -C "$R" -xf "$W/tags.tar"`, from.dir())
			to.requireTag(t, "v1", index)
			require.Empty(t, to.ok(t, `find "$R/_tags" -type f`))
		}},
		{"onto a directory that is there cannot work, and says so", func(t *testing.T, from *repo) {
			from.pushed(t, "image", "v1")
			from.fails(t, "File exists", `cp -a "$R" "$R-new"`)
		}},
	})
}

func TestCopyingBetweenMounts(t *testing.T) {
	t.Parallel()
	a := newMount(t, serveOptions{}).repo(t)
	b := newMount(t, serveOptions{Store: t.TempDir()}).repo(t)
	index, _ := a.pushedIndex(t, "v1")
	for range 2 {
		b.ok(t, `rsync -a "$1/" "$R/"`, a.dir())
		b.requireTag(t, "v1", index)
		require.Equal(t, a.tree(t), b.tree(t))
	}
	require.Contains(t, b.ok(t, `rsync -a --stats "$1/" "$R/"`, a.dir()), "Number of regular files transferred: 0")
	c := a.mount.repo(t)
	c.ok(t, `cp -a "$1/." "$R/"`, b.dir())
	require.Equal(t, a.tree(t), c.tree(t))
	c.fails(t, "Invalid argument", `ln -s "$1/_tags/v1" "$R/_tags/other"`, b.dir())
}

func TestTools(t *testing.T) {
	// edited is an image and the same with another annotation, as an editor
	// makes it from the first.
	edited := func(t *testing.T, r *repo) (before image, after file) {
		t.Helper()
		before = r.pushed(t, "image", "v1")
		r.ok(t, `sed 's/"schemaVersion": 2/"schemaVersion":  2/' "$1" > "$W/edited"`, before.manifest.path)
		content, err := file{path: r.work + "/edited"}.content()
		require.NoError(t, err)
		after = r.file(t, "edited", content)
		require.NotEqual(t, before.manifest.hex, after.hex)
		return before, after
	}
	edit := func(name, script string) mountCase {
		return mountCase{name, func(t *testing.T, r *repo) {
			before, after := edited(t, r)
			r.ok(t, script)
			r.requireTag(t, "v1", after)
			r.ok(t, `cmp "$1" "$R/_manifests/sha256/$2"`, before.manifest.path, before.manifest.hex)
			require.Equal(t, "v1", r.ok(t, `ls "$R/_tags"`), "no temporaries or backups are listed")
			require.Equal(t, "2", r.ok(t, `ls "$R/_manifests/sha256" | wc -l`))
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}}
	}
	writes := func(name, script string) mountCase {
		return mountCase{name, func(t *testing.T, r *repo) {
			f := r.random(t, "layer", 200_000)
			for range 2 {
				r.ok(t, script, f.path, f.hex)
				r.requireBlob(t, f)
			}
			require.Empty(t, r.ok(t, `ls -A "$R/_uploads"`))
			require.Equal(t, f.hex, r.ok(t, `ls -A "$R/_blobs/sha256"`))
			require.NotContains(t, r.ok(t, `cat "$M/.registryfs/errors"`), "/"+r.name+"/")
		}}
	}
	onEach(t, serveOptions{}, []mountCase{
		edit("sed -i edits a tag's manifest", `sed -i 's/"schemaVersion": 2/"schemaVersion":  2/' "$R/_tags/v1"`),
		edit("sed -i keeps a backup that can be a tag", `sed -i.bak 's/"schemaVersion": 2/"schemaVersion":  2/' "$R/_tags/v1"; rm "$R/_tags/v1.bak"`),
		edit("sed -i keeps no backup that would not last", `if sed -i~ 's/"schemaVersion": 2/x/' "$R/_tags/v1"; then exit 1; fi; cp "$W/edited" "$R/_tags/v1"`),
		edit("sed -i --follow-symlinks cannot", `if sed -i --follow-symlinks 's/schemaVersion/x/' "$R/_tags/v1"; then exit 1; fi; cp "$W/edited" "$R/_tags/v1"`),
		edit("vim edits a tag's manifest", `vim -es -u NONE -c '%s/"schemaVersion": 2/"schemaVersion":  2/' -c wq "$R/_tags/v1"`),
		edit("a temporary that is renamed", `sed 's/"schemaVersion": 2/"schemaVersion":  2/' "$R/_tags/v1" > "$R/_tags/.tmp"; mv "$R/_tags/.tmp" "$R/_tags/v1"`),
		edit("a temporary that ends in a tilde", `cp "$W/edited" "$R/_tags/v1~"; mv "$R/_tags/v1~" "$R/_tags/v1"`),
		writes("rsync", `rsync -a "$1" "$R/_blobs/sha256/$2"`),
		writes("rsync --inplace", `rsync -a --inplace "$1" "$R/_blobs/sha256/$2"`),
		writes("install", `install -m 600 "$1" "$R/_blobs/$2.alias"; rm "$R/_blobs/$2.alias"`),
		writes("dd with fsync", `dd if="$1" of="$R/_blobs/sha256/$2" bs=4096 conv=fsync status=none`),
		writes("dd with fdatasync and small blocks", `dd if="$1" of="$R/_blobs/sha256/$2" bs=1000 conv=fdatasync status=none`),
		writes("dd that seeks back", `dd if="$1" of="$R/_blobs/sha256/tmp" bs=1000 skip=100 seek=100 status=none
			dd if="$1" of="$R/_blobs/sha256/tmp" bs=1000 count=100 conv=notrunc status=none
			mv "$R/_blobs/sha256/tmp" "$R/_blobs/sha256/$2"`),
		writes("tee", `tee "$R/_blobs/sha256/$2" < "$1" > /dev/null`),
		writes("mv from a disk", `cp "$1" "$W/copy"; mv -n "$W/copy" "$R/_blobs/sha256/$2"`),
		{"mv onto content, or of content to a disk, is not permitted and loses nothing", func(t *testing.T, r *repo) {
			f := r.random(t, "f", 1000)
			r.pushBlobs(t, f)
			r.fails(t, "Operation not permitted", `mv "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
			r.ok(t, `cmp "$1" "$R/_blobs/sha256/$2"`, f.path, f.hex)
			r.fails(t, "Operation not permitted", `mv "$R/_blobs/sha256/$1" "$W/out"`, f.hex)
			r.requireBlob(t, f)
		}},
		{"cp -a and install of other content onto a digest change nothing", func(t *testing.T, r *repo) {
			f, other := r.random(t, "f", 1000), r.random(t, "other", 1000)
			r.pushBlobs(t, f)
			r.fails(t, "Bad message", `cp -a "$1" "$R/_blobs/sha256/$2"`, other.path, f.hex)
			r.fails(t, "Bad message", `install "$1" "$R/_blobs/sha256/$2"`, other.path, f.hex)
			r.requireBlob(t, f)
			require.Equal(t, f.hex, r.ok(t, `ls "$R/_blobs/sha256"`))
		}},
		writes("cp -a", `cp -a "$1" "$R/_blobs/sha256/$2"`),
		writes("cp --sparse=always", `cp --sparse=always "$1" "$R/_blobs/sha256/$2"`),
		writes("a temporary that is renamed", `cp "$1" "$R/_blobs/.tmp"; chmod 600 "$R/_blobs/.tmp"; touch "$R/_blobs/.tmp"; mv "$R/_blobs/.tmp" "$R/_blobs/sha256/$2"`),
		{"holes and rewritten bytes are allowed", func(t *testing.T, r *repo) {
			r.ok(t, `truncate -s 1M "$W/sparse"; printf x | dd of="$W/sparse" bs=1 seek=500000 conv=notrunc status=none; cp --sparse=always "$W/sparse" "$R/_blobs/sparse"; cmp "$W/sparse" "$R/_blobs/sparse"`)
		}},
		{"scratch that is removed lasts as long as it is open", func(t *testing.T, r *repo) {
			require.Equal(t, "one two three", r.ok(t, `cd "$R/_blobs"; exec 3<> .tmp 4<> .tmp 5< .tmp
				printf "one " >&3; printf "one two " >&4; rm .tmp; printf "two " >&3; exec 3>&-
				! test -e .tmp; printf "three" >&4; exec 4>&-; cat <&5`))
			r.until(t, `test -z "$(ls -A "$R/_uploads")"`)
		}},
		{"scratch belongs to the mount and can be edited and removed", func(t *testing.T, r *repo) {
			for _, dir := range []string{"_blobs", "_blobs/sha256", "_manifests", "_manifests/sha256", "_tags"} {
				r.ok(t, `cd "$R/$1"; echo one > .scratch; echo two >> .scratch; test "$(cat .scratch)" = "one
two"; truncate -s 3 .scratch; test "$(cat .scratch)" = one; mv .scratch '#other#'; test "$(cat '#other#')" = one; rm '#other#'; ! test -e '#other#'`, dir)
			}
			require.Empty(t, r.ok(t, `ls -A "$R/_uploads"; ls -A "$R/_tags"`))
		}},
	})
}
