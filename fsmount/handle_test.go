package fsmount

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"

	"bazil.org/fuse"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/storage"
)

// These tests send a handle what the kernel sends: shells make it more than
// open, write and close.

// me is a request of this process.
func me() *fuse.Header { return header(uint32(os.Getpid())) }

// createFile opens a new file for writing, as this process.
func (f *fileSystem) createFile(t *testing.T, dir, name string) *writeHandle {
	t.Helper()
	p, ok := placeAt(dir)
	require.True(t, ok)
	_, h, err := f.create(p, &fuse.CreateRequest{Header: *me(), Name: name}, &fuse.CreateResponse{})
	require.NoError(t, err)
	return h.(*writeHandle)
}

func (h *writeHandle) writeString(t *testing.T, s string) {
	t.Helper()
	size, _ := h.bytes.length()
	var resp fuse.WriteResponse
	require.NoError(t, h.Write(t.Context(), &fuse.WriteRequest{Header: *me(), Data: []byte(s), Offset: size}, &resp))
	require.Equal(t, len(s), resp.Size)
}

func (h *writeHandle) flush(t *testing.T, tid uint32) error {
	t.Helper()
	return h.Flush(t.Context(), &fuse.FlushRequest{Header: *header(tid)})
}

func (f *fileSystem) hasBlob(t *testing.T, content string) bool {
	t.Helper()
	_, err := f.repository(t, "app").Blobs().Stat(t.Context(), digest.FromBytes([]byte(content)))
	if !errors.Is(err, storage.ErrBlobUnknown) {
		require.NoError(t, err)
	}
	return err == nil
}

// otherProcess is the id of a process that is not this one.
func otherProcess() uint32 { return uint32(os.Getppid()) }

func TestFlush(t *testing.T) {
	release := &fuse.ReleaseRequest{}
	self := uint32(os.Getpid())
	for _, tc := range []struct {
		name string
		run  func(t *testing.T, f *fileSystem)
	}{
		{"before the first write does nothing", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_blobs", "f")
			require.NoError(t, h.flush(t, self))
			require.NoError(t, h.Release(t.Context(), release))
			require.False(t, f.hasBlob(t, ""))
		}},
		{"of the opener publishes", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_blobs", "f")
			h.writeString(t, "a")
			require.NoError(t, h.flush(t, self))
			require.True(t, f.hasBlob(t, "a"))
		}},
		{"of nobody publishes", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_blobs", "f")
			h.writeString(t, "a")
			require.NoError(t, h.flush(t, 0))
			require.True(t, f.hasBlob(t, "a"))
		}},
		{"of another process leaves it to the release", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_blobs", "f")
			h.writeString(t, "a")
			require.NoError(t, h.flush(t, otherProcess()))
			require.False(t, f.hasBlob(t, "a"))
			require.NoError(t, h.Release(t.Context(), release))
			require.True(t, f.hasBlob(t, "a"))
		}},
		{"of another process publishes what the name promises", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_blobs", digest.FromBytes([]byte("ab")).String())
			h.writeString(t, "a")
			require.NoError(t, h.flush(t, otherProcess()))
			require.False(t, f.hasBlob(t, "a"))
			h.writeString(t, "b")
			require.NoError(t, h.flush(t, otherProcess()))
			require.True(t, f.hasBlob(t, "ab"))
		}},
		{"that fails ends nothing", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_blobs", digest.FromBytes([]byte("ab")).String())
			h.writeString(t, "a")
			require.Equal(t, syscall.EBADMSG, h.flush(t, self))
			h.writeString(t, "b")
			require.NoError(t, h.flush(t, self))
			require.True(t, f.hasBlob(t, "ab"))
		}},
		{"after more was written publishes that, and takes the first back", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_blobs", "f")
			h.writeString(t, "a")
			require.NoError(t, h.flush(t, self))
			h.writeString(t, "b")
			require.NoError(t, h.flush(t, self))
			require.NoError(t, h.flush(t, self), "and once more")
			require.False(t, f.hasBlob(t, "a"))
			require.True(t, f.hasBlob(t, "ab"))
		}},
		{"after the same was written takes the first back all the same", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_blobs", "f")
			h.writeString(t, "a")
			require.NoError(t, h.flush(t, self))
			require.NoError(t, h.Write(t.Context(), &fuse.WriteRequest{Header: *me(), Data: []byte("a")}, &fuse.WriteResponse{}))
			require.NoError(t, h.flush(t, self))
			require.True(t, f.hasBlob(t, "a"))
			h.writeString(t, "b")
			require.NoError(t, h.flush(t, self))
			require.False(t, f.hasBlob(t, "a"))
			require.True(t, f.hasBlob(t, "ab"))
		}},
		{"whose failure was told leaves no upload behind", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_tags", "v1")
			h.writeString(t, "no manifest")
			require.Equal(t, syscall.EINVAL, h.flush(t, self))
			require.NoError(t, h.Release(t.Context(), release))
			require.Empty(t, f.uploads(t))
		}},
		{"that nobody hears of keeps an upload, and its id", func(t *testing.T, f *fileSystem) {
			h := f.createFile(t, "_tags", "v1")
			h.writeString(t, "no manifest")
			require.NoError(t, h.flush(t, otherProcess()))
			require.NoError(t, h.Release(t.Context(), release))
			uploads := f.uploads(t)
			require.Len(t, uploads, 1)
			require.Contains(t, string(f.failures.content()), "kept as upload "+uploads[0].ID)
		}},
		{"never comes when the connection ends: what is whole is published, the rest kept", func(t *testing.T, f *fileSystem) {
			whole, part := f.createFile(t, "_blobs", digest.FromBytes([]byte("whole")).String()), f.createFile(t, "_blobs", "part")
			whole.writeString(t, "whole")
			part.writeString(t, "part")
			f.finish()
			require.True(t, f.hasBlob(t, "whole"))
			require.False(t, f.hasBlob(t, "part"))
			require.Len(t, f.uploads(t), 1)
			require.NoError(t, whole.flush(t, self))
			require.Equal(t, syscall.ESHUTDOWN, part.flush(t, self), "nothing is acknowledged that is not there")
			for _, h := range []*writeHandle{whole, part} {
				err := h.Write(t.Context(), &fuse.WriteRequest{Header: *me(), Data: []byte("late")}, &fuse.WriteResponse{})
				require.Equal(t, syscall.ESHUTDOWN, err)
			}
			_, _, err := f.create(place{repo: "app", view: viewBlobs}, &fuse.CreateRequest{Header: *me(), Name: "late"}, &fuse.CreateResponse{})
			require.Equal(t, syscall.ESHUTDOWN, err)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newTestFileSystem(t, Options{})
			tc.run(t, f)
			if t.Failed() {
				t.Logf("%s", f.failures.content())
			}
		})
	}
}

func (f *fileSystem) uploads(t *testing.T) []storage.UploadInfo {
	t.Helper()
	uploads, err := f.repository(t, "app").Blobs().Uploads(t.Context())
	require.NoError(t, err)
	return uploads
}

func TestAnUploadThatWasJustClosedIsNotBusy(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	blobs := f.repository(t, "app").Blobs()
	u, err := blobs.Create(t.Context())
	require.NoError(t, err)
	require.NoError(t, u.Close())
	node := uploadFile{f, place{repo: "app", view: viewUploads}, u.ID()}
	handle, err := node.Open(t.Context(), &fuse.OpenRequest{Header: *me(), Flags: fuse.OpenWriteOnly}, &fuse.OpenResponse{})
	require.NoError(t, err)
	h := handle.(*writeHandle)
	h.writeString(t, "a")
	_, err = node.take(t.Context(), blobs)
	require.ErrorIs(t, err, storage.ErrUploadBusy, "it is being written")

	// close(2) has returned, and the kernel releases the file some time later.
	require.NoError(t, h.flush(t, uint32(os.Getpid())))
	ctx := &waitContext{Context: t.Context(), waited: func() { _ = h.Release(context.Background(), &fuse.ReleaseRequest{}) }}
	taken, err := node.take(ctx, blobs)
	require.NoError(t, err)
	require.NoError(t, taken.Close())
}

// waitContext calls a function when somebody begins to wait for its end.
type waitContext struct {
	context.Context
	waited func()
	once   sync.Once
}

func (c *waitContext) Done() <-chan struct{} {
	c.once.Do(func() { go c.waited() })
	return c.Context.Done()
}
