package storagetest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/storage"
)

// uploadModel is what an upload must hold, beside the upload.
type uploadModel struct {
	t    *testing.T
	u    storage.Upload
	want []byte
}

func (m *uploadModel) write(content string) {
	m.t.Helper()
	write(m.t, m.u, []byte(content))
	m.want = append(m.want, content...)
}

func (m *uploadModel) writeAt(content string, off int) {
	m.t.Helper()
	n, err := m.u.WriteAt([]byte(content), int64(off))
	require.NoError(m.t, err)
	require.Equal(m.t, len(content), n)
	if len(content) > 0 {
		m.resize(max(len(m.want), off+len(content)))
	}
	copy(m.want[min(off, len(m.want)):], content)
}

// seek goes to offset from the start, and writes there.
func (m *uploadModel) seek(content string, off int) {
	m.t.Helper()
	pos, err := m.u.Seek(int64(off), io.SeekStart)
	require.NoError(m.t, err)
	require.Equal(m.t, int64(off), pos)
	write(m.t, m.u, []byte(content))
	m.resize(max(len(m.want), off+len(content)))
	copy(m.want[off:], content)
	pos, err = m.u.Seek(0, io.SeekCurrent)
	require.NoError(m.t, err)
	require.Equal(m.t, int64(off+len(content)), pos)
	_, err = m.u.Seek(0, io.SeekEnd)
	require.NoError(m.t, err)
}

func (m *uploadModel) truncate(size int) {
	m.t.Helper()
	require.NoError(m.t, m.u.Truncate(int64(size)))
	m.resize(size)
}

func (m *uploadModel) resize(size int) {
	if size <= len(m.want) {
		m.want = m.want[:size:size]
		return
	}
	m.want = append(m.want, make([]byte, size-len(m.want))...)
}

// check compares all that an upload tells of itself.
func (m *uploadModel) check() {
	m.t.Helper()
	require.Equal(m.t, int64(len(m.want)), m.u.Size())
	p := make([]byte, len(m.want)+1)
	n, err := m.u.ReadAt(p, 0)
	require.ErrorIs(m.t, err, io.EOF)
	require.True(m.t, bytes.Equal(m.want, p[:n]), "ReadAt returns other bytes")
	d, err := m.u.Digest(m.t.Context())
	require.NoError(m.t, err)
	require.Equal(m.t, digest.FromBytes(m.want), d)
}

// commit publishes what the model says.
func (m *uploadModel) commit(repo storage.Repository) {
	m.t.Helper()
	_, err := m.u.Commit(m.t.Context(), describe("", m.want))
	require.NoError(m.t, err)
	requireBlob(m.t, repo, digest.FromBytes(m.want), m.want)
}

func testUploadRandom(s *suite) {
	const hole = 3 << 20
	for name, steps := range map[string]func(m *uploadModel){
		"OutOfOrder":       func(m *uploadModel) { m.writeAt("world", 6); m.writeAt("hello ", 0) },
		"FillGap":          func(m *uploadModel) { m.write("a"); m.writeAt("c", 2); m.writeAt("b", 1) },
		"Rewrite":          func(m *uploadModel) { m.write("hello world"); m.writeAt("J", 0); m.writeAt("y!", 4) },
		"RewriteEnd":       func(m *uploadModel) { m.write("hello"); m.writeAt("lo there", 3) },
		"Sparse":           func(m *uploadModel) { m.writeAt("end", hole); m.writeAt("middle", hole/2) },
		"WriteAfterSparse": func(m *uploadModel) { m.writeAt("far", 100); m.write("farther") },
		"WriteAtNothing":   func(m *uploadModel) { m.write("content"); m.writeAt("", 100); m.writeAt("", 3) },
		"Shrink":           func(m *uploadModel) { m.write("content"); m.truncate(3); m.write("vert") },
		"ShrinkToNothing":  func(m *uploadModel) { m.write("content"); m.truncate(0); m.write("other") },
		"ShrinkSame":       func(m *uploadModel) { m.write("content"); m.truncate(7); m.write("!") },
		"Extend":           func(m *uploadModel) { m.write("content"); m.truncate(hole); m.write("!") },
		"ExtendEmpty":      func(m *uploadModel) { m.truncate(5) },
		"ShrinkAndExtend":  func(m *uploadModel) { m.write("content"); m.truncate(2); m.truncate(7) },
		"Seek":             func(m *uploadModel) { m.write("content"); m.seek("X", 3); m.seek("more", 7) },
		"SeekBeyond":       func(m *uploadModel) { m.write("con"); m.seek("tent", hole); m.write("!") },
		"SeekToEnd":        func(m *uploadModel) { m.write("content"); m.seek("tents", 3); m.write("!") },
		"ExtendAndFill":    func(m *uploadModel) { m.write("con"); m.truncate(7); m.writeAt("tent", 3) },
	} {
		s.test(name, func(t *testing.T, reg storage.Registry) {
			repo := repository(t, reg, "app")
			// Once as it goes, and once with every check between the steps, so
			// that a digest taken in the middle changes nothing.
			plain := &uploadModel{t: t, u: begin(t, repo, nil)}
			steps(plain)
			plain.commit(repo)
			checked := &uploadModel{t: t, u: &checkingUpload{Upload: begin(t, repo, nil)}}
			checked.u.(*checkingUpload).after = checked
			steps(checked)
			checked.check()
			require.Equal(t, plain.want, checked.want)
			checked.commit(repo)
		})
	}

	s.test("Model", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		for seed := range uint64(5) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			m := &uploadModel{t: t, u: begin(t, repo, nil)}
			for range 60 {
				content := string(noise(rnd.Uint64(), rnd.IntN(3000)))
				switch rnd.IntN(6) {
				case 0, 1:
					m.write(content)
				case 2, 3:
					m.writeAt(content, rnd.IntN(len(m.want)+2000))
				case 4:
					m.truncate(rnd.IntN(len(m.want) + 2000))
				case 5:
					m.check()
				}
			}
			m.check()
			m.commit(repo)
		}
	})

	s.test("Negative", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		m := &uploadModel{t: t, u: begin(t, repo, nil)}
		m.write("content")
		_, err := m.u.WriteAt([]byte("x"), -1)
		require.Error(t, err)
		require.Error(t, m.u.Truncate(-1))
		_, err = m.u.ReadAt(make([]byte, 1), -1)
		require.Error(t, err)
		m.check() // such a mistake is no failure of the upload
		m.commit(repo)
	})

	s.test("Position", func(t *testing.T, reg storage.Registry) {
		u := begin(t, repository(t, reg, "app"), []byte("content"))
		for _, c := range []struct {
			offset int64
			whence int
			want   int64
		}{
			{0, io.SeekCurrent, 7}, {2, io.SeekStart, 2}, {3, io.SeekCurrent, 5}, {-1, io.SeekCurrent, 4},
			{-3, io.SeekEnd, 4}, {3, io.SeekEnd, 10}, {0, io.SeekCurrent, 10}, {0, io.SeekEnd, 7},
		} {
			pos, err := u.Seek(c.offset, c.whence)
			require.NoError(t, err)
			require.Equal(t, c.want, pos)
		}
		for _, whence := range []int{io.SeekStart, io.SeekCurrent, io.SeekEnd, 7} {
			_, err := u.Seek(-8, whence)
			require.Error(t, err)
		}
		pos, err := u.Seek(0, io.SeekCurrent)
		require.NoError(t, err)
		require.Equal(t, int64(7), pos, "a mistake moves nothing")
		require.Equal(t, int64(7), u.Size(), "nor does going there")
	})

	s.test("ReadFrom", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		content := noise(1, 5<<20+17)
		u := begin(t, repo, content[:3])
		n, err := u.ReadFrom(bytes.NewReader(content[3 : 4<<20]))
		require.NoError(t, err)
		require.Equal(t, int64(4<<20-3), n)
		require.Equal(t, int64(4<<20), u.Size())
		n, err = u.ReadFrom(iotest.HalfReader(bytes.NewReader(content[4<<20:])))
		require.NoError(t, err)
		require.Equal(t, int64(len(content)-4<<20), n)
		n, err = u.ReadFrom(strings.NewReader(""))
		require.NoError(t, err)
		require.Zero(t, n)
		_, err = u.Commit(t.Context(), describe("", content))
		require.NoError(t, err)
		requireBlob(t, repo, digest.FromBytes(content), content)
	})

	// A source that fails is no failure of the upload: what came is there.
	s.test("ReadFromFailing", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		broken := errors.New("the line broke")
		u := begin(t, repo, nil)
		n, err := u.ReadFrom(io.MultiReader(strings.NewReader("con"), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken)
		require.Equal(t, int64(3), n)
		require.Equal(t, int64(3), u.Size())
		write(t, u, []byte("tent"))
		_, err = u.Commit(t.Context(), describe("", []byte("content")))
		require.NoError(t, err)
	})
}

// checkingUpload compares with a model before each change.
type checkingUpload struct {
	storage.Upload
	after *uploadModel
}

func (u *checkingUpload) Write(p []byte) (int, error) {
	u.after.check()
	return u.Upload.Write(p)
}

func (u *checkingUpload) WriteAt(p []byte, off int64) (int, error) {
	u.after.check()
	return u.Upload.WriteAt(p, off)
}

func (u *checkingUpload) Truncate(size int64) error {
	u.after.check()
	return u.Upload.Truncate(size)
}
