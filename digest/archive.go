package digest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Limits of an archive whose tarsum is computed. Its headers are bounded too:
// archive/tar accepts at most 1 MiB of extended ones for an entry.
const (
	// MaxArchiveEntries is the number of entries. One takes 80 bytes of memory.
	MaxArchiveEntries = 1 << 18
	// MaxArchiveSize is the size in bytes of all files together. A compressed
	// or sparse archive may be far smaller.
	MaxArchiveSize = 1 << 38
)

var (
	// ErrArchive says that content whose tarsum is wanted is no tar archive.
	ErrArchive = fmt.Errorf("digest: content is no tar archive: %w", fs.ErrInvalid)
	// ErrArchiveTooLarge says that an archive is beyond [MaxArchiveEntries] or
	// [MaxArchiveSize].
	ErrArchiveTooLarge = errors.New("digest: archive is too large for a tarsum")
)

// archiveLimits bound an archive.
type archiveLimits struct {
	entries int
	size    int64 // bytes of all files together
}

// tarsum computes the tarsum of an archive, plain or compressed with gzip, as
// Docker's tarsum specification has it: the hash of the hashes of the entries,
// in hexadecimal, sorted.
func (l archiveLimits) tarsum(version string, r io.Reader) (string, error) {
	src := &source{r: r}
	sums, err := l.sumEntries(version, src)
	switch {
	case src.err != nil:
		return "", src.err
	case errors.Is(err, ErrArchiveTooLarge):
		return "", err
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrArchive, err)
	}
	slices.SortFunc(sums, compareSums)
	h := sha256.New()
	var digits [2 * sha256.Size]byte
	for i := range sums {
		hex.Encode(digits[:], sums[i].sum[:])
		h.Write(digits[:])
	}
	if err := src.drain(); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// entrySum is one entry of an archive. Its name is kept as a hash, so that
// memory does not grow with names.
type entrySum struct {
	sum, name [sha256.Size]byte
	position  int
}

// compareSums orders by sum, except that entries of one name keep their order,
// since the last of them is the file that an extraction leaves. That is no
// strict order where a third entry lies between two such, and what it gives
// there depends on the way of sorting; Docker's has the same flaw.
func compareSums(a, b entrySum) int {
	if a.name == b.name {
		return cmp.Compare(a.position, b.position)
	}
	return bytes.Compare(a.sum[:], b.sum[:])
}

func (l archiveLimits) sumEntries(version string, src io.Reader) ([]entrySum, error) {
	plain, err := decompress(src)
	if err != nil {
		return nil, err
	}
	var (
		raw     = &lastBlock{r: plain}
		archive = tar.NewReader(raw)
		h       = sha256.New()
		fields  []byte
		buffer  = make([]byte, readBuffer)
		sums    []entrySum
		left    = l.size
	)
	for {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return sums, nil
		case err != nil && !errors.Is(err, tar.ErrInsecurePath): // nothing is extracted
			return nil, err
		case len(sums) == l.entries:
			return nil, fmt.Errorf("%w: more than %d entries", ErrArchiveTooLarge, l.entries)
		case header.Size > left:
			return nil, fmt.Errorf("%w: more than %d bytes", ErrArchiveTooLarge, l.size)
		}
		left -= header.Size
		h.Reset()
		fields = appendHeader(fields[:0], version, header, raw)
		h.Write(fields)
		if _, err := io.CopyBuffer(h, archive, buffer); err != nil {
			return nil, err
		}
		entry := entrySum{name: sha256.Sum256([]byte(path.Join("/", header.Name))), position: len(sums)}
		h.Sum(entry.sum[:0])
		sums = append(sums, entry)
	}
}

// appendHeader appends key and value of each field, without separators.
func appendHeader(p []byte, version string, header *tar.Header, raw *lastBlock) []byte {
	integer := func(key string, i int64) { p = strconv.AppendInt(append(p, key...), i, 10) }
	text := func(key, value string) { p = append(append(p, key...), value...) }
	text("name", header.Name)
	integer("mode", header.Mode)
	integer("uid", int64(header.Uid))
	integer("gid", int64(header.Gid))
	integer("size", header.Size)
	if version == "v0" {
		integer("mtime", header.ModTime.Unix())
	}
	p = append(append(p, "typeflag"...), typeflag(header, raw))
	text("linkname", header.Linkname)
	text("uname", header.Uname)
	text("gname", header.Gname)
	integer("devmajor", header.Devmajor)
	integer("devminor", header.Devminor)
	if version == "v0" {
		return p
	}
	const xattr = "SCHILY.xattr."
	for _, key := range slices.Sorted(maps.Keys(header.PAXRecords)) {
		if name, ok := strings.CutPrefix(key, xattr); ok {
			text(name, header.PAXRecords[key])
		}
	}
	return p
}

// typeflag is the type of an entry as the archive has it: archive/tar turns
// NUL, the type that the oldest archives have for files, into another.
func typeflag(header *tar.Header, raw *lastBlock) byte {
	const offset = 156 // in the header block of every tar format
	_, sparse := header.PAXRecords["GNU.sparse.major"]
	converted := header.Typeflag == tar.TypeReg || header.Typeflag == tar.TypeDir
	if converted && !sparse && raw.block[offset] == 0 { // a sparse map follows the header block
		return 0
	}
	return header.Typeflag
}

// decompress reads gzip as well as plain archives.
func decompress(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, readBuffer)
	start, err := buffered.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(start, []byte{0x1f, 0x8b}) {
		return buffered, nil
	}
	return gzip.NewReader(buffered)
}

// lastBlock remembers the last tar block that was read: after tar.Reader.Next,
// the header of the entry.
type lastBlock struct {
	r     io.Reader
	block [512]byte
}

func (b *lastBlock) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if n >= len(b.block) {
		copy(b.block[:], p[n-len(b.block):n])
	} else {
		copy(b.block[:], b.block[n:])
		copy(b.block[len(b.block)-n:], p[:n])
	}
	return n, err
}

// source tells the errors of reading content from those of its format.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// drain reads what follows the end of the archive.
func (s *source) drain() error {
	_, err := io.Copy(io.Discard, s.r)
	return err
}
