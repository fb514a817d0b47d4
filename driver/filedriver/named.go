package filedriver

import "sync"

// maxNamed bounds the directories whose names are known to be durable.
const maxNamed = 1 << 14

// named is the directories, by path and inode, whose names are durable, and those
// of all above them: files that are synced one after another have most of them in
// common. It is not for directories that come and go, as the one that a file is
// in may: another could have the inode by then.
type named struct {
	mu     sync.Mutex
	inodes map[string]uint64
}

func newNamed() *named { return &named{inodes: map[string]uint64{}} }

func (n *named) has(dir string, inode uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	known, ok := n.inodes[dir]
	return ok && known == inode
}

func (n *named) add(dirs map[string]uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.inodes)+len(dirs) > maxNamed {
		clear(n.inodes)
	}
	for dir, inode := range dirs {
		n.inodes[dir] = inode
	}
}
