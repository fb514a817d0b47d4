package fsmount

import (
	"errors"
	"sync"

	"bazil.org/fuse"

	"registryfs/fsmount/loop"
	"registryfs/storage"
)

// pages puts content into the kernel's page cache while an open verifies it,
// so that reading it does not come here at all. Nobody may see a byte before
// all of them are known to be good:
//
//   - bytes are put there only while nobody has the node open, for readers and
//     mappings of it would see them;
//   - no open is answered with success while bytes are being put there, or when
//     they were not found good: first they are dropped;
//   - a READ never waits for a range that is put there, since only who has the
//     node open can READ.
//
// Handles for writing pass by the page cache, but can be mapped: they count too.
type pages struct {
	mu    sync.Mutex
	files map[blobFile]*openFile
}

// openFile is a node that is open, or being opened.
type openFile struct {
	users int // who has it open or is about to; guarded by the table

	mu   sync.Mutex
	open int
	push *push // nil where the page cache holds only what was found good
}

func newPages() *pages { return &pages{files: map[blobFile]*openFile{}} }

// enter takes note that b is being opened.
func (p *pages) enter(b blobFile) *openFile {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.files[b]
	if f == nil {
		f = &openFile{}
		p.files[b] = f
	}
	f.users++
	return f
}

// leave ends what enter began.
func (p *pages) leave(b blobFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.files[b]
	if f.users--; f.users == 0 && f.push == nil {
		delete(p.files, b)
	}
}

// close takes note that b has one handle less.
func (p *pages) close(b blobFile) {
	p.mu.Lock()
	f := p.files[b]
	p.mu.Unlock()
	f.closed()
	p.leave(b)
}

// begin begins to put the content of b into the page cache. The result, which
// may be nil, is to see the content while it is verified.
func (f *openFile) begin(b blobFile) *push {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open > 0 || f.push != nil || b.fs.loop == nil {
		return nil
	}
	size, known := b.fs.content.size(b.digest)
	if !known || size == 0 {
		return nil
	}
	f.push = &push{node: b, size: size, limit: size}
	if said := b.fs.options.PageCache; said != 0 || size > storage.MaxResident {
		f.push.limit = -1 // asking the system costs more than reading a small file
	}
	return f.push
}

// opened takes note that opening succeeds: there is one handle more. Without an
// error what the page cache holds is good from then on.
func (f *openFile) opened() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.settle(); err != nil {
		return err
	}
	f.open++
	return nil
}

// failed takes note that opening has failed. Others that wait for the same
// verification must not have the content either.
func (f *openFile) failed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.settle() // else the next to open does it
}

func (f *openFile) closed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
}

// settle leaves in the page cache only what was found good. No request can hold
// what the kernel needs for that: no READ of this node waits.
func (f *openFile) settle() error {
	if f.push == nil {
		return nil
	}
	if err := f.push.end(); err != nil {
		return err
	}
	f.push = nil
	return nil
}

// push is the content of a node on its way into the page cache.
type push struct {
	node blobFile
	size int64

	mu     sync.Mutex
	limit  int64 // bytes; negative: to be asked for
	pushed int64 // bytes, from the beginning
	isGood bool
	ended  bool
}

var _ storage.Observer = (*push)(nil)

func (p *push) Verifying(content []byte, off int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit < 0 {
		p.limit = pushLimit(p.node.fs.options.PageCache)
	}
	end := off + int64(len(content))
	isWhole := end%loop.StoreAlign == 0 || end == p.size
	if p.ended || off != p.pushed || end > p.size || end > p.limit || !isWhole {
		return
	}
	err := p.node.fs.loop.Store(p.node, content, off)
	if err != nil {
		p.ended = true
		if !errors.Is(err, fuse.ErrNotCached) {
			p.node.fs.log.Debug("cannot fill the page cache", "path", p.node.path(), "error", err)
		}
	}
	p.pushed = max(p.pushed, end) // perhaps in part
}

func (p *push) Verified(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isGood = err == nil
}

// end stops pushing and, where what was pushed is not known to be good, drops
// it.
func (p *push) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.pushed == 0 || p.isGood {
		return nil
	}
	err := p.node.fs.loop.DropPages(p.node)
	if errors.Is(err, fuse.ErrNotCached) {
		return nil
	}
	return err
}
