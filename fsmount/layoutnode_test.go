package fsmount

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/memdriver"
	"registryfs/manifest"
	"registryfs/storage"
)

// layoutText is the entries of a layout, a word each: v1=<digest>.
func (f *fileSystem) layoutText(t *testing.T, repo string) string {
	t.Helper()
	l, err := f.layout(t.Context(), repo)
	require.NoError(t, err)
	var words []string
	for _, e := range l.Entries {
		words = append(words, e.Tag+"="+e.Digest.String())
	}
	return strings.Join(words, " ")
}

// putIndex stores an index of manifests.
func (f *fileSystem) putIndex(t *testing.T, repo string, children ...manifest.Descriptor) digest.Digest {
	t.Helper()
	index, err := (&manifest.IndexBuilder{Manifests: children}).Build()
	require.NoError(t, err)
	put, err := f.repository(t, repo).Manifests().Put(t.Context(), "", index.Payload())
	require.NoError(t, err)
	return put.Digest
}

func TestLayoutOfARepository(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	require.Empty(t, f.layoutText(t, "nowhere"))
	_, a := f.putImage(t, "app", "v1")
	_, b := f.putImage(t, "app", "v2")
	_, c := f.putImage(t, "app", "v3")
	tags := f.repository(t, "app").Tags()
	require.NoError(t, tags.Untag(t.Context(), "v2"))
	require.NoError(t, tags.Untag(t.Context(), "v3"))
	require.NoError(t, tags.Tag(t.Context(), "a", a))
	nameless := []string{"=" + b.String(), "=" + c.String()}
	slices.Sort(nameless)
	require.Equal(t, fmt.Sprintf("a=%s v1=%s %s", a, a, strings.Join(nameless, " ")), f.layoutText(t, "app"))

	size := int64(len(f.payload(t, "app", b)))
	arm := &manifest.Platform{OS: "linux", Architecture: "arm64"}
	index := f.putIndex(t, "app", manifest.Descriptor{MediaType: manifest.MediaTypeOCIManifest, Digest: b, Size: size, Platform: arm})
	outer := f.putIndex(t, "app", manifest.Descriptor{MediaType: manifest.MediaTypeOCIIndex, Digest: index, Size: int64(len(f.payload(t, "app", index)))})
	nameless = []string{"=" + outer.String(), "=" + c.String()}
	slices.Sort(nameless)
	require.Equal(t, fmt.Sprintf("a=%s v1=%s %s", a, a, strings.Join(nameless, " ")), f.layoutText(t, "app"),
		"an index that no tag names is listed, and what it reaches is not")
	require.NoError(t, tags.Tag(t.Context(), "b", b))
	l, err := f.layout(t.Context(), "app")
	require.NoError(t, err)
	require.Equal(t, manifest.LayoutEntry{Tag: "b", Descriptor: manifest.Descriptor{
		MediaType: manifest.MediaTypeOCIManifest, Digest: b, Size: size, Platform: arm,
	}}, l.Entries[1])
	first, _, err := l.Encode()
	require.NoError(t, err)
	other := newFileSystem("/mnt/other", f.registry, Options{})
	l, err = other.layout(t.Context(), "app")
	require.NoError(t, err)
	again, _, err := l.Encode()
	require.NoError(t, err)
	require.Equal(t, first, again, "in every mount")
}

func (f *fileSystem) payload(t *testing.T, repo string, d digest.Digest) []byte {
	t.Helper()
	payload, err := readManifest(t.Context(), f.repository(t, repo), d)
	require.NoError(t, err)
	return payload
}

func TestFactsOfManifests(t *testing.T) {
	require.Equal(t, &facts{mediaType: manifest.MediaTypeOctetStream, size: 3}, factsOf([]byte("abc")))
	require.Equal(t, "application/vnd.x+json", factsOf([]byte(`{"mediaType":"application/vnd.x+json"}`)).mediaType, "of unknown type, and it is listed")
	m := newManifestFacts()
	many := make([]digest.Digest, maxFacts/4)
	for i := range 8 {
		m.put(named(fmt.Sprint(i)), &facts{blobs: many})
		m.put(named(fmt.Sprint(i)), &facts{blobs: many})
		require.LessOrEqual(t, m.cost, maxFacts)
		require.NotNil(t, m.get(named(fmt.Sprint(i))))
	}
	require.Len(t, m.of, 3)
}

// manyTags is how many tags a layout must bear.
const manyTags = 10_000

func TestLayoutOfManyManifests(t *testing.T) {
	reg, err := storage.Open(t.Context(), memdriver.New(), storage.Options{Create: true})
	require.NoError(t, err)
	counted := &countingRepositories{opened: map[digest.Digest]int{}}
	f := newFileSystem("/mnt/reg", storage.Wrap(reg, counted.wrap), Options{AttrTimeout: time.Minute})
	const images = 50 // each with many tags: putting them is what takes long
	var digests []digest.Digest
	for i := range images {
		_, d := f.putImage(t, "app", fmt.Sprint("image", i))
		digests = append(digests, d)
	}
	n := manyTags
	if testing.Short() {
		n /= 10
	}
	tags := f.repository(t, "app").Tags()
	for i := range n - images {
		require.NoError(t, tags.Tag(t.Context(), fmt.Sprint("v", i), digests[i%images]))
	}
	clear(counted.opened)
	node, err := f.lookup(t.Context(), "app", "_oci", "index.json")
	require.NoError(t, err)
	for range 3 {
		l, err := f.layout(t.Context(), "app")
		require.NoError(t, err)
		require.Len(t, l.Entries, n)
		require.NoError(t, f.reached(t.Context(), f.repository(t, "app"), func(digest.Digest) error { return nil }))
	}
	require.Len(t, counted.opened, images)
	for d, times := range counted.opened {
		require.Equal(t, 1, times, "%s is read once", d)
	}

	// To say how long it is takes long where it has changed.
	var a fuse.Attr
	require.True(t, node.(layoutFile).IsSlow(&fuse.GetattrRequest{}))
	require.NoError(t, node.Attr(t.Context(), &a))
	size := a.Size
	tagsDir, err := f.lookup(t.Context(), "app", "_tags")
	require.NoError(t, err)
	require.NoError(t, tagsDir.(fusefs.NodeRemover).Remove(t.Context(), &fuse.RemoveRequest{Name: "v0"}))
	require.True(t, node.(layoutFile).IsSlow(&fuse.GetattrRequest{}))
	require.NoError(t, node.Attr(t.Context(), &a))
	require.Less(t, a.Size, size)
}

// countingRepositories counts how often each manifest is opened.
type countingRepositories struct{ opened map[digest.Digest]int }

func (c *countingRepositories) wrap(r storage.Repository) storage.Repository {
	return countingRepository{r, c}
}

type countingRepository struct {
	storage.Repository
	counts *countingRepositories
}

func (r countingRepository) Unwrap() storage.Repository { return r.Repository }

func (r countingRepository) Manifests() storage.ManifestStore {
	return countingManifests{r.Repository.Manifests(), r.counts}
}

type countingManifests struct {
	storage.ManifestStore
	counts *countingRepositories
}

func (m countingManifests) Open(ctx context.Context, d digest.Digest, options ...storage.OpenOption) (storage.Blob, error) {
	m.counts.opened[d]++
	return m.ManifestStore.Open(ctx, d, options...)
}

func TestOldTemporariesGo(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	at := place{repo: "app", view: viewLayout}
	dir, err := f.newScratchDir(at, ".umoci-1")
	require.NoError(t, err)
	tg, err := dir.place().targetOf("blob-1")
	require.NoError(t, err)
	file, err := f.newStagedFile(tg)
	require.NoError(t, err)
	f.names.put(dir.place(), "blob-1", local{file: file})
	_, err = file.content().writeAt(t.Context(), []byte("abc"), 0)
	require.NoError(t, err)
	file.touched()
	h, err := file.openForWriting(self().Pid, fuse.OpenReadWrite, &fuse.OpenResponse{})
	require.NoError(t, err)

	now := time.Now()
	require.True(t, f.sweep(now.Add(2*scratchAge)), "somebody writes to it")
	h.end(t.Context(), false)
	require.True(t, f.sweep(now.Add(scratchAge/2)))
	_, err = f.lookup(t.Context(), "app", "_oci", ".umoci-1", "blob-1")
	require.NoError(t, err)
	for f.sweep(now.Add(2 * scratchAge)) { // the directory may go in the second
	}
	_, err = f.lookup(t.Context(), "app", "_oci", ".umoci-1")
	require.Equal(t, syscall.ENOENT, errnoOfAnswer(err))
	uploads, err := f.repository(t, "app").Blobs().Uploads(t.Context())
	require.NoError(t, err)
	require.Empty(t, uploads)
}

func TestOldTemporaryLinksGo(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	tags, now := place{repo: "app", view: viewTags}, time.Now()
	_, err := f.makeLink(t.Context(), self().Pid, tags, ".v1.tmp", "v1")
	require.NoError(t, err)
	require.True(t, f.sweeping.Load(), "it is looked for")
	require.True(t, f.sweep(now.Add(scratchAge/2)))
	_, ok := f.names.get(tags, ".v1.tmp")
	require.True(t, ok)
	require.False(t, f.sweep(now.Add(2*scratchAge)))
	_, ok = f.names.get(tags, ".v1.tmp")
	require.False(t, ok)
}

// skopeo delete removes the files of an image before it takes the image out of
// index.json: they go where that was the last that named them, and only where
// deletion is allowed.
func TestFilesRemovedBeforeTheirEntry(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		t.Run(fmt.Sprint("deletion allowed: ", allowed), func(t *testing.T) {
			f := newTestFileSystem(t, Options{AllowDelete: allowed})
			repo := f.repository(t, "app")
			configA, a := f.putImage(t, "app", "v1")
			configB, b := f.putImage(t, "app", "v2")
			require.NoError(t, repo.Tags().Tag(t.Context(), "also", b))
			_, unseen := f.putImage(t, "app", "v3")
			require.NoError(t, repo.Tags().Untag(t.Context(), "v3"))

			l := f.readIndex(t, "app")
			_, later := f.putImage(t, "app", "v4") // by somebody else
			require.NoError(t, repo.Tags().Untag(t.Context(), "v4"))
			blobs, err := f.lookup(t.Context(), "app", "_oci", "blobs", "sha256")
			require.NoError(t, err)
			for _, d := range []digest.Digest{configA, a, configB, b, later} {
				require.NoError(t, blobs.(fusefs.NodeRemover).Remove(t.Context(), &fuse.RemoveRequest{Header: self(), Name: d.Encoded()}))
				_, err := f.lookup(t.Context(), "app", "_oci", "blobs", "sha256", d.Encoded())
				require.NoError(t, err, "it is still needed")
			}
			l.Entries = slices.DeleteFunc(l.Entries, func(e manifest.LayoutEntry) bool { return e.Tag == "v1" || e.Tag == "v2" })
			f.writeIndex(t, "app", l)
			names, err := repo.Tags().All(t.Context())
			require.NoError(t, err)
			require.Equal(t, []string{"also"}, names)
			for d, stays := range map[digest.Digest]bool{configA: !allowed, a: !allowed, configB: true, b: true, unseen: true, later: true} {
				_, err := f.lookup(t.Context(), "app", "_oci", "blobs", "sha256", d.Encoded())
				require.Equal(t, stays, err == nil, d)
			}
		})
	}
}

// self says that this process makes a request.
func self() fuse.Header { return fuse.Header{Pid: uint32(os.Getpid())} }

// readIndex reads an index as this process.
func (f *fileSystem) readIndex(t *testing.T, repo string) *manifest.Layout {
	t.Helper()
	node, err := f.lookup(t.Context(), repo, "_oci", "index.json")
	require.NoError(t, err)
	h, err := node.(fusefs.NodeOpener).Open(t.Context(), &fuse.OpenRequest{Header: self()}, &fuse.OpenResponse{})
	require.NoError(t, err)
	payload, err := h.(fusefs.HandleReadAller).ReadAll(t.Context())
	require.NoError(t, err)
	l, err := manifest.ParseLayout(payload)
	require.NoError(t, err)
	return l
}

// writeIndex writes an index as this process, keeping of it only the entries.
func (f *fileSystem) writeIndex(t *testing.T, repo string, l *manifest.Layout) {
	t.Helper()
	payload, _, err := l.Encode()
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(payload, &doc))
	delete(doc, "annotations")
	payload, err = json.Marshal(doc)
	require.NoError(t, err)
	node, err := f.lookup(t.Context(), repo, "_oci", "index.json")
	require.NoError(t, err)
	h, err := node.(fusefs.NodeOpener).Open(t.Context(), &fuse.OpenRequest{Header: self(), Flags: fuse.OpenWriteOnly}, &fuse.OpenResponse{})
	require.NoError(t, err)
	w := h.(*writeHandle)
	require.NoError(t, w.Write(t.Context(), &fuse.WriteRequest{Header: self(), Data: payload}, &fuse.WriteResponse{}))
	require.NoError(t, w.Flush(t.Context(), &fuse.FlushRequest{Header: self()}))
	require.NoError(t, w.Release(t.Context(), &fuse.ReleaseRequest{Header: self()}))
}
