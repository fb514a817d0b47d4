package fsmount

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"bazil.org/fuse"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
)

func TestOpenFilesAreLimited(t *testing.T) {
	require.Equal(t, 32, openFilesOf(64), "half of few")
	require.Equal(t, 10_000-reservedFiles, openFilesOf(10_000))
	require.Equal(t, maxOpenFiles, openFilesOf(1<<30))
	require.Zero(t, openFilesOf(0))

	f := newTestFileSystem(t, Options{})
	f.files.max = readerFiles + writerFiles
	_, image := f.putImage(t, "app", "v1")
	node := blobFile{f, "app", image}
	open := func() (*contentReader, error) {
		h, err := node.Open(t.Context(), &fuse.OpenRequest{Header: *me(), Flags: fuse.OpenReadOnly}, &fuse.OpenResponse{})
		if err != nil {
			return nil, err
		}
		return h.(*contentReader), nil
	}
	write := func(h *writeHandle) error {
		return h.Write(t.Context(), &fuse.WriteRequest{Header: *me(), Data: []byte("x")}, &fuse.WriteResponse{})
	}
	reader, err := open()
	require.NoError(t, err)
	one, two := f.createFile(t, "_blobs", "one"), f.createFile(t, "_blobs", "two")
	require.NoError(t, write(one))
	require.Equal(t, syscall.EMFILE, write(two))
	_, err = open()
	require.Equal(t, syscall.EMFILE, err)
	require.Contains(t, string(f.failures.content()), "ulimit")

	require.NoError(t, one.flush(t, me().Pid), "which is published, and not open any more")
	require.NoError(t, write(two), "a failure to begin is not final")
	require.NoError(t, two.Release(t.Context(), &fuse.ReleaseRequest{}))
	require.NoError(t, reader.Release(t.Context(), &fuse.ReleaseRequest{}))
	for range 10 { // what fails takes nothing
		missing := blobFile{f, "app", digest.FromBytes([]byte("missing"))}
		_, err := missing.Open(t.Context(), &fuse.OpenRequest{Header: *me()}, &fuse.OpenResponse{})
		require.Equal(t, syscall.ESTALE, err)
	}
	require.NoError(t, one.Release(t.Context(), &fuse.ReleaseRequest{}))
	require.Zero(t, f.files.used)
}

// Each way in which what was written ends gives back what it took.
func TestOpenFilesAreGivenBack(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	blobs := place{repo: "app", view: viewBlobs}
	for name, end := range map[string]func(h *writeHandle) error{
		"publish": func(h *writeHandle) error { return h.flush(t, me().Pid) },
		"drop":    func(h *writeHandle) error { return h.bytes.drop(t.Context()) },
		"keep": func(h *writeHandle) error {
			_, err := h.bytes.keep()
			return err
		},
	} {
		h := f.createFile(t, "_blobs", name)
		h.writeString(t, name)
		require.Equal(t, writerFiles, f.files.used)
		require.NoError(t, end(h))
		require.Zero(t, f.files.used, name)
		require.NoError(t, h.Release(t.Context(), &fuse.ReleaseRequest{}))
		require.Zero(t, f.files.used, name)
	}
	uploads := f.uploads(t)
	require.Len(t, uploads, 1)
	up := uploadFile{f, place{repo: "app", view: viewUploads}, uploads[0].ID}
	h, err := up.Open(t.Context(), &fuse.OpenRequest{Header: *me(), Flags: fuse.OpenReadWrite}, &fuse.OpenResponse{})
	require.NoError(t, err)
	require.Equal(t, writerFiles, f.files.used)
	_, err = up.Open(t.Context(), &fuse.OpenRequest{Header: *me(), Flags: fuse.OpenReadWrite}, &fuse.OpenResponse{})
	require.Equal(t, syscall.EBUSY, err)
	require.Equal(t, writerFiles, f.files.used)
	require.NoError(t, h.(*writeHandle).Release(t.Context(), &fuse.ReleaseRequest{}))
	require.Zero(t, f.files.used)
	_, named := f.names.get(blobs, "publish")
	require.True(t, named)
}

func TestFileSizeIsLimited(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	h := f.createFile(t, "_blobs", "f")
	write := func(off int64) error {
		return h.Write(t.Context(), &fuse.WriteRequest{Header: *me(), Data: []byte("x"), Offset: off}, &fuse.WriteResponse{})
	}
	truncate := func(size uint64) error {
		return h.Setattr(t.Context(), &fuse.SetattrRequest{Header: *me(), Valid: fuse.SetattrSize, Size: size}, &fuse.SetattrResponse{})
	}
	require.NoError(t, write(0))
	require.Equal(t, syscall.EFBIG, write(maxFileSize))
	require.Equal(t, syscall.EFBIG, write(1<<62))
	require.Equal(t, syscall.EFBIG, truncate(maxFileSize+1))
	require.NoError(t, truncate(maxFileSize))
	require.NoError(t, truncate(1))
	require.NoError(t, h.flush(t, me().Pid), "and nothing is lost")
	require.True(t, f.hasBlob(t, "x"))
}

func TestFailuresAreLimited(t *testing.T) {
	var f failures
	long := strings.Repeat("x", maxFailuresSize/4)
	for i := range 10 {
		f.add(time.Now(), 1, "close", "/a", fmt.Sprint(i, " ", long))
	}
	require.LessOrEqual(t, f.length(), maxFailuresSize)
	require.Len(t, f.content(), f.length())
	require.Contains(t, string(f.content()), "/a 9 ")
	require.NotContains(t, string(f.content()), "/a 6 ")
	longer := strings.Repeat("y", 2*maxFailuresSize)
	f.add(time.Now(), 1, "close", "/a", longer)
	require.Contains(t, string(f.content()), longer, "the last is there, whatever its length")
	require.Equal(t, 1, strings.Count(string(f.content()), "\n"))
}

func TestWaitingIsLimited(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	root, err := f.Root()
	require.NoError(t, err)
	mkdir := func(name string) error {
		_, err := root.(repoDir).Mkdir(t.Context(), &fuse.MkdirRequest{Header: *me(), Name: name})
		return err
	}
	for i := range maxWaiting {
		require.NoError(t, mkdir(fmt.Sprint("repo", i)))
	}
	require.NoError(t, mkdir("repo5"), "which is there")
	require.Equal(t, syscall.ENOSPC, mkdir("one-more"))
	f.putImage(t, "repo7", "v1")
	require.NoError(t, mkdir("one-more"), "repo7 waits no longer")
	require.Equal(t, syscall.ENOSPC, mkdir("another"))
	_, err = f.lookup(t.Context(), "repo7", "_tags", "v1")
	require.NoError(t, err)
}

func TestTemporariesAreLimited(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	require.Equal(t, maxTemporaries, f.names.max)
	f.names.max = 5
	tags := place{repo: "app", view: viewTags}
	link := func(name, text string) error {
		_, err := f.makeLink(t.Context(), me().Pid, tags, name, text)
		return err
	}
	create := func(p place, name string) error {
		resp := fuse.CreateResponse{}
		_, h, err := f.create(p, &fuse.CreateRequest{Header: *me(), Name: name, Flags: fuse.OpenWriteOnly}, &resp)
		if err != nil {
			return err
		}
		err = h.(*writeHandle).flush(t, me().Pid)
		require.NoError(t, h.(*writeHandle).Release(t.Context(), &fuse.ReleaseRequest{}))
		return err
	}
	mkdir := func(name string) error {
		_, err := f.newScratchDir(place{repo: "app", view: viewLayout}, name)
		return err
	}
	require.NoError(t, create(tags, ".file"))
	require.NoError(t, create(tags, "placeholder"))
	require.NoError(t, link(".link", "v1"))
	require.NoError(t, link("#link", "v1"))
	require.NoError(t, mkdir("dir"))
	require.Equal(t, 5, f.names.temporaries)
	for name, err := range map[string]error{
		"a file":        create(tags, ".file2"),
		"a placeholder": create(tags, "placeholder2"),
		"a link":        link(".link2", "v1"),
		"a directory":   mkdir("dir2"),
		"a tag":         f.postpone(t.Context(), me().Pid, placeName{tags, "v2"}, "v1", digest.FromBytes(nil)),
	} {
		require.Equal(t, syscall.ENOSPC, errnoOf(err), name)
	}
	require.Equal(t, 5, f.names.temporaries)
	f.names.putAlias(place{repo: "app", view: viewBlobs}, "alias", digest.FromBytes(nil))
	h := f.createFile(t, "_blobs", "blob")
	h.writeString(t, "content is no temporary")
	require.NoError(t, h.flush(t, me().Pid))
	require.NoError(t, h.Release(t.Context(), &fuse.ReleaseRequest{}))

	require.NoError(t, f.removeName(t.Context(), tags, &fuse.RemoveRequest{Header: *me(), Name: ".link"}))
	require.NoError(t, link(".link2", "v1"))
	l, _ := f.names.get(tags, "placeholder")
	l.file.changed = time.Now().Add(-2 * placeholderAge)
	require.NoError(t, mkdir("dir2"), "nobody came back for the placeholder")
	layout := place{repo: "app", view: viewLayout}
	l, _ = f.names.get(layout, "dir2")
	require.NoError(t, f.removeDir(layout, "dir2", l.dir))
	require.Equal(t, 4, f.names.temporaries)
}

func TestTagsThatWaitAreLimited(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	require.Equal(t, maxPending, f.pending.max)
	f.pending.max = 3
	tags, image := place{repo: "app", view: viewTags}, digest.FromBytes(nil)
	postpone := func(name string) error {
		return f.postpone(t.Context(), me().Pid, placeName{tags, name}, image.String(), image)
	}
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, postpone(name))
	}
	require.Equal(t, syscall.ENOSPC, errnoOf(postpone("d")))
	_, ok := f.names.get(tags, "d")
	require.False(t, ok)
	require.NoError(t, postpone("b"), "that waits already")
	require.NoError(t, f.removeName(t.Context(), tags, &fuse.RemoveRequest{Header: *me(), Name: "a"}))
	require.NoError(t, postpone("d"), "the one that was removed waits no longer")
	require.Len(t, f.pending.awaiting(awaited{"app", image}), 3)
	require.Equal(t, 3, f.names.temporaries)
	require.False(t, f.abandon(func(*pendingTag) bool { return true }, "no reason"))
	require.Empty(t, f.pending.byManifest)
	require.Zero(t, f.names.temporaries)
	require.NoError(t, postpone("e"))
}

func TestSizesAreLimited(t *testing.T) {
	c := newContent()
	d := func(i int) digest.Digest { return digest.Digest(fmt.Sprintf("sha256:%064x", i)) }
	for i := range maxSizes + 10 {
		c.setSize(d(i), int64(i))
	}
	require.Len(t, c.known, maxSizes)
	size, ok := c.size(d(maxSizes + 9))
	require.True(t, ok)
	require.Equal(t, int64(maxSizes+9), size)
}

func TestChangesAreLimited(t *testing.T) {
	c := newChanges()
	seen := map[string]uint64{}
	for i := range 3 * maxChanges {
		name := fmt.Sprint("team/app", i)
		before := c.version(name)
		c.note(name)
		seen[name] = c.version(name)
		require.Greater(t, seen[name], before)
		require.Equal(t, seen[name], c.version(""))
		require.LessOrEqual(t, len(c.names), maxChanges+2)
	}
	for name, version := range seen {
		require.GreaterOrEqual(t, c.version(name), version, "what is forgotten counts as changed")
	}
}

func TestLayoutDepthIsLimited(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	repo := f.repository(t, "app")
	_, innermost := f.putImage(t, "app", "v1")
	desc := manifest.Descriptor{MediaType: manifest.MediaTypeOCIManifest, Digest: innermost, Size: int64(len(f.payload(t, "app", innermost)))}
	add := func() error {
		plan := &layoutPlan{fs: f, repo: repo, seen: map[digest.Digest]bool{}}
		return plan.add(t.Context(), desc, 0)
	}
	nest := func() {
		index := f.putIndex(t, "app", desc)
		desc = manifest.Descriptor{MediaType: manifest.MediaTypeOCIIndex, Digest: index, Size: int64(len(f.payload(t, "app", index)))}
	}
	for range maxLayoutDepth {
		nest()
	}
	require.NoError(t, add())
	nest()
	require.Equal(t, syscall.EINVAL, errnoOf(add()))
}

func TestLayoutVersionIsLimited(t *testing.T) {
	const version = `{"imageLayoutVersion":"1.0.0"}`
	for size, want := range map[int]error{len(version): nil, manifest.MaxLayoutVersionSize: nil, manifest.MaxLayoutVersionSize + 1: syscall.EFBIG} {
		content := []byte(version + strings.Repeat(" ", size-len(version)))
		s := &staging{}
		s.startWith(bytesBefore(content))
		require.Equal(t, want, errnoOf(checkLayoutVersion(t.Context(), s)))
	}
}
