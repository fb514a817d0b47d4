package fsmount_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/manifest"
)

// These tests write an OCI image layout in the ways of the tools that do. Each
// way is a script that pushes an image: the files named by $MANIFEST and
// $BLOBS, which are called by their digests, under the tag $TAG, with the
// entry $ENTRY for index.json.
var layoutWriters = map[string]string{
	// A file beside index.json, renamed; the manifest and index.json in place;
	// index.json is read before anything is written.
	"skopeo": `
		jq -c --argjson e "$ENTRY" '.manifests = [.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] != $e.annotations["org.opencontainers.image.ref.name"])] + [$e]' "$R/_oci/index.json" > "$W/index.$TAG"
		for blob in $BLOBS; do
			tmp="$R/_oci/oci-put-blob$TAG"
			dd if="$W/$blob" of="$tmp" bs=32k conv=fsync status=none; chmod 644 "$tmp"
			mv -f "$tmp" "$R/_oci/blobs/sha256/$blob"
		done
		cp "$W/$MANIFEST" "$R/_oci/blobs/sha256/$MANIFEST"
		printf '{"imageLayoutVersion": "1.0.0"}' > "$R/_oci/oci-layout"
		cp "$W/index.$TAG" "$R/_oci/index.json"`,
	// A directory with a lock, renames out of it, and its removal.
	"umoci": `
		tmp="$R/_oci/.umoci-$TAG"
		mkdir -m 700 "$tmp"; exec 9< "$tmp"; flock -xn 9
		for blob in $BLOBS $MANIFEST; do
			cp "$W/$blob" "$tmp/blob-1"; mv -f "$tmp/blob-1" "$R/_oci/blobs/sha256/$blob"
		done
		jq -c --argjson e "$ENTRY" 'del(.mediaType) | .manifests += [$e]' "$R/_oci/index.json" > "$tmp/index-1"
		mv -f "$tmp/index-1" "$R/_oci/index.json"
		flock -u 9; rmdir "$tmp"`,
	// Temporaries among the blobs, and beside index.json; then a collection of
	// garbage.
	"regctl": `
		for blob in $BLOBS; do cp "$W/$blob" "$R/_oci/blobs/sha256/$TAG.tmp"; mv -f "$R/_oci/blobs/sha256/$TAG.tmp" "$R/_oci/blobs/sha256/$blob"; done
		cp "$W/$MANIFEST" "$R/_oci/blobs/sha256/$MANIFEST.$TAG.tmp"; mv -f "$R/_oci/blobs/sha256/$MANIFEST.$TAG.tmp" "$R/_oci/blobs/sha256/$MANIFEST"
		jq -c --argjson e "$ENTRY" '.manifests += [$e]' "$R/_oci/index.json" > "$R/_oci/index.json.$TAG.tmp"
		mv -f "$R/_oci/index.json.$TAG.tmp" "$R/_oci/index.json"
		for blob in $(ls "$R/_oci/blobs/sha256"); do rm -f "$R/_oci/blobs/sha256/$blob"; done`,
	// A directory of temporaries that stays, files that are read-only.
	"oras": `
		mkdir -p "$R/_oci/ingest"
		for blob in $BLOBS $MANIFEST; do
			tmp="$R/_oci/ingest/${blob}_$TAG"
			cp "$W/$blob" "$tmp"; chmod 444 "$tmp"; mv -f "$tmp" "$R/_oci/blobs/sha256/$blob"
		done
		jq -c --argjson e "$ENTRY" '.manifests = [$e] + .manifests' "$R/_oci/index.json" > "$W/index.$TAG"
		cp "$W/index.$TAG" "$R/_oci/index.json"`,
	// Names that begin with the digest, the rest in place, a whole reference
	// for a name, and the same entry twice.
	"crane": `
		for blob in $BLOBS; do cp "$W/$blob" "$R/_oci/blobs/sha256/${blob}2343928635"; mv -f "$R/_oci/blobs/sha256/${blob}2343928635" "$R/_oci/blobs/sha256/$blob"; done
		cp "$W/$MANIFEST" "$R/_oci/blobs/sha256/$MANIFEST"
		jq --argjson e "$ENTRY" '($e | .annotations["org.opencontainers.image.ref.name"] |= "127.0.0.1:5000/team/app:" + .) as $e | .manifests += [$e, $e]' "$R/_oci/index.json" > "$W/index.$TAG"
		cp "$W/index.$TAG" "$R/_oci/index.json"`,
}

// layoutPush pushes files that make up an image by way of a writer.
func (r *repo) layoutPush(t *testing.T, writer, tag string, m file, blobs ...file) {
	t.Helper()
	result := r.tryLayoutPush(t, writer, tag, m, blobs...)
	require.Zero(t, result.status, "%s\n%s%s", writer, result.stdout, result.stderr)
}

func (r *repo) tryLayoutPush(t *testing.T, writer, tag string, m file, blobs ...file) result {
	t.Helper()
	entry, err := json.Marshal(layoutEntry(t, tag, m))
	require.NoError(t, err)
	names := make([]string, len(blobs))
	for i, f := range append(blobs, m) {
		r.ok(t, `ln -f "$1" "$W/$2"`, f.path, f.hex)
		if i < len(blobs) {
			names[i] = f.hex
		}
	}
	return r.sh(t, `TAG=$1 ENTRY=$2 MANIFEST=$3 BLOBS=$4;`+layoutWriters[writer], tag, string(entry), m.hex, strings.Join(names, " "))
}

// layoutEntry is the entry of an image in index.json.
func layoutEntry(t *testing.T, tag string, m file) object {
	t.Helper()
	content, err := m.content()
	require.NoError(t, err)
	entry := descriptor(manifest.DetectMediaType(content), m)
	if tag != "" {
		entry["annotations"] = object{"org.opencontainers.image.ref.name": tag}
	}
	return entry
}

// layoutTags is the names and manifests in index.json, a line each.
func (r *repo) layoutTags(t *testing.T) string {
	t.Helper()
	return r.ok(t, `jq -r '.manifests[] | (.annotations["org.opencontainers.image.ref.name"] // "-") + " " + .digest' "$R/_oci/index.json"`)
}

func TestLayoutPush(t *testing.T) {
	var cases []mountCase
	for writer := range layoutWriters {
		cases = append(cases, mountCase{"an image as " + writer + " does, twice, and another under its tag", func(t *testing.T, r *repo) {
			a, b := r.image(t, "a"), r.image(t, "b")
			for range 2 {
				r.layoutPush(t, writer, "v1", a.manifest, a.blobs()...)
				r.requireTag(t, "v1", a.manifest)
				require.Equal(t, "v1 "+a.manifest.digest(), r.layoutTags(t))
				require.Equal(t, "3", r.ok(t, `ls "$R/_blobs/sha256" | wc -l`), "a manifest is no blob any more")
				require.Equal(t, "4", r.ok(t, `ls "$R/_oci/blobs/sha256" | wc -l`))
			}
			r.layoutPush(t, writer, "v1", b.manifest, b.blobs()...)
			r.requireTag(t, "v1", b.manifest)
			require.Equal(t, "v1 "+b.manifest.digest()+"\n- "+a.manifest.digest(), r.layoutTags(t), "what was tagged has no name, but is there")
			for _, f := range append(b.blobs(), b.manifest, a.manifest) {
				require.Equal(t, f.hex, r.ok(t, `sha256sum < "$R/_oci/blobs/sha256/$1" | cut -c-64`, f.hex))
			}
			r.until(t, `test -z "$(ls "$R/_uploads")"`)
			require.NotContains(t, r.ok(t, `cat "$M/.registryfs/errors"`), "/"+r.name+"/")
		}})
	}
	onEach(t, serveOptions{}, cases)
}

// pushedByLayout pushes an image by way of its layout.
func (r *repo) pushedByLayout(t *testing.T, name, tag string) image {
	t.Helper()
	i := r.image(t, name)
	r.layoutPush(t, "skopeo", tag, i.manifest, i.blobs()...)
	return i
}

// putLayout copies an image's files into a layout that no index.json names.
func (r *repo) putLayoutBlobs(t *testing.T, files ...file) {
	t.Helper()
	for _, f := range files {
		r.ok(t, `cp "$1" "$R/_oci/blobs/sha256/$2"`, f.path, f.hex)
	}
}

// editLayout is a tool that changes index.json as a jq program says: it reads
// it first, does something else, and writes it then.
const editLayout = `jq -c "$1" "$R/_oci/index.json" > "$W/edited"; eval "$2"; cp "$W/edited" "$R/_oci/index.json"`

func (r *repo) editLayout(t *testing.T, program, meanwhile string) {
	t.Helper()
	r.ok(t, editLayout, program, meanwhile)
}

// name is the name of an entry, in jq.
const entryName = `.annotations["org.opencontainers.image.ref.name"]`

func TestLayout(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{
		{"a repository in waiting is an empty layout", func(t *testing.T, r *repo) {
			require.Equal(t, "blobs\nindex.json\noci-layout", r.ok(t, `ls -A "$R/_oci"`))
			require.Equal(t, `{"imageLayoutVersion":"1.0.0"}`, r.ok(t, `cat "$R/_oci/oci-layout"`))
			require.Equal(t, "[]", r.ok(t, `jq -c .manifests "$R/_oci/index.json"`))
			require.Equal(t, "sha256", r.ok(t, `ls -A "$R/_oci/blobs"; ls -A "$R/_oci/blobs/sha256"`))
			for _, dir := range []string{"_oci", "_oci/blobs", "_oci/blobs/sha256", "_oci/blobs/sha512"} {
				r.fails(t, "File exists", `mkdir "$R/$1"`, dir)
			}
			require.NotContains(t, r.ok(t, `ls -A "$R"`), "_oci")
			r.ok(t, `test "$(stat -c %s "$R/_oci/index.json")" = "$(cat "$R/_oci/index.json" | wc -c)"`)
		}},
		{"a layout is made where one is", func(t *testing.T, r *repo) {
			r.pushedByLayout(t, "a", "v1")
			r.ok(t, `mkdir -p "$R/_oci/blobs/sha256"; printf '{\n    "imageLayoutVersion": "1.0.0"\n}' > "$R/_oci/oci-layout"`)
			r.ok(t, `printf '{"schemaVersion":2,"manifests":null}' > "$W/new"; cp "$W/new" "$R/_oci/index.json"; mv "$W/new" "$R/_oci/index.json"`)
			require.Contains(t, r.layoutTags(t), "v1 ", "who has not read an index removes nothing by it")
			r.fails(t, "Invalid argument", `printf '{"imageLayoutVersion":"2.0.0"}' > "$W/version"; cp "$W/version" "$R/_oci/oci-layout"`)
			r.ok(t, `: > "$R/_oci/index.json"; : > "$R/_oci/oci-layout"; truncate -s 0 "$W/empty"; cp "$W/empty" "$R/_oci/index.json"`)
			require.Contains(t, r.layoutTags(t), "v1 ", "tools truncate before they write")
		}},
		{"an archive of a layout is unpacked into one", func(t *testing.T, r *repo) {
			i := r.image(t, "a")
			r.ok(t, `mkdir -p "$W/lay/blobs/sha256"; for f in "$@"; do cp "$f" "$W/lay/blobs/sha256/$(sha256sum < "$f" | cut -c-64)"; done`,
				i.config.path, i.layers[0].path, i.layers[1].path, i.manifest.path)
			index := r.json(t, "lay/index.json", object{"schemaVersion": 2, "manifests": []object{layoutEntry(t, "v1", i.manifest)}})
			r.ok(t, `printf '{"imageLayoutVersion":"1.0.0"}' > "$W/lay/oci-layout"; tar -C "$W/lay" -cf "$W/lay.tar" oci-layout blobs index.json; tar -C "$R/_oci" -xf "$W/lay.tar"`)
			r.requireTag(t, "v1", i.manifest)
			r.ok(t, `rm "$R/_tags/v1"; cp -r "$W/lay/." "$R/_oci/"`)
			r.requireTag(t, "v1", i.manifest)
			r.ok(t, `rm "$R/_tags/v1"; rsync -a "$W/lay/" "$R/_oci/"`)
			r.requireTag(t, "v1", i.manifest)
			r.ok(t, `mkdir "$W/none"; : > "$W/none/index.json"; tar -C "$W/none" -cf "$W/none.tar" index.json; tar -C "$R/_oci" -xf "$W/none.tar"`)
			require.Equal(t, "blobs\nindex.json\noci-layout", r.ok(t, `ls -A "$R/_oci"`))
			r.ok(t, `rm "$R/_tags/v1"; mv "$1" "$R/_oci/index.json"`, index.path)
			r.requireTag(t, "v1", i.manifest)
			require.NotContains(t, r.ok(t, `cat "$M/.registryfs/errors"`), "/"+r.name+"/")
		}},
		{"its files cannot be removed or renamed", func(t *testing.T, r *repo) {
			for _, name := range []string{"index.json", "oci-layout", "blobs"} {
				r.fails(t, "Operation not permitted", `mv "$R/_oci/$1" "$R/_oci/other"`, name)
			}
			r.fails(t, "Operation not permitted", `rm "$R/_oci/index.json"`)
			r.fails(t, "Operation not permitted", `rmdir "$R/_oci/blobs"`)
			r.fails(t, "Operation not permitted", `echo x >> "$R/_oci/index.json"`)
			r.ok(t, `chmod 600 "$R/_oci/index.json"; touch "$R/_oci/index.json" "$R/_oci"`)
		}},
		{"what is pushed in the other views is there, and the reverse", func(t *testing.T, r *repo) {
			i := r.pushed(t, "a", "v1")
			require.Equal(t, "v1 "+i.manifest.digest(), r.layoutTags(t))
			r.ok(t, `ln -s v1 "$R/_tags/v0"; rm "$R/_tags/v1"`)
			require.Equal(t, "v0 "+i.manifest.digest(), r.layoutTags(t))
			r.ok(t, `rm "$R/_tags/v0"`)
			require.Equal(t, "- "+i.manifest.digest(), r.layoutTags(t))
			for _, f := range append(i.blobs(), i.manifest) {
				require.Len(t, strings.Fields(r.ok(t, `stat -c %i "$R/_oci/blobs/sha256/$1" "$R"/_[bm]*/sha256/"$1" | sort -u`, f.hex)), 1, "one inode")
			}
		}},
		{"an index, its images written first or last", func(t *testing.T, r *repo) {
			a, b := r.image(t, "amd64"), r.image(t, "arm64")
			index := r.index(t, "index", a, b)
			r.putLayoutBlobs(t, index, a.manifest, b.manifest)
			r.putLayoutBlobs(t, append(a.blobs(), b.blobs()...)...)
			require.Empty(t, r.ok(t, `ls "$R/_oci/blobs/sha256"; ls "$R/_manifests/sha256"`), "nothing leads to them")
			r.layoutPush(t, "umoci", "v1", index)
			r.requireTag(t, "v1", index)
			require.Equal(t, "v1 "+index.digest(), r.layoutTags(t), "what an index lists needs no entry")
			require.Equal(t, "3", r.ok(t, `ls "$R/_manifests/sha256" | wc -l`))
			require.Equal(t, "6", r.ok(t, `ls "$R/_blobs/sha256" | wc -l`))
			require.Equal(t, "9", r.ok(t, `ls "$R/_oci/blobs/sha256" | wc -l`))
			r.ok(t, `cat "$R/_oci/index.json" > "$W/same"; cat "$W/same" > "$R/_oci/index.json"`)
			r.requireTag(t, "v1", index)
		}},
		{"the platform is what an index says", func(t *testing.T, r *repo) {
			a := r.pushed(t, "a", "v1")
			child := descriptor(manifest.MediaTypeOCIManifest, a.manifest)
			child["platform"] = object{"os": "linux", "architecture": "arm64", "variant": "v8"}
			index := r.json(t, "index", object{"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIIndex, "manifests": []object{child}})
			require.Equal(t, "null", r.ok(t, `jq -c '.manifests[].platform' "$R/_oci/index.json"`))
			r.ok(t, `cp "$1" "$R/_tags/all"`, index.path)
			require.JSONEq(t, `{"os":"linux","architecture":"arm64","variant":"v8"}`, r.ok(t, `jq -c '.manifests[] | select(`+entryName+` == "v1").platform' "$R/_oci/index.json"`))
		}},
		{"what is missing is named, and nothing changes", func(t *testing.T, r *repo) {
			old := r.pushedByLayout(t, "old", "v1")
			before := r.ok(t, `cat "$R/_oci/index.json"`)
			a, b := r.image(t, "a"), r.image(t, "b")
			index := r.index(t, "index", a, b)
			r.putLayoutBlobs(t, a.blobs()...)
			r.putLayoutBlobs(t, a.manifest, b.manifest)
			for _, writer := range []string{"skopeo", "umoci", "regctl", "oras", "crane"} {
				got := r.tryLayoutPush(t, writer, "v1", b.manifest, b.config, b.layers[0])
				require.NotZero(t, got.status, writer)
				require.Contains(t, got.stderr, "No data available", writer)
				got = r.tryLayoutPush(t, writer, "v2", index)
				require.NotZero(t, got.status, writer)
			}
			r.errorsSay(t, "/"+r.name+"/_oci/index.json", b.layers[1].digest())
			got := r.tryLayoutPush(t, "skopeo", "v2", r.random(t, "f", 10))
			require.Contains(t, got.stderr, "Invalid argument", "no manifest")
			require.Equal(t, before, r.ok(t, `cat "$R/_oci/index.json"`))
			require.Equal(t, old.manifest.hex, r.ok(t, `ls "$R/_manifests/sha256"`))
			require.Equal(t, "v1", r.ok(t, `ls "$R/_tags"`))
			r.putLayoutBlobs(t, b.layers[1])
			r.layoutPush(t, "skopeo", "v2", index)
			r.requireTag(t, "v2", index)
		}},
		{"what is not well formed is refused, and nothing changes", func(t *testing.T, r *repo) {
			i := r.pushedByLayout(t, "a", "v1")
			before := r.ok(t, `cat "$R/_oci/index.json"`)
			for _, program := range []string{
				`.schemaVersion = 1`, `[]`, `.manifests = {}`, `.manifests[0].digest = "sha256:abc"`, `.manifests[0]` + entryName + ` = "a b"`,
				`.manifests += [.manifests[0] | .size = 1 | ` + entryName + ` = "v2"]`,
				`.manifests += [.manifests[0] | .digest = "sha512:" + .digest[7:] + .digest[7:] | ` + entryName + ` = "v2"]`,
			} {
				require.NotZero(t, r.sh(t, editLayout, program, "").status, program)
			}
			r.fails(t, "Invalid argument", `head -c 100 "$R/_oci/index.json" > "$W/half"; cp "$W/half" "$R/_oci/index.json"`)
			for _, script := range []string{`cp "$W/half" "$R/_oci/tmp"`, `: > "$R/_oci/tmp"`} {
				require.NotZero(t, r.sh(t, script+`; mv "$R/_oci/tmp" "$R/_oci/index.json"`).status, script)
				r.ok(t, `rm "$R/_oci/tmp"`)
			}
			r.errorsSay(t, "rename", "/"+r.name+"/_oci/tmp", "not JSON")
			require.Equal(t, before, r.ok(t, `cat "$R/_oci/index.json"`))
			r.requireTag(t, "v1", i.manifest)
		}},
		{"a blob is what its name says", func(t *testing.T, r *repo) {
			f, other := r.random(t, "f", 1000), r.random(t, "other", 1000)
			r.fails(t, "Bad message", `cp "$1" "$R/_oci/tmp"; mv "$R/_oci/tmp" "$R/_oci/blobs/sha256/$2"`, f.path, other.hex)
			r.fails(t, "Bad message", `cp "$1" "$R/_oci/blobs/sha256/$2"`, f.path, other.hex)
			r.isGone(t, r.dir()+"/_oci/blobs/sha256/"+other.hex)
			r.ok(t, `mv "$R/_oci/tmp" "$R/_oci/blobs/sha256/$1"; ! test -e "$R/_oci/tmp"`, f.hex)
			r.requireBlob(t, f)
			r.fails(t, "Operation not permitted", `mv "$R/_oci/blobs/sha256/$1" "$R/_oci/tmp"`, f.hex)
			r.ok(t, `cat "$1" > "$R/_oci/blobs/sha256/$2"; cp "$1" "$R/_oci/tmp"; mv -f "$R/_oci/tmp" "$R/_oci/blobs/sha256/$2"`, f.path, f.hex)
			r.requireBlob(t, f)
		}},
		{"other names are temporaries", func(t *testing.T, r *repo) {
			r.ok(t, `cd "$R/_oci"; mkdir -m 700 .umoci-1; mkdir -p ingest/a/b; echo one > ingest/a/b/data; echo two > index.json.lock; echo three > blobs/sha256/x.tmp`)
			require.Equal(t, ".umoci-1\nblobs\nindex.json\nindex.json.lock\ningest\noci-layout", r.ok(t, `ls -A "$R/_oci"`))
			require.Empty(t, r.ok(t, `ls -A "$R/_oci/blobs/sha256"`))
			require.Equal(t, "one\nthree", r.ok(t, `cat "$R/_oci/ingest/a/b/data" "$R/_oci/blobs/sha256/x.tmp"`))
			r.fails(t, "Directory not empty", `rmdir "$R/_oci/ingest/a"`)
			r.fails(t, "Directory not empty", `mv -T "$R/_oci/.umoci-1" "$R/_oci/ingest"`)
			r.fails(t, "Is a directory", `unlink "$R/_oci/.umoci-1"`)
			r.fails(t, "File exists", `mkdir "$R/_oci/.umoci-1"`)
			r.fails(t, "Operation not permitted", `ln -s x "$R/_oci/link"`)
			r.ok(t, `cd "$R/_oci"; mv ingest/a .umoci-1/c; test "$(cat .umoci-1/c/b/data)" = one; ls -A ingest; mv -T .umoci-1/c ingest; test "$(cat ingest/b/data)" = one
				exec 9<ingest; flock -xn 9; chmod 755 ingest; touch ingest ingest/b/data; chmod 444 ingest/b/data; sync ingest/b/data
				rm -rf ingest .umoci-1 index.json.lock; mkdir ingest; test -z "$(ls -A ingest)"; rmdir ingest`)
			r.ok(t, `rm "$R/_oci/blobs/sha256/x.tmp"`)
			require.Equal(t, "blobs\nindex.json\noci-layout", r.ok(t, `ls -A "$R/_oci"`))
			require.Empty(t, r.ok(t, `ls "$R/_uploads"`))
		}},
		{"what others do meanwhile stays", func(t *testing.T, r *repo) {
			a, b := r.pushedByLayout(t, "a", "v1"), r.pushedByLayout(t, "b", "v2")
			r.ok(t, `ln -s v1 "$R/_tags/v3"; ln -s v1 "$R/_tags/v4"`)
			r.editLayout(t, `(.manifests[] | select(`+entryName+` == "v2")) as $v2 | .manifests |= [.[] | select(`+entryName+` != "v1")] | .manifests += [$v2 | `+entryName+` = "mine"]`,
				`ln -sfn v2 "$R/_tags/v3"; rm "$R/_tags/v4"; ln -s v1 "$R/_tags/theirs"`)
			require.Equal(t, "mine\ntheirs\nv2\nv3", r.ok(t, `ls "$R/_tags"`), "v1 was removed here, v4 there")
			r.requireTag(t, "mine", b.manifest)
			r.requireTag(t, "v3", b.manifest)
			r.requireTag(t, "theirs", a.manifest)
			r.editLayout(t, `.manifests |= [.[] | select(`+entryName+` == "v2") | `+entryName+` = "theirs"]`, `ln -sfn v1 "$R/_tags/theirs" || true`)
			require.Equal(t, "theirs", r.ok(t, `ls "$R/_tags"`))
			r.requireTag(t, "theirs", b.manifest)
		}},
		{"an index that is not remembered undoes no move of a tag", func(t *testing.T, r *repo) {
			a, b := r.pushedByLayout(t, "a", "v1"), r.pushedByLayout(t, "b", "v2")
			r.ok(t, `ln -sfn v2 "$R/_tags/v1"`)
			entries, err := json.Marshal([]object{layoutEntry(t, "v1", a.manifest), layoutEntry(t, "v3", a.manifest)})
			require.NoError(t, err)
			r.fails(t, "Stale file handle", `printf '{"schemaVersion":2,"manifests":%s,"annotations":{"registryfs.generation":"lost"}}' "$1" > "$W/stale"; cp "$W/stale" "$R/_oci/index.json"`, string(entries))
			require.Equal(t, "v1\nv2", r.ok(t, `ls "$R/_tags"`))
			r.requireTag(t, "v1", b.manifest)
			r.ok(t, `jq -c 'del(.annotations)' "$W/stale" > "$R/_oci/.new"; mv "$R/_oci/.new" "$R/_oci/index.json"`)
			r.requireTag(t, "v1", a.manifest)
			r.requireTag(t, "v3", a.manifest)
		}},
		{"unlinking succeeds and takes nothing away", func(t *testing.T, r *repo) {
			i := r.pushedByLayout(t, "a", "v1")
			f := r.random(t, "f", 10)
			r.putLayoutBlobs(t, f)
			r.ok(t, `rm "$R"/_oci/blobs/sha256/*; rm "$R/_oci/blobs/sha256/$1"`, f.hex)
			require.Equal(t, "4", r.ok(t, `ls "$R/_oci/blobs/sha256" | wc -l`))
			for _, f := range append(i.blobs(), f) {
				r.requireBlob(t, f)
			}
			r.requireTag(t, "v1", i.manifest)
			r.fails(t, "No such file", `rm "$R/_oci/blobs/sha256/$1"`, strings.Repeat("0", 64))
		}},
		{"a writer that is killed half way changes nothing", func(t *testing.T, r *repo) {
			r.pushedByLayout(t, "a", "v1")
			i := r.image(t, "b")
			r.putLayoutBlobs(t, append(i.blobs(), i.manifest)...)
			before := r.ok(t, `cat "$R/_oci/index.json"; find "$R/_oci" "$R/_tags" "$R/_manifests" | sort`)
			p := r.start(t, "sh", "-ec", `exec 3> "$R/_oci/index.json"; printf '{"schemaVersion":2,"manifests":[]}' >&3; echo written; cat`)
			require.Equal(t, "written", p.line(t))
			p.killAll()
			p.finish(t)
			r.until(t, `test -z "$(ls "$R/_uploads")"`)
			require.Equal(t, before, r.ok(t, `cat "$R/_oci/index.json"; find "$R/_oci" "$R/_tags" "$R/_manifests" | sort`))
		}},
		{"hard links to content of other views and repositories", func(t *testing.T, r *repo) {
			i, other := r.pushed(t, "a", "v1"), r.mount.repo(t)
			other.ok(t, `for blob in "$1"/_oci/blobs/sha256/*; do ln "$blob" "$R/_oci/blobs/sha256/"; done`, r.dir())
			require.Empty(t, other.ok(t, `ls "$R/_tags"; ls "$R/_manifests/sha256"; ls "$R/_oci/blobs/sha256"`))
			other.ok(t, `jq -c 'del(.annotations)' "$1/_oci/index.json" > "$W/index"; cp "$W/index" "$R/_oci/index.json"`, r.dir())
			other.requireTag(t, "v1", i.manifest)
			other.ok(t, `jq -c . "$1/_oci/index.json" > "$W/index"; cp "$W/index" "$R/_oci/index.json"`, r.dir())
		}},
	})
}

func TestLayoutOptions(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	m := newMount(t, serveOptions{Store: store, ImmutableTags: true, SparseIndexes: true})
	r := m.repo(t)
	a, b := r.pushedByLayout(t, "a", "v1"), r.image(t, "b")
	t.Run("tags that are immutable can be added, not moved or removed", func(t *testing.T) {
		got := r.tryLayoutPush(t, "skopeo", "v1", b.manifest, b.blobs()...)
		require.Contains(t, got.stderr, "Operation not permitted")
		require.NotZero(t, r.sh(t, editLayout, `.manifests |= [.[] | `+entryName+` = "v2"]`, "").status)
		require.Equal(t, "v1 "+a.manifest.digest(), r.layoutTags(t), "nor is anything else done")
		r.layoutPush(t, "skopeo", "v1", a.manifest, a.blobs()...)
		r.layoutPush(t, "skopeo", "v2", b.manifest, b.blobs()...)
	})
	t.Run("a sparse index needs none of its images", func(t *testing.T) {
		index := r.index(t, "index", a, r.image(t, "absent"))
		r.layoutPush(t, "skopeo", "v3", index)
		r.requireTag(t, "v3", index)
	})
	before := r.ok(t, `cat "$R/_oci/index.json"`)
	m.stop(t)
	r = newMount(t, serveOptions{Store: store, ReadOnly: true}).named(t, r.name)
	t.Run("a layout can be read where nothing can be written", func(t *testing.T) {
		require.Equal(t, before, r.ok(t, `cat "$R/_oci/index.json"`))
		require.Equal(t, "9", r.ok(t, `ls "$R/_oci/blobs/sha256" | wc -l`))
		r.fails(t, "Read-only file system", `echo x > "$R/_oci/index.json"`)
		r.fails(t, "Read-only file system", `mkdir "$R/_oci/ingest"`)
	})
}

func TestLayoutWithDeletion(t *testing.T) {
	onEach(t, serveOptions{AllowDelete: true}, []mountCase{
		{"unlinking takes away what nothing references", func(t *testing.T, r *repo) {
			i := r.pushedByLayout(t, "a", "v1")
			f := r.random(t, "f", 10)
			r.putLayoutBlobs(t, f)
			r.ok(t, `rm "$R"/_oci/blobs/sha256/*`)
			require.Equal(t, "4", r.ok(t, `ls "$R/_oci/blobs/sha256" | wc -l`))
			r.requireTag(t, "v1", i.manifest)
			r.ok(t, `rm "$R/_oci/blobs/sha256/$1"`, f.hex)
			r.isGone(t, r.dir()+"/_blobs/sha256/"+f.hex)
			r.ok(t, `rm "$R/_tags/v1" "$R/_oci/blobs/sha256/$1"; rm "$R"/_oci/blobs/sha256/* 2>/dev/null || rm "$R"/_blobs/sha256/*`, i.manifest.hex)
			require.Empty(t, r.ok(t, `ls "$R/_oci/blobs/sha256"; ls "$R/_manifests/sha256"; ls "$R/_blobs/sha256"`))
		}},
	})
}

func TestLayoutsInParallel(t *testing.T) {
	const pushes = 10 // of each writer
	onEach(t, serveOptions{}, []mountCase{
		{"8 writers at once lose nothing", func(t *testing.T, r *repo) {
			i := r.image(t, "image")
			r.putLayoutBlobs(t, i.blobs()...)
			r.ok(t, `
				for how in truncate rename inplace bare; do for n in 1 2; do
					FSMOUNT_TEST_ROLE=layout "$SELF" "$R/_oci" $how "$1" "$how-$n-" "$2" & pids="${pids-} $!"
				done; done
				status=0
				for pid in $pids; do wait $pid || status=1; done
				exit $status`, i.manifest.path, strconv.Itoa(pushes))
			require.Equal(t, strconv.Itoa(8*pushes), r.ok(t, `ls "$R/_tags" | wc -l`))
			require.Equal(t, strconv.Itoa(8*pushes), r.ok(t, `jq '.manifests | length' "$R/_oci/index.json"`))
			// Who writes onto a name that is there may mean a blob: then the
			// manifest stays one.
			require.Equal(t, "3", r.ok(t, `ls "$R/_blobs/sha256" | grep -vc "$1"`, i.manifest.hex))
			require.Equal(t, i.manifest.hex, r.ok(t, `ls "$R/_manifests/sha256"`))
			r.until(t, `test -z "$(ls "$R/_uploads")"`)
		}},
	})
}
