package fsmount

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

const (
	errPerm        = syscall.EPERM
	errIsDir       = syscall.EISDIR
	errNameTooLong = syscall.ENAMETOOLONG
	errClosing     = syscall.ESHUTDOWN
	errInvalid     = syscall.EINVAL
	errCrossDevice = syscall.EXDEV
	errBusy        = syscall.EBUSY
)

// refusal is an error of the mount itself: its errno, and why.
type refusal struct {
	errno syscall.Errno
	why   string
}

func (r *refusal) Error() string { return r.why }

func refuse(errno syscall.Errno, why string) error { return &refusal{errno, why} }

// errnos maps errors of the layers below, in this order, to what the caller
// sees.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
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
	{storage.ErrTagImmutable, syscall.EPERM},
	{storage.ErrReferenced, syscall.EBUSY},
	{storage.ErrUploadBusy, syscall.EBUSY},
	{storage.ErrReadOnly, syscall.EROFS},
	{storage.ErrUnsupported, syscall.ENOTSUP},
}

// passed are the errnos of a backend that mean the same to the caller. Any
// other failure of a backend is EIO.
var passed = []syscall.Errno{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES, syscall.EFBIG,
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
}

// errnoOf returns what the kernel is told of err: nil, context.Canceled (which
// bazil answers with EINTR) or a bare errno, since bazil unwraps nothing.
func errnoOf(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	var r *refusal
	if errors.As(err, &r) {
		return r.errno
	}
	var missing *storage.MissingError
	if errors.As(err, &missing) {
		return syscall.ENODATA
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	for _, errno := range passed {
		if errors.Is(err, errno) {
			return errno
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return syscall.ENOENT
	case errors.Is(err, fs.ErrExist):
		return syscall.EEXIST
	case errors.Is(err, fs.ErrPermission):
		return syscall.EACCES
	case errors.Is(err, fs.ErrInvalid):
		return syscall.EINVAL
	}
	return syscall.EIO
}
