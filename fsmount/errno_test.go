package fsmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

func TestErrnoOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want error
	}{
		{nil, nil},
		{context.Canceled, context.Canceled},
		{refuse(syscall.EPERM, "no"), syscall.EPERM},
		{storage.ErrCorrupt, syscall.EIO},
		{storage.ErrDigestMismatch, syscall.EBADMSG},
		{storage.ErrSizeMismatch, syscall.EBADMSG},
		{storage.ErrTooLarge, syscall.EFBIG},
		{manifest.ErrTooLarge, syscall.EFBIG},
		{manifest.ErrInvalid, syscall.EINVAL},
		{manifest.ErrUnknownType, syscall.EINVAL},
		{storage.ErrNameInvalid, syscall.EINVAL},
		{storage.ErrTagInvalid, syscall.EINVAL},
		{digest.ErrInvalid, syscall.EINVAL},
		{digest.ErrUnsupported, syscall.EINVAL},
		{&storage.MissingError{Blobs: []digest.Digest{digest.FromBytes([]byte("x"))}}, syscall.ENODATA},
		{storage.ErrReferenced, syscall.EBUSY},
		{storage.ErrUploadBusy, syscall.EBUSY},
		{storage.ErrReadOnly, syscall.EROFS},
		{storage.ErrUnsupported, syscall.ENOTSUP},
		{storage.ErrBlobUnknown, syscall.ENOENT},
		{storage.ErrManifestUnknown, syscall.ENOENT},
		{storage.ErrTagUnknown, syscall.ENOENT},
		{storage.ErrUploadUnknown, syscall.ENOENT},
		{storage.ErrRepositoryUnknown, syscall.ENOENT},
		{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, syscall.ENOSPC},
		{syscall.EDQUOT, syscall.EDQUOT},
		{syscall.EROFS, syscall.EROFS},
		{syscall.EACCES, syscall.EACCES},
		{syscall.EFBIG, syscall.EFBIG},
		{syscall.EMFILE, syscall.EMFILE},
		{syscall.ENOMEM, syscall.ENOMEM},
		{fs.ErrExist, syscall.EEXIST},
		{fs.ErrPermission, syscall.EACCES},
		{fs.ErrInvalid, syscall.EINVAL},
		{syscall.EIO, syscall.EIO},
		{io.ErrUnexpectedEOF, syscall.EIO},
		{context.DeadlineExceeded, syscall.EIO},
		{errors.New("anything else"), syscall.EIO},
		{fmt.Errorf("%w: %w", storage.ErrCorrupt, fs.ErrNotExist), syscall.EIO},
	} {
		require.Equal(t, tc.want, errnoOf(tc.err), "%v", tc.err)
		if tc.err == nil {
			continue
		}
		// bazil unwraps nothing, so what comes back must be bare.
		wrapped := &storage.Error{Op: "open", Repo: "app", Err: fmt.Errorf("more: %w", tc.err)}
		require.Equal(t, tc.want, errnoOf(wrapped), "%v", wrapped)
	}
}

func TestFailuresAreNoted(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	require.NoError(t, f.fail(header(7), "open", "/a", nil))
	require.Equal(t, context.Canceled, f.fail(header(7), "open", "/a", fmt.Errorf("wait: %w", context.Canceled)))
	require.Equal(t, syscall.ENOENT, f.failLookup(header(7), "/a", storage.ErrBlobUnknown))
	require.Empty(t, f.failures.content())
	require.Equal(t, syscall.EIO, f.failLookup(header(7), "/a", storage.ErrCorrupt))
	require.Equal(t, syscall.EBADMSG, f.fail(header(8), "close", "/b", storage.ErrDigestMismatch))
	require.Regexp(t, `^\S+ 7 lookup /a storage: .*\n\S+ 8 close /b storage: .*\n$`, string(f.failures.content()))
}
