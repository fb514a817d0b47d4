package digest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/testdata"
)

type entry struct {
	header  tar.Header
	content string
}

func archiveOf(t testing.TB, entries ...entry) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		e.header.Size = int64(len(e.content))
		require.NoError(t, w.WriteHeader(&e.header))
		_, err := io.WriteString(w, e.content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func compressed(t testing.TB, p []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(p)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func users(name string, xattrs map[string]string) tar.Header {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Uid: 1000, Gid: 1000, Uname: "slartibartfast", Gname: "users"}
	for key, value := range xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+key] = value
	}
	return h
}

// The sums are those that Docker's own tests of the format expect; what it
// called "dev" there became version 1.
func TestPublishedTarsums(t *testing.T) {
	file := entry{tar.Header{Typeflag: tar.TypeReg, Name: "file.txt"}, ""}
	megabyte := archiveOf(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "/testdata0", Mode: 0o755}, strings.Repeat("\x00", 1<<20)})
	for want, archive := range map[digest.Digest][]byte{
		"tarsum+sha256:" + hexOfNothing:                                                     archiveOf(t),
		"tarsum.v1+sha256:" + hexOfNothing:                                                  {},
		"tarsum+sha256:626c4a2e9a467d65c33ae81f7f3dedd4de8ccaee72af73223c4bc4718cbc7bbd":    archiveOf(t, file),
		"tarsum.v1+sha256:6ffd43a1573a9913325b4918e124ee982a99c0f3cba90fc032a65f5e20bdd465": archiveOf(t, file),
		"tarsum.v1+sha256:b38166c059e11fb77bef30bf16fba7584446e80fcc156ff46d47e36c5305d8ef": archiveOf(t, entry{users("another.txt", nil), "test"}),
		"tarsum.v1+sha256:4cc2e71ac5d31833ab2be9b4f7842a14ce595ec96a37af4ed08f87bc374228cd": archiveOf(t,
			entry{users("xattrs.txt", map[string]string{"user.key1": "value1", "user.key2": "value2"}), "test"}),
		"tarsum.v1+sha256:65f4284fa32c0d4112dd93c3637697805866415b570587e4fd266af241503760": archiveOf(t,
			entry{users("xattrs.txt", map[string]string{"user.KEY1": "value1", "user.key2": "value2"}), "test"}),
		"tarsum+sha256:c12bb6f1303a9ddbf4576c52da74973c00d14c109bcfa76b708d5da1154a07fa": archiveOf(t,
			entry{users("xattrs.txt", map[string]string{"user.NOT": "CALCULATED"}), "test"}),
		"tarsum+sha256:75258b2c5dcd9adfe24ce71eeca5fc5019c7e669912f15703ede92b1a60cb11f": megabyte,
		"tarsum+sha256:8bf12d7e67c51ee2e8306cba569398b1b9f419969521a12ffb9d8875e8836738": withType(megabyte, 0),
	} {
		t.Run(want.String(), func(t *testing.T) {
			_, err := digest.Parse(want.String())
			require.NoError(t, err)
			for name, p := range map[string][]byte{"plain": archive, "gzip": compressed(t, archive)} {
				got, err := digest.Of(want.Algorithm(), bytes.NewReader(p))
				require.NoError(t, err, name)
				require.Equal(t, want, got, name)
				require.True(t, digest.Matches(want, p), name)
			}
			got, err := digest.Of(want.Algorithm(), iotest.OneByteReader(bytes.NewReader(archive[:min(len(archive), 64<<10)])))
			require.Equal(t, len(archive) <= 64<<10, err == nil && got == want, "in reads of any size")
		})
	}
}

// withType sets the type of an archive's first entry, as the header block has it.
func withType(archive []byte, typeflag byte) []byte {
	archive = bytes.Clone(archive)
	archive[156] = typeflag
	sum := 0
	for i, b := range archive[:512] {
		if i >= 148 && i < 156 {
			b = ' '
		}
		sum += int(b)
	}
	const octal = "01234567"
	for i := 5; i >= 0; i-- {
		archive[148+i] = octal[sum&7]
		sum >>= 3
	}
	copy(archive[154:], "\x00 ")
	return archive
}

// Archives that GNU tar made, whose sums another implementation computed.
func TestTarsumsOfArchives(t *testing.T) {
	vectors, err := testdata.Tarsums.ReadFile("tarsum/expect")
	require.NoError(t, err)
	lines := 0
	for line := range strings.Lines(string(vectors)) {
		name, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		archive, err := testdata.Tarsums.ReadFile("tarsum/" + name)
		require.NoError(t, err)
		got, err := digest.Of(digest.Digest(want).Algorithm(), bytes.NewReader(archive))
		require.NoError(t, err, line)
		require.Equal(t, want, string(got), line)
		lines++
	}
	require.Positive(t, lines)
}

func TestTarsumOrder(t *testing.T) {
	a := entry{tar.Header{Typeflag: tar.TypeReg, Name: "a"}, "1"}
	b := entry{tar.Header{Typeflag: tar.TypeReg, Name: "b"}, "2"}
	again := entry{tar.Header{Typeflag: tar.TypeReg, Name: "./a"}, "3"}
	sum := func(entries ...entry) digest.Digest {
		d, err := digest.Of(digest.TarsumV1, bytes.NewReader(archiveOf(t, entries...)))
		require.NoError(t, err)
		return d
	}
	require.Equal(t, sum(a, b), sum(b, a), "the order of files does not matter")
	require.NotEqual(t, sum(a, again), sum(again, a), "unless they have one name")

	later := a
	later.header.ModTime = a.header.ModTime.AddDate(2000, 0, 0)
	require.Equal(t, sum(a), sum(later), "times do not matter")
	for _, alg := range []digest.Algorithm{digest.TarsumV0, digest.TarsumV1} {
		first, err := digest.Of(alg, bytes.NewReader(archiveOf(t, a)))
		require.NoError(t, err)
		second, err := digest.Of(alg, bytes.NewReader(archiveOf(t, later)))
		require.NoError(t, err)
		require.Equal(t, alg == digest.TarsumV1, first == second)
	}
}

func TestTarsumErrors(t *testing.T) {
	archive := archiveOf(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "a"}, "content"})
	for name, p := range map[string][]byte{
		"text":           []byte(strings.Repeat("no archive ", 100)),
		"short":          archive[:100],
		"no content":     archive[:512],
		"gzip of text":   compressed(t, []byte(strings.Repeat("no archive ", 100))),
		"gzip alone":     {0x1f, 0x8b},
		"truncated gzip": compressed(t, archive)[:40],
	} {
		t.Run(name, func(t *testing.T) {
			got, err := digest.Of(digest.TarsumV1, bytes.NewReader(p))
			require.ErrorIs(t, err, digest.ErrArchive)
			require.Empty(t, got)
			require.False(t, digest.Matches("tarsum.v1+sha256:"+hexOfNothing, p))
		})
	}
}

func TestTarsumOfFailingReader(t *testing.T) {
	broken := errors.New("broken")
	archive := archiveOf(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "a"}, "content"})
	for _, n := range []int{0, 100, 512, 1024, len(archive)} {
		r := io.MultiReader(bytes.NewReader(archive[:n]), iotest.ErrReader(broken))
		_, err := digest.Of(digest.TarsumV1, r)
		require.ErrorIs(t, err, broken, n)
		require.NotErrorIs(t, err, digest.ErrArchive, n)
	}
}

// What reads through Of has read everything.
func TestTarsumReadsToTheEnd(t *testing.T) {
	r := bytes.NewReader(append(archiveOf(t), make([]byte, 1<<20)...))
	got, err := digest.Of(digest.TarsumV0, r)
	require.NoError(t, err)
	require.Equal(t, digest.Digest("tarsum+sha256:"+hexOfNothing), got)
	require.Zero(t, r.Len())
}

func TestTarsumLimits(t *testing.T) {
	sparse, err := testdata.Tarsums.ReadFile("tarsum/too-large.tar.gz")
	require.NoError(t, err)
	_, err = digest.Of(digest.TarsumV1, bytes.NewReader(sparse))
	require.ErrorIs(t, err, digest.ErrArchiveTooLarge, "a sparse file of 1 TiB")
}

func FuzzOfTarsum(f *testing.F) {
	file := entry{tar.Header{Typeflag: tar.TypeReg, Name: "file.txt"}, "content"}
	link := entry{tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "file.txt"}, ""}
	f.Add(archiveOf(f))
	f.Add(archiveOf(f, file, link))
	f.Add(compressed(f, archiveOf(f, file)))
	f.Add(archiveOf(f, entry{users("xattrs.txt", map[string]string{"user.key1": "value1"}), "test"}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 1<<16 { // sparse files of any size are slow, not wrong
			return
		}
		for _, alg := range []digest.Algorithm{digest.TarsumV0, digest.TarsumV1} {
			d, err := digest.Of(alg, bytes.NewReader(p))
			if err != nil {
				require.True(t, errors.Is(err, digest.ErrArchive) || errors.Is(err, digest.ErrArchiveTooLarge), err)
				require.Empty(t, d)
				continue
			}
			_, err = digest.Parse(string(d))
			require.NoError(t, err)
			require.True(t, digest.Matches(d, p))
		}
	})
}
