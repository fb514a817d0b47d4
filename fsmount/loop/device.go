package loop

import (
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"syscall"

	"bazil.org/fuse"
	"golang.org/x/sys/unix"
)

const (
	// notifyStore is FUSE_NOTIFY_STORE of linux/fuse.h.
	notifyStore = 4
	// storeHeader is the size in bytes of what precedes the content there:
	// struct fuse_out_header and struct fuse_notify_store_out.
	storeHeader = 16 + 24
)

var errNoDevice = errors.New("the device of the connection cannot be found")

// deviceOf returns the device that conn writes to, or nil. For every piece that
// [fuse.Conn.NotifyStore] sends it makes a copy, and as much garbage: reading a
// blob for the first time takes half as long again. So we send the pieces
// ourselves, over a field that the library does not export; where another
// version of it has none, nothing is sent.
func deviceOf(conn *fuse.Conn) syscall.RawConn {
	dev := reflect.ValueOf(conn).Elem().FieldByName("dev")
	if !dev.IsValid() || dev.Type() != reflect.TypeFor[*os.File]() {
		return nil
	}
	raw, err := (*os.File)(dev.UnsafePointer()).SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// store sends content of a node to the kernel.
func store(dev syscall.RawConn, id fuse.NodeID, p []byte, off int64) error {
	if dev == nil {
		return errNoDevice
	}
	order := binary.NativeEndian
	h := make([]byte, 0, storeHeader)
	h = order.AppendUint32(h, uint32(storeHeader+len(p)))
	h = order.AppendUint32(h, notifyStore)
	h = order.AppendUint64(h, 0) // answers no request
	h = order.AppendUint64(h, uint64(id))
	h = order.AppendUint64(h, uint64(off))
	h = order.AppendUint32(h, uint32(len(p)))
	h = order.AppendUint32(h, 0) // padding
	var sent error
	err := dev.Control(func(fd uintptr) { _, sent = unix.Writev(int(fd), [][]byte{h, p}) })
	if errors.Is(sent, unix.ENOENT) {
		return fuse.ErrNotCached
	}
	return errors.Join(err, sent)
}
