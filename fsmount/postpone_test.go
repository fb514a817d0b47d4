package fsmount

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
)

// lateImage is a manifest that a repository does not have, but for which it has
// the rest.
func (f *fileSystem) lateImage(t *testing.T, repo string) (payload []byte, d digest.Digest) {
	t.Helper()
	config, _ := f.putImage(t, repo, "other")
	payload, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIManifest, "layers": []any{}, "annotations": map[string]any{"is": "late"},
		"config": manifest.Descriptor{MediaType: manifest.MediaTypeOCIConfig, Digest: config, Size: 24},
	})
	require.NoError(t, err)
	return payload, digest.FromBytes(payload)
}

func TestWaitsOfTagsEnd(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	payload, late := f.lateImage(t, "app")
	tags := place{repo: "app", view: viewTags}
	require.NoError(t, f.postpone(t.Context(), me().Pid, placeName{tags, "v1"}, late.String(), late))
	require.True(t, f.sweeping.Load(), "it is looked for")
	now := time.Now()
	require.True(t, f.sweep(now.Add(pendingAge/2)))
	_, err := f.lookup(t.Context(), "app", "_tags", "v1")
	require.NoError(t, err)
	require.Empty(t, f.failures.content())
	require.False(t, f.sweep(now.Add(2*pendingAge)))
	_, err = f.lookup(t.Context(), "app", "_tags", "v1")
	require.Equal(t, syscall.ENOENT, errnoOfAnswer(err))
	require.Contains(t, string(f.failures.content()), "symlink /app/_tags/v1 manifest "+late.String()+" never came")

	h := f.createFile(t, "_manifests", "late")
	h.writeString(t, string(payload))
	require.NoError(t, h.flush(t, me().Pid))
	_, err = f.lookup(t.Context(), "app", "_tags", "v1")
	require.Equal(t, syscall.ENOENT, errnoOfAnswer(err), "it waits no longer")
}

func TestATagWaitsForWhatIsThereByNow(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	_, image := f.putImage(t, "app", "other")
	tags := place{repo: "app", view: viewTags}
	require.NoError(t, f.postpone(t.Context(), me().Pid, placeName{tags, "v1"}, image.String(), image))
	tag, err := f.tag(t.Context(), "app", "v1")
	require.NoError(t, err)
	require.Equal(t, image, tag.Digest)
	require.Empty(t, f.pending.tags)
}

// An index of images waits for one after the other.
func TestATagWaitsForAllThatItLacks(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	payload, late := f.lateImage(t, "app")
	desc := manifest.Descriptor{MediaType: manifest.MediaTypeOCIManifest, Digest: late, Size: int64(len(payload))}
	index, err := (&manifest.IndexBuilder{Manifests: []manifest.Descriptor{desc}}).Build()
	require.NoError(t, err)
	tags, d := place{repo: "app", view: viewTags}, digest.FromBytes(index.Payload())
	require.NoError(t, f.postpone(t.Context(), me().Pid, placeName{tags, "v1"}, d.String(), d))
	for _, content := range [][]byte{index.Payload(), payload} {
		_, err := f.tag(t.Context(), "app", "v1")
		require.Error(t, err)
		h := f.createFile(t, "_manifests", digest.FromBytes(content).String())
		h.writeString(t, string(content))
		require.NoError(t, h.flush(t, me().Pid))
	}
	tag, err := f.tag(t.Context(), "app", "v1")
	require.NoError(t, err)
	require.Equal(t, d, tag.Digest)
	require.Empty(t, f.pending.tags)
	require.Empty(t, f.failures.content())
}

func TestALayoutEndsTheWaitOfATag(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	payload, late := f.lateImage(t, "app")
	_, image := f.putImage(t, "app", "v2")
	tags := place{repo: "app", view: viewTags}
	require.NoError(t, f.postpone(t.Context(), me().Pid, placeName{tags, "v1"}, late.String(), late))
	l := f.readIndex(t, "app")
	desc := manifest.Descriptor{MediaType: manifest.MediaTypeOCIManifest, Digest: image, Size: int64(len(f.payload(t, "app", image)))}
	l.Entries = append(l.Entries, manifest.LayoutEntry{Descriptor: desc, Tag: "v1"})
	f.writeIndex(t, "app", l)
	h := f.createFile(t, "_manifests", "late")
	h.writeString(t, string(payload))
	require.NoError(t, h.flush(t, me().Pid))
	tag, err := f.tag(t.Context(), "app", "v1")
	require.NoError(t, err)
	require.Equal(t, image, tag.Digest)
}
