package storage_test

import (
	"bytes"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// disk is a model of what of a store would survive a loss of power: of a file
// what it was at its last sync, of a directory the names at its last syncdir.
// It watches every call; the store itself goes on as if nothing could be lost.
type disk struct {
	hooked
	root *inode
	byID map[uint64]*inode
	made uint64

	// dropped is a kind of sync that has no effect; see syncKinds.
	dropped string
	kinds   syncKindOf
	// after is called when a call has been made.
	after func(c *sysCall)
}

// inode is a file or a directory, as it is and as it is kept.
type inode struct {
	order        uint64 // in which it was made
	data, synced []byte
	names, kept  map[string]*inode // nil for a file
}

// syncKinds is the kinds of sync, after what it is that they make durable, with
// an operation that needs each. journaled says that a file system which keeps a
// journal needs it too: the syncs that follow the others bring the whole
// journal to the disk.
var syncKinds = []struct {
	name, seenBy string
	journaled    bool
}{
	{"content", "new blob", true},                    // the bytes of an upload
	{"link", "retag", true},                          // the bytes of a file that is put whole
	{"create", "upload, synced and finished", false}, // the name of a new file
	{"mkdir", "mount a blob", false},                 // the name of a new directory
	{"rename in", "new blob", false},                 // the new name of what came from another directory
	{"rename out", "untag", false},                   // that its old name is gone
	{"rename within", "retag", true},                 // the new name of what was in the same directory
	{"rmdir", "collect", true},                       // that the name of a directory is gone
}

// newDisk takes all that is in a directory for durable.
func newDisk(t *testing.T, dir string) *disk {
	t.Helper()
	d := &disk{byID: map[uint64]*inode{}, kinds: syncKindOf{}}
	d.hook = d.call
	var load func(name string) *inode
	load = func(name string) *inode {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(name, &st))
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			n := d.add(st.Ino, false)
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			n.data, n.synced = content, bytes.Clone(content)
			return n
		}
		n := d.add(st.Ino, true)
		entries, err := os.ReadDir(name)
		require.NoError(t, err)
		for _, entry := range entries {
			n.names[entry.Name()] = load(filepath.Join(name, entry.Name()))
		}
		n.kept = maps.Clone(n.names)
		return n
	}
	d.root = load(dir)
	return d
}

// add begins what has been made under a number, which may be that of something
// that is gone.
func (d *disk) add(ino uint64, isDir bool) *inode {
	d.made++
	n := &inode{order: d.made}
	if isDir {
		n.names, n.kept = map[string]*inode{}, map[string]*inode{}
	}
	d.byID[ino] = n
	return n
}

func (d *disk) call(c *sysCall, do func() error) error {
	if err := do(); err != nil {
		return err
	}
	if kind := d.kinds.of(c); kind == "" || kind != d.dropped {
		d.kinds.made(c)
		if err := d.take(c); err != nil {
			return err
		}
	}
	if d.after != nil {
		d.after(c)
	}
	return nil
}

// take takes note of a call.
func (d *disk) take(c *sysCall) error {
	switch c.op {
	case "create", "mkdir":
		var st unix.Stat_t
		if err := unix.Fstatat(int(c.dir.Fd()), c.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		d.of(c.dir).set(c.name, d.add(st.Ino, c.op == "mkdir"))
	case "write":
		d.of(c.file).write(c.p, c.offset)
	case "truncate":
		n := d.of(c.file)
		n.data = resized(n.data, c.size)
	case "sync":
		n := d.of(c.file)
		n.synced = bytes.Clone(n.data)
	case "syncdir":
		n := d.of(c.dir)
		n.kept = maps.Clone(n.names)
	case "rename":
		from, to := d.of(c.dir), d.of(c.to)
		moved := from.names[c.name]
		from.set(c.name, nil)
		to.set(c.newName, moved)
	case "unlink", "rmdir":
		d.of(c.dir).set(c.name, nil)
	}
	return nil
}

func (d *disk) of(f *os.File) *inode {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		panic(err)
	}
	return d.byID[st.Ino]
}

// set makes a name another's, or nobody's.
func (n *inode) set(name string, child *inode) {
	delete(n.names, name)
	if child != nil {
		n.names[name] = child
	}
}

func (n *inode) write(p []byte, offset int64) {
	n.data = resized(n.data, max(int64(len(n.data)), offset+int64(len(p))))
	copy(n.data[offset:], p)
}

// resized is a copy of p of a size, cut or with zeros after it.
func resized(p []byte, size int64) []byte {
	q := make([]byte, size)
	copy(q, p)
	return q
}

// losses is what a loss of power may leave of what was not synced.
var losses = map[string]loss{
	// Nothing of it.
	"worst": {
		isKept: func(*inode) bool { return false },
		data:   func(n *inode) []byte { return n.synced },
	},
	// All names, and files as they were last synced, or empty.
	"names": {
		isKept: func(*inode) bool { return true },
		data:   func(n *inode) []byte { return n.synced },
	},
	// All names, and files as long as they were, with zeros for bytes.
	"zeros": {
		isKept: func(*inode) bool { return true },
		data:   func(n *inode) []byte { return resized(n.synced, int64(len(n.data))) },
	},
	// Every other name and file, in two ways.
	"odd":  mixed(1),
	"even": mixed(0),
}

type loss struct {
	isKept func(n *inode) bool // whether a change of the names of n that was not synced is kept
	data   func(n *inode) []byte
}

func mixed(parity uint64) loss {
	isKept := func(n *inode) bool { return n.order%2 == parity }
	return loss{isKept: isKept, data: func(n *inode) []byte {
		if isKept(n) {
			return n.data
		}
		return n.synced
	}}
}

// left is every file with its content and, with "/" after its path, every
// directory that a loss of power leaves.
func (d *disk) left(l loss) map[string]string {
	files := map[string]string{}
	d.root.left(l, "/", files)
	return files
}

func (n *inode) left(l loss, at string, files map[string]string) {
	if n.names == nil {
		files[at] = string(l.data(n))
		return
	}
	files[strings.TrimSuffix(at, "/")+"/"] = ""
	put := func(name string, child *inode) {
		if child != nil {
			child.left(l, path.Join(at, name), files)
		}
	}
	for name, was := range n.kept {
		is := n.names[name]
		decides := is
		if is == nil {
			decides = was // that a name is gone is up to what it was
		}
		if was == is || l.isKept(decides) {
			put(name, is)
		} else {
			put(name, was)
		}
	}
	for name, is := range n.names {
		if _, was := n.kept[name]; !was && l.isKept(is) {
			put(name, is)
		}
	}
}

// restore makes the files that are left in a directory.
func restore(dir string, files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(filepath.Join(dir, name), 0o755)
		} else {
			err = os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
