package fsmount

import (
	"context"
	"encoding/json"
	"syscall"
	"testing"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/memdriver"
	"registryfs/fsmount/loop"
	"registryfs/manifest"
	"registryfs/storage"
)

// These tests call nodes as the server does, without a kernel.

// newTestFileSystem is a tree over a registry in memory, mounted nowhere.
func newTestFileSystem(t *testing.T, o Options) *fileSystem {
	t.Helper()
	reg, err := storage.Open(t.Context(), memdriver.New(), storage.Options{Create: true, AllowDelete: o.AllowDelete})
	require.NoError(t, err)
	return newFileSystem("/mnt/reg", reg, o)
}

// repository is a repository of the tree's registry.
func (f *fileSystem) repository(t *testing.T, name string) storage.Repository {
	t.Helper()
	repo, err := f.registry.Repository(name)
	require.NoError(t, err)
	return repo
}

// putImage stores an image of one blob, which is its configuration, under a
// tag.
func (f *fileSystem) putImage(t *testing.T, name, tag string) (blob, image digest.Digest) {
	t.Helper()
	repo := f.repository(t, name)
	config, err := repo.Blobs().Put(t.Context(), "", []byte(`{"made":"for `+name+` `+tag+`"}`))
	require.NoError(t, err)
	config.MediaType = manifest.MediaTypeOCIConfig
	payload, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIManifest, "config": config, "layers": []any{},
	})
	require.NoError(t, err)
	put, err := repo.Manifests().Put(t.Context(), "", payload)
	require.NoError(t, err)
	require.NoError(t, repo.Tags().Tag(t.Context(), tag, put.Digest))
	return config.Digest, put.Digest
}

// lookup finds the node of a path as the server would.
func (f *fileSystem) lookup(ctx context.Context, parts ...string) (fusefs.Node, error) {
	node, err := f.Root()
	for _, name := range parts {
		if err != nil {
			return nil, err
		}
		switch dir := node.(type) {
		case fusefs.NodeRequestLookuper:
			node, err = dir.Lookup(ctx, &fuse.LookupRequest{Name: name}, &fuse.LookupResponse{})
		case fusefs.NodeStringLookuper:
			node, err = dir.Lookup(ctx, name)
		default:
			return nil, syscall.ENOTDIR
		}
	}
	return node, err
}

func TestSameLookupSameNode(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	blob, image := f.putImage(t, "team/app", "v1")
	for _, path := range [][]string{
		{"team"}, {"team", "app"}, {"team", "app", "_blobs"}, {"team", "app", "_blobs", "sha256"},
		{"team", "app", "_blobs", "sha256", blob.Encoded()}, {"team", "app", "_blobs", blob.String()},
		{"team", "app", "_manifests", "sha256", image.Encoded()}, {"team", "app", "_tags"},
		{"team", "app", "_tags", "v1"}, {"team", "app", "_uploads"}, {".registryfs"}, {".registryfs", "errors"},
		{"team", "app", "_oci"}, {"team", "app", "_oci", "index.json"}, {"team", "app", "_oci", "oci-layout"},
		{"team", "app", "_oci", "blobs"}, {"team", "app", "_oci", "blobs", "sha256"}, {"team", "app", "_oci", "blobs", "sha256", blob.Encoded()},
		{"team", "app", "_images"}, {"team", "app", "_images", "v1"}, {"team", "app", "_images", "v1", "unknown"},
		{"team", "app", "_images", "v1", "unknown", "config.json"}, {"team", "app", "_images", "v1", "unknown", "layers"},
	} {
		first, err := f.lookup(t.Context(), path...)
		require.NoError(t, err, path)
		if n, ok := first.(loop.Known); ok {
			n.Known()
		}
		again, err := f.lookup(t.Context(), path...)
		require.NoError(t, err, path)
		require.True(t, first == again, path)
		nodes := map[fusefs.Node]bool{first: true} // the server uses nodes as keys
		require.True(t, nodes[again], path)
	}
}

func TestContentIsOneNodePerRepository(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	blob, _ := f.putImage(t, "a", "v1")
	_, err := f.repository(t, "b").Blobs().Mount(t.Context(), f.repository(t, "a"), blob)
	require.NoError(t, err)
	inA, err := f.lookup(t.Context(), "a", "_blobs", "sha256", blob.Encoded())
	require.NoError(t, err)
	inB, err := f.lookup(t.Context(), "b", "_blobs", "sha256", blob.Encoded())
	require.NoError(t, err)
	require.False(t, inA == inB)

	var a, b fuse.Attr
	require.NoError(t, inA.Attr(t.Context(), &a))
	require.NoError(t, inB.Attr(t.Context(), &b))
	require.Equal(t, a.Inode, b.Inode, "but one inode in the whole mount")
}

func TestADirectoryMadeAgainIsAnotherNode(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	root, err := f.Root()
	require.NoError(t, err)
	dir := root.(repoDir)
	made, err := dir.Mkdir(t.Context(), &fuse.MkdirRequest{Name: "new"})
	require.NoError(t, err)
	views, err := f.lookup(t.Context(), "new", "_blobs")
	require.NoError(t, err)
	require.NoError(t, dir.Remove(t.Context(), &fuse.RemoveRequest{Name: "new", Dir: true}))
	_, err = f.lookup(t.Context(), "new")
	require.Equal(t, syscall.ENOENT, errnoOfAnswer(err))
	again, err := dir.Mkdir(t.Context(), &fuse.MkdirRequest{Name: "new"})
	require.NoError(t, err)
	require.False(t, made == again)
	viewsAgain, err := f.lookup(t.Context(), "new", "_blobs")
	require.NoError(t, err)
	require.False(t, views == viewsAgain)
}

func TestLookupOfWhatIsNotThere(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	f.putImage(t, "team/app", "v1")
	none := digest.FromBytes([]byte("none"))
	for _, path := range [][]string{
		{"nothing"}, {"UPPER"}, {"_blobs"}, {"_x"}, {".hidden"}, {"team", "app", "_x"},
		{"team", "app", "_blobs", "name"}, {"team", "app", "_blobs", "sha256", none.Encoded()}, {"team", "app", "_blobs", none.String()},
		{"team", "app", "_blobs", "sha256", "x"}, {"team", "app", "_manifests", "sha256", none.Encoded()},
		{"team", "app", "_tags", "v2"}, {"team", "app", "_tags", "-"}, {"team", "app", "_uploads", "x"}, {".registryfs", "x"},
		{"team", "app", "_images", "v2"}, {"team", "app", "_images", "-"}, {"team", "app", "_images", "v1", "linux-amd64"},
		{"team", "app", "_images", "v1", "unknown", "x"}, {"team", "app", "_images", "v1", "unknown", "layers", "00.tar"},
	} {
		_, err := f.lookup(t.Context(), path...)
		require.Equal(t, syscall.ENOENT, errnoOfAnswer(err), path)
	}
	require.Empty(t, f.failures.content(), "that is no failure")
}

// errnoOfAnswer is the errno that the kernel is told.
func errnoOfAnswer(err error) syscall.Errno { return syscall.Errno(fuse.ToErrno(err)) }

func TestViewsAreInTheOrderOfCopying(t *testing.T) {
	for _, repo := range []string{"a", "team/app", "x/y/z"} {
		var last uint64
		for v := viewBlobs; v <= viewImages; v++ {
			number := viewInode(place{repo: repo, view: v})
			require.Greater(t, number, last, "%s %s", repo, v)
			last = number
		}
		require.Greater(t, repoInode(repo), last)
	}
}

func TestInodeNumbers(t *testing.T) {
	i := newInodes()
	a, b := digest.FromBytes([]byte("a")), digest.FromBytes([]byte("b"))
	seen := map[uint64]bool{inodeRoot: true}
	for _, number := range []uint64{i.of(a), i.next(), i.of(b), i.next()} {
		require.False(t, seen[number])
		seen[number] = true
	}
	require.Equal(t, i.of(a), i.of(a))
	require.NotEqual(t, derivedInode(classLink, "a"), derivedInode(classRepo, "a"))
	require.Greater(t, derivedInode(classControl, "a"), uint64(inodeDerived), "derived numbers begin above allocated ones")
}

func TestRefusedOperationsAreNotPermitted(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	f.putImage(t, "team/app", "v1")
	paths := [][]string{{".registryfs"}, {"team", "app"}, {"team", "app", "_blobs"}, {"team", "app", "_tags"}, {"team", "app", "_uploads"}, {"team", "app", "_oci"},
		{"team", "app", "_images"}, {"team", "app", "_images", "v1"}, {"team", "app", "_images", "v1", "unknown"}, {"team", "app", "_images", "v1", "unknown", "layers"}}
	for _, path := range paths {
		dir, err := f.lookup(t.Context(), path...)
		require.NoError(t, err)
		_, err = dir.(fusefs.NodeMknoder).Mknod(t.Context(), &fuse.MknodRequest{Name: "x"})
		require.Equal(t, syscall.EPERM, err, path)
		require.NoError(t, dir.(fusefs.NodeFsyncer).Fsync(t.Context(), &fuse.FsyncRequest{Dir: true}), path)
		require.NoError(t, dir.(fusefs.NodeSetattrer).Setattr(t.Context(), &fuse.SetattrRequest{Valid: fuse.SetattrMode}, &fuse.SetattrResponse{}), path)
	}
	for _, path := range [][]string{{".registryfs"}, {"team", "app"}, {"team", "app", "_images", "v1"}} {
		dir, err := f.lookup(t.Context(), path...)
		require.NoError(t, err)
		for op, err := range map[string]error{
			"rename": dir.(fusefs.NodeRenamer).Rename(t.Context(), &fuse.RenameRequest{OldName: "a", NewName: "b"}, dir),
			"link": func() error {
				_, err := dir.(fusefs.NodeLinker).Link(t.Context(), &fuse.LinkRequest{NewName: "a"}, dir)
				return err
			}(),
			"symlink": func() error {
				_, err := dir.(fusefs.NodeSymlinker).Symlink(t.Context(), &fuse.SymlinkRequest{NewName: "a"})
				return err
			}(),
		} {
			require.Equal(t, syscall.EPERM, err, "%s in %v", op, path)
		}
	}
}

// Every node has its own answers: the library's are EIO.
func TestEveryNodeAnswersForItself(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	blob, _ := f.putImage(t, "team/app", "v1")
	at := place{repo: "team/app", view: viewBlobs}
	f.names.putAlias(at, "alias", blob)
	tg, err := at.targetOf(".scratch")
	require.NoError(t, err)
	file, err := f.newStagedFile(tg)
	require.NoError(t, err)
	f.names.put(at, ".scratch", local{file: file})
	_, err = f.newScratchDir(place{repo: "team/app", view: viewLayout}, "ingest")
	require.NoError(t, err)
	u, err := f.repository(t, "team/app").Blobs().Create(t.Context())
	require.NoError(t, err)
	require.NoError(t, u.Close())
	for _, path := range [][]string{
		{"team"}, {"team", "app"}, {"team", "app", "_blobs"}, {"team", "app", "_blobs", "sha256"},
		{"team", "app", "_blobs", "sha256", blob.Encoded()}, {"team", "app", "_blobs", blob.String()},
		{"team", "app", "_blobs", "alias"}, {"team", "app", "_blobs", ".scratch"}, {"team", "app", "_tags"}, {"team", "app", "_tags", "v1"},
		{"team", "app", "_uploads"}, {"team", "app", "_uploads", u.ID()}, {".registryfs"}, {".registryfs", "errors"},
		{"team", "app", "_oci"}, {"team", "app", "_oci", "index.json"}, {"team", "app", "_oci", "oci-layout"},
		{"team", "app", "_oci", "blobs"}, {"team", "app", "_oci", "blobs", "sha256"}, {"team", "app", "_oci", "ingest"},
		{"team", "app", "_images"}, {"team", "app", "_images", "v1"}, {"team", "app", "_images", "v1", "unknown"},
		{"team", "app", "_images", "v1", "unknown", "manifest.json"}, {"team", "app", "_images", "v1", "unknown", "layers"},
	} {
		node, err := f.lookup(t.Context(), path...)
		require.NoError(t, err, path)
		fsyncer, ok := node.(fusefs.NodeFsyncer)
		require.True(t, ok, path)
		require.NoError(t, fsyncer.Fsync(t.Context(), &fuse.FsyncRequest{}), path)
		setattrer, ok := node.(fusefs.NodeSetattrer)
		require.True(t, ok, path)
		times := fuse.SetattrMode | fuse.SetattrUid | fuse.SetattrGid | fuse.SetattrAtime | fuse.SetattrMtime
		require.NoError(t, setattrer.Setattr(t.Context(), &fuse.SetattrRequest{Valid: times}, &fuse.SetattrResponse{}), path)
		var a fuse.Attr
		require.NoError(t, node.Attr(t.Context(), &a), path)
		require.NotZero(t, a.Inode, path)
		require.NotZero(t, a.Nlink, path)
	}
}
