package fsmount_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// hugeSize is the size in bytes of a file that must not be read into memory.
const hugeSize = 1 << 30

// damage is what happens to a file of the store behind the mount.
type damage struct {
	name string
	do   func(t *testing.T, path string)
	// isNoLink is what leaves no file: a link of that kind is not listed.
	isNoLink bool
}

// anything is damage to a file of any kind.
var anything = []damage{
	{"its first bit flipped", func(t *testing.T, path string) { flip(t, path, func(int) int { return 0 }) }, false},
	{"a bit in the middle flipped", func(t *testing.T, path string) { flip(t, path, func(size int) int { return size / 2 }) }, false},
	{"its last bit flipped", func(t *testing.T, path string) { flip(t, path, func(size int) int { return size - 1 }) }, false},
	{"a byte short", func(t *testing.T, path string) { cut(t, path, func(size int64) int64 { return size - 1 }) }, false},
	{"a byte long", func(t *testing.T, path string) { cut(t, path, func(size int64) int64 { return size + 1 }) }, false},
	{"empty", func(t *testing.T, path string) { cut(t, path, func(int64) int64 { return 0 }) }, false},
	{"huge", func(t *testing.T, path string) { cut(t, path, func(int64) int64 { return hugeSize }) }, false},
	{"zeros", func(t *testing.T, path string) {
		cut(t, path, func(int64) int64 { return 0 })
		cut(t, path, func(int64) int64 { return 100 })
	}, false},
	{"a directory", func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Mkdir(path, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(path, "file"), []byte("x"), 0o644))
	}, false},
	{"a symlink to what it was", func(t *testing.T, path string) {
		require.NoError(t, os.Rename(path, path+".away"))
		require.NoError(t, os.Symlink(filepath.Base(path)+".away", path))
	}, true},
	{"a symlink out of the store", func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Symlink("/etc/passwd", path))
	}, true},
	{"a symlink to nowhere", func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Symlink("nowhere", path))
	}, true},
	{"a FIFO", func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, unix.Mkfifo(path, 0o644))
	}, true},
	{"a device", func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, unix.Mknod(path, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5)))) // endless zeros
	}, true},
}

func flip(t *testing.T, path string, where func(size int) int) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[where(len(content))] ^= 1
	require.NoError(t, os.WriteFile(path, content, 0o644))
}

func cut(t *testing.T, path string, size func(int64) int64) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, size(info.Size())))
}

// replaced is damage that leaves other content in a file.
func replaced(name string, content func(i image) string) func(i image) damage {
	return func(i image) damage {
		return damage{name, func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, []byte(content(i)), 0o644))
		}, false}
	}
}

// onlyLinks is damage to a link, given another image that the repository has.
var onlyLinks = []func(i image) damage{
	replaced("a newline more", func(i image) string { return i.manifest.digest() + "\n" }),
	replaced("no digest", func(image) string { return "nonsense" }),

	replaced("in upper case", func(i image) string { return strings.ToUpper(i.manifest.digest()) }),
	replaced("of an algorithm that nobody has", func(image) string { return "md5:" + strings.Repeat("0", 32) }),
	replaced("a path", func(image) string { return "sha256:../../../../../../../etc/passwd" }),
}

// onlyNamed is damage to a link that has to name what it is named by.
var onlyNamed = []func(i image) damage{
	replaced("the digest of other content", func(i image) string { return i.manifest.digest() }),
	replaced("the digest of a blob", func(i image) string { return i.layers[0].digest() }),
}

// onlyContent is damage to content, given another image that the repository has.
var onlyContent = []func(i image) damage{
	replaced("other content of the repository", func(i image) string {
		content, _ := i.manifest.content()
		return string(content)
	}),
}

// TestDamage does every damage to every file that reading depends on. Whatever
// happens to a file, reading it is an I/O error that .registryfs/errors
// explains, its directory can be listed, other files can be read, and a push of
// what belongs there heals it.
func TestDamage(t *testing.T) {
	t.Parallel()
	m := newMount(t, serveOptions{Store: t.TempDir()})
	at := func(r *repo, rest string) string {
		return filepath.Join("docker/registry/v2/repositories", r.name, rest)
	}
	for _, part := range []struct {
		name string
		only [][]func(i image) damage
		file func(r *repo, i image) string // in the store
		path func(i image) string          // in the repository
		heal string                        // where that is not cp
		keep bool                          // in quarantine
	}{
		{"a blob's content", [][]func(i image) damage{onlyContent},
			func(_ *repo, i image) string { return i.layers[0].stored() },
			func(i image) string { return "_blobs/sha256/" + i.layers[0].hex }, "", true},
		{"a blob's link", [][]func(i image) damage{onlyLinks, onlyNamed},
			func(r *repo, i image) string { return at(r, "_layers/sha256/"+i.layers[0].hex+"/link") },
			func(i image) string { return "_blobs/sha256/" + i.layers[0].hex }, "", false},
		{"a manifest's content", [][]func(i image) damage{onlyContent},
			func(_ *repo, i image) string { return i.manifest.stored() },
			func(i image) string { return "_manifests/sha256/" + i.manifest.hex }, "", true},
		{"a manifest's link", [][]func(i image) damage{onlyLinks, onlyNamed},
			func(r *repo, i image) string { return at(r, "_manifests/revisions/sha256/"+i.manifest.hex+"/link") },
			func(i image) string { return "_manifests/sha256/" + i.manifest.hex }, "", false},
		{"a tag's link", [][]func(i image) damage{onlyLinks},
			func(r *repo, _ image) string { return at(r, "_manifests/tags/v1/current/link") },
			func(image) string { return "_tags/v1" }, `ln -sfn "sha256:$3" "$R/_tags/v1"`, false},
	} {
		t.Run(part.name, func(t *testing.T) {
			r := m.repo(t)
			other, i := r.pushed(t, "other", "other"), r.pushed(t, "image", "v1")
			want, path := i.manifest, part.path(i)
			if strings.HasPrefix(path, "_blobs") {
				want = i.layers[0]
			}
			heal := part.heal
			if heal == "" {
				heal = `cp "$1" "$R/$2"`
			}
			all := anything
			for _, kind := range part.only {
				for _, with := range kind {
					all = append(all[:len(all):len(all)], with(other))
				}
			}
			for n, d := range all {
				t.Run(d.name, func(t *testing.T) {
					file := filepath.Join(m.store, part.file(r, i))
					d.do(t, file)
					got := r.sh(t, `cat "$R/$1"`, path)
					require.NotZero(t, got.status)
					require.Empty(t, got.stdout)
					// A tag may come to name what was never there.
					if part.heal == "" || !strings.Contains(got.stderr, "No such file") {
						require.Contains(t, got.stderr, "Input/output error")
						last := r.ok(t, `tail -n 1 "$M/.registryfs/errors"`)
						require.Contains(t, last, "/"+r.name+"/")
						require.Contains(t, last, part.file(r, i))
					}
					list := strings.Fields(r.ok(t, `ls "$R/$(dirname "$1")"; cmp "$2" "$R/_tags/other" >&2`, path, other.manifest.path))
					if isLink := strings.HasSuffix(file, "/link"); !isLink || !d.isNoLink {
						require.Contains(t, list, filepath.Base(path))
					}
					kept := r.ok(t, heal+`
						sha256sum < "$R/$2" | grep -q "$3"
						cmp "$4" "$R/_tags/v1" >&2
						find "$STORE/registryfs" -path "*/quarantine/sha256/*" -name "$3*" | wc -l`, want.path, path, want.hex, i.manifest.path)
					if part.keep {
						require.Equal(t, strconv.Itoa(n+1), kept, "in quarantine")
					} else {
						require.Equal(t, "0", kept, "in quarantine")
					}
				})
			}
		})
	}
	require.Less(t, m.peakMemory(t), int64(hugeSize), "nothing huge is read into memory")
}

// peakMemory is the most bytes that the server has had resident.
func (m *mounted) peakMemory(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.server.Process.Pid))
	require.NoError(t, err)
	_, rest, found := bytes.Cut(status, []byte("VmHWM:"))
	require.True(t, found)
	kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
	require.NoError(t, err)
	return kib << 10
}
