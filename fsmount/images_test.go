package fsmount_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/manifest"
)

// archive makes a layer of one file, as a user would.
func (r *repo) archive(t *testing.T, name, suffix string) file {
	t.Helper()
	r.ok(t, `mkdir -p "$W/$1.d"; echo "this is $1 of $3" >"$W/$1.d/$1.txt"
		tar -C "$W/$1.d" --auto-compress -cf "$W/$1.$2" "$1.txt"`, name, suffix, r.name)
	content, err := file{path: r.work + "/" + name + "." + suffix}.content()
	require.NoError(t, err)
	return r.file(t, name+"."+suffix, content)
}

// platformImage writes an image for a platform, of one compressed layer and one
// that is not.
func (r *repo) platformImage(t *testing.T, arch string) image {
	t.Helper()
	i := image{
		config: r.json(t, arch+"-config.json", object{"os": "linux", "architecture": arch, "config": object{"Cmd": []string{arch}}}),
		layers: []file{r.archive(t, arch+"-base", "tar.gz"), r.archive(t, arch+"-top", "tar")},
	}
	i.manifest = r.json(t, arch+".json", object{
		"schemaVersion": 2,
		"mediaType":     manifest.MediaTypeOCIManifest,
		"config":        descriptor(manifest.MediaTypeOCIConfig, i.config),
		"layers": []object{
			descriptor(manifest.MediaTypeOCILayer, i.layers[0]),
			descriptor("application/vnd.oci.image.layer.v1.tar", i.layers[1]),
		},
	})
	return i
}

func TestImages(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"a single image by its configuration", func(t *testing.T, r *repo) {
			i := r.platformImage(t, "amd64")
			r.push(t, i, "v1", "v2")
			require.Equal(t, "v1\nv2", r.ok(t, `ls "$R/_images"`))
			require.Equal(t, "linux-amd64", r.ok(t, `ls "$R/_images/v1"`))
			require.Equal(t, "amd64", r.ok(t, `jq -r '.config.Cmd[0]' "$R/_images/v1/linux-amd64/config.json"`))
			require.Equal(t, "amd64-base.txt", r.ok(t, `tar tzf "$R/_images/v1/linux-amd64/layers/00.tar.gz"`))
			require.Equal(t, "this is amd64-top of "+r.name, r.ok(t, `tar xOf "$R/_images/v1/linux-amd64/layers/01.tar"`))
			r.ok(t, `cmp "$1" "$R/_images/v2/linux-amd64/manifest.json"`, i.manifest.path)
		}},
		{"an index by its descriptors", func(t *testing.T, r *repo) {
			var children []object
			for _, arch := range []string{"amd64", "riscv64"} {
				i := r.platformImage(t, arch)
				r.push(t, i)
				child := descriptor(manifest.MediaTypeOCIManifest, i.manifest)
				child["platform"] = object{"os": "linux", "architecture": arch}
				children = append(children, child)
			}
			index := r.json(t, "index.json", object{"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIIndex, "manifests": children})
			r.ok(t, `cp "$1" "$R/_tags/v1"`, index.path)
			require.Equal(t, "linux-amd64\nlinux-riscv64", r.ok(t, `ls "$R/_images/v1"`))
			require.Equal(t, "amd64\nriscv64", r.ok(t, `jq -r '.config.Cmd[0]' "$R"/_images/v1/*/config.json`))
			require.Equal(t, "amd64-base.txt\nriscv64-base.txt", r.ok(t, `cd "$R/_images/v1"; for i in *; do tar tzf "$i/layers/00.tar.gz"; done`))
		}},
		{"it is not listed, and its content is that of the other views", func(t *testing.T, r *repo) {
			i := r.platformImage(t, "amd64")
			r.push(t, i, "v1")
			require.NotContains(t, r.ok(t, `ls -A "$R"`), "_images")
			require.Equal(t, r.ok(t, `stat -c %i "$R/_blobs/sha256/$1"`, i.config.hex), r.ok(t, `stat -L -c %i "$R/_images/v1/linux-amd64/config.json"`))
			require.Equal(t, "../../../_manifests/sha256/"+i.manifest.hex, r.ok(t, `readlink "$R/_images/v1/linux-amd64/manifest.json"`))
			require.Equal(t, "../../../../_blobs/sha256/"+i.layers[1].hex, r.ok(t, `readlink "$R/_images/v1/linux-amd64/layers/01.tar"`))
		}},
		{"listings carry types and the inode numbers of stat", func(t *testing.T, r *repo) {
			r.push(t, r.platformImage(t, "amd64"), "v1")
			for _, dir := range []string{"_images", "_images/v1", "_images/v1/linux-amd64", "_images/v1/linux-amd64/layers"} {
				for line := range strings.Lines(r.ok(t, `FSMOUNT_TEST_ROLE=dirents "$SELF" "$R/$1"`, dir)) {
					fields := strings.Fields(line)
					kind := map[string]string{"dir": "directory", "link": "symbolic link"}[fields[0]]
					require.Equal(t, fields[1]+" "+kind, r.ok(t, `stat -c '%i %F' "$R/$1/$2"`, dir, fields[2]), line)
				}
			}
		}},
		{"find, du, grep and cp -rL walk it", func(t *testing.T, r *repo) {
			r.push(t, r.platformImage(t, "amd64"), "v1")
			require.Equal(t, "4", r.ok(t, `find "$R/_images" -type d | wc -l`))
			require.Equal(t, "4", r.ok(t, `find "$R/_images" -type l | wc -l`))
			r.ok(t, `ls -lR "$R/_images"; ls -lLR "$R/_images"; du "$R/_images"; grep -rq amd64 "$R/_images/v1/linux-amd64/config.json"
				cp -rL "$R/_images/v1" "$W/out"; diff -r "$R/_images/v1" "$W/out"; rsync -aL "$R/_images/v1/" "$W/out/"`)
		}},
		{"it is for reading", func(t *testing.T, r *repo) {
			i := r.platformImage(t, "amd64")
			r.push(t, i, "v1")
			before := r.ok(t, `ls -lR "$R/_images"`)
			for _, script := range []string{
				`touch "$R/_images/new"`, `mkdir "$R/_images/new"`, `ln -s v1 "$R/_images/new"`, `mkdir "$R/_images/v1/linux-arm64"`,
				`rmdir "$R/_images/v1"`, `rmdir "$R/_images"`, `rm "$R/_images/v1/linux-amd64/config.json"`, `rm -rf "$R/_images/v1"`,
				`mv "$R/_images/v1" "$R/_images/v2"`, `mv "$R/_images/v1/linux-amd64/config.json" "$R/_blobs/x"`,
				`cp "$1" "$R/_images/v1/linux-amd64/new"`, `cp "$1" "$R/_images/v1/linux-amd64/config.json"`,
				`echo >"$R/_images/v1/linux-amd64/manifest.json"`, `echo >>"$R/_images/v1/linux-amd64/layers/01.tar"`,
				`ln "$R/_images/v1/linux-amd64/config.json" "$R/_blobs/x"`, `mkfifo "$R/_images/v1/linux-amd64/layers/x"`,
				`mv "$R/_tags/v1" "$R/_images/v3"`,
			} {
				got := r.sh(t, script, i.manifest.path)
				require.NotZero(t, got.status, script)
				require.Regexp(t, "Operation not permitted|cannot create", got.stderr, script)
			}
			require.Equal(t, before, r.ok(t, `ls -lR "$R/_images"`))
			r.errorsSay(t, "open", "_images is for reading")
			r.ok(t, `chmod 600 "$R/_images/v1"; touch "$R/_images/v1/linux-amd64"`)
		}},
		{"a tag that moves is another image, and who was there stays", func(t *testing.T, r *repo) {
			first, second := r.platformImage(t, "amd64"), r.platformImage(t, "arm64")
			r.push(t, first, "v1")
			r.push(t, second)
			require.Equal(t, "config.json\nlayers\nmanifest.json\namd64", r.ok(t, `cd "$R/_images/v1/linux-amd64"; ls
				ln -sfn "$1" "$R/_tags/v1"; jq -r .architecture config.json`, second.manifest.digest()))
			require.Equal(t, "linux-arm64", r.ok(t, `ls "$R/_images/v1"`))
			r.ok(t, `rm "$R/_tags/v1"`)
			require.Empty(t, r.ok(t, `ls "$R/_images"`))
			r.isGone(t, r.dir()+"/_images/v1")
		}},
		{"a repository in waiting has no images", func(t *testing.T, r *repo) {
			require.Empty(t, r.ok(t, `ls -A "$R/_images"`))
		}},
		{"a tag for one platform is copied out of it", func(t *testing.T, r *repo) {
			i := r.platformImage(t, "amd64")
			r.push(t, i, "v1")
			r.ok(t, `cp "$R/_images/v1/linux-amd64/manifest.json" "$R/_tags/v1-amd64"`)
			r.requireTag(t, "v1-amd64", i.manifest)
		}},
	})
}

// What this mount changes shows at once, however long the kernel may keep what
// others could have changed.
func TestImagesShowOwnChanges(t *testing.T) {
	onEach(t, serveOptions{AttrTimeout: time.Hour, SparseIndexes: true}, []mountCase{
		{"of a tag", func(t *testing.T, r *repo) {
			first, second := r.pushed(t, "first", "v1"), r.pushed(t, "second", "v2")
			all := func() string {
				return r.ok(t, `cd "$R/_images/v1"; ls -lR . > /dev/null; readlink */manifest.json */config.json */layers/*`)
			}
			before := all()
			require.Contains(t, before, first.manifest.hex)
			r.ok(t, `cd "$R/_tags"; ln -sfn v2 v1`)
			for _, f := range append(second.blobs(), second.manifest) {
				require.Contains(t, all(), f.hex)
			}
			r.ok(t, `cp "$1" "$R/_tags/v1"`, first.manifest.path)
			require.Equal(t, before, all())
			r.ok(t, `mv "$R/_tags/v2" "$R/_tags/v1"`)
			require.Contains(t, all(), second.manifest.hex)
			r.isGone(t, r.dir()+"/_images/v2/unknown/manifest.json")
			r.ok(t, `rm "$R/_tags/v1"`)
			r.isGone(t, r.dir()+"/_images/v1/unknown/manifest.json")
		}},
		{"of an index's images", func(t *testing.T, r *repo) {
			images := []image{r.image(t, "a"), r.image(t, "b")}
			r.push(t, images[1])
			r.ok(t, `ls "$R/_images"; cp "$1" "$R/_tags/v1"`, r.index(t, "index", images...).path)
			at := r.dir() + "/_images/v1/unknown"
			require.Contains(t, r.ok(t, `readlink "$1/manifest.json"`, at), images[1].manifest.hex)
			r.push(t, images[0])
			require.Contains(t, r.ok(t, `readlink "$1/manifest.json"`, at), images[0].manifest.hex)
			require.Contains(t, r.ok(t, `readlink "$1.2/manifest.json"`, at), images[1].manifest.hex)
		}},
	})
}

func TestImagesReadOnly(t *testing.T) {
	t.Parallel()
	o := serveOptions{Store: t.TempDir()}
	m := newMount(t, o)
	r := m.repo(t)
	r.push(t, r.platformImage(t, "amd64"), "v1")
	m.stop(t)
	o.ReadOnly = true
	r.mount = m.again(t, o)
	require.Equal(t, "amd64-base.txt", r.ok(t, `tar tzf "$R/_images/v1/linux-amd64/layers/00.tar.gz"`))
	for _, script := range []string{`touch "$R/_images/new"`, `mkdir "$R/_images/v1/x"`, `rm "$R/_images/v1/linux-amd64/config.json"`} {
		r.fails(t, "Read-only file system", script)
	}
}
