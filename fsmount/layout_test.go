package fsmount_test

import (
	"encoding/json"
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
		cat "$W/$MANIFEST" > "$R/_oci/blobs/sha256/$MANIFEST"
		printf '{"imageLayoutVersion": "1.0.0"}' > "$R/_oci/oci-layout"
		cat "$W/index.$TAG" > "$R/_oci/index.json"`,
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
		cat "$W/index.$TAG" > "$R/_oci/index.json"`,
	// Names that begin with the digest, the rest in place, a whole reference
	// for a name, and the same entry twice.
	"crane": `
		for blob in $BLOBS; do cp "$W/$blob" "$R/_oci/blobs/sha256/${blob}2343928635"; mv -f "$R/_oci/blobs/sha256/${blob}2343928635" "$R/_oci/blobs/sha256/$blob"; done
		cat "$W/$MANIFEST" > "$R/_oci/blobs/sha256/$MANIFEST"
		jq --argjson e "$ENTRY" '($e | .annotations["org.opencontainers.image.ref.name"] |= "127.0.0.1:5000/team/app:" + .) as $e | .manifests += [$e, $e]' "$R/_oci/index.json" > "$W/index.$TAG"
		cat "$W/index.$TAG" > "$R/_oci/index.json"`,
}

// layoutPush pushes files that make up an image by way of a writer.
func (r *repo) layoutPush(t *testing.T, writer, tag string, m file, blobs ...file) {
	t.Helper()
	result := r.tryLayoutPush(t, writer, tag, m, blobs...)
	require.Zero(t, result.status, "%s\n%s%s", writer, result.stdout, result.stderr)
}

func (r *repo) tryLayoutPush(t *testing.T, writer, tag string, m file, blobs ...file) result {
	t.Helper()
	entry, err := json.Marshal(layoutEntry(tag, m))
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
func layoutEntry(tag string, m file) object {
	entry := descriptor(manifest.MediaTypeOCIManifest, m)
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
