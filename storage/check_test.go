package storage_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// checkedStore is a store in a directory, with something of everything in it.
type checkedStore struct {
	dir                    string
	driver                 driver.Driver
	one, two, three, other pushed
	index                  digest.Digest
	content                []byte // of a layer that has two names
	canonical, alias       digest.Digest
}

// noSync makes nothing durable: no test of a check loses power.
type noSync struct{ filedriver.Sys }

func (noSync) Sync(*os.File) error    { return nil }
func (noSync) SyncDir(*os.File) error { return nil }

func newCheckedStore(t *testing.T) *checkedStore {
	t.Helper()
	s := &checkedStore{dir: t.TempDir(), content: []byte("content of two names")}
	s.driver = openDir(t, s.dir, filedriver.Options{Sys: noSync{filedriver.System()}})
	reg := create(t, s.driver)
	app, other := repository(t, reg, "app"), repository(t, reg, "app/other")
	s.one, s.two = push(t, app, "one", "v1"), push(t, app, "two", "moved")
	s.three = push(t, app, "three", "moved") // its history has two values
	s.other = push(t, other, "other", "v1")
	s.index = pushIndex(t, app, s.one, s.two)
	require.NoError(t, app.Tags().Tag(t.Context(), "multi", s.index))
	s.canonical, s.alias = digest.FromBytes(s.content), digest.SHA512.FromBytes(s.content)
	u, err := app.Blobs().Create(t.Context())
	require.NoError(t, err)
	_, err = u.Write(s.content)
	require.NoError(t, err)
	_, err = u.Commit(t.Context(), storage.Descriptor{Digest: s.alias})
	require.NoError(t, err)
	return s
}

// checkDriver checks a store as another process would, and returns the
// findings. Nobody but a repair has anything to write with.
func checkDriver(t *testing.T, d driver.Driver, o storage.CheckOptions) ([]storage.Finding, storage.CheckSummary) {
	t.Helper()
	var all []storage.Finding
	reg := openRegistry(t, d, storage.Options{ReadOnly: !o.Repair})
	summary, err := reg.(storage.Checker).Check(t.Context(), o, func(f storage.Finding) { all = append(all, f) })
	require.NoError(t, err)
	count := storage.CheckSummary{Found: map[storage.FindingKind]int{}}
	for _, f := range all {
		require.NotEmpty(t, f.Reason)
		require.True(t, driver.ValidPath(f.Path) || f.Kind == storage.FindingForeign, f.Path)
		require.False(t, f.Repaired && !o.Repair, "%v", f)
		count.Found[f.Kind]++
		if f.Damage {
			count.Damaged++
			if f.Repaired {
				count.Repaired++
			}
		}
	}
	require.Equal(t, count.Found, summary.Found)
	require.Equal(t, []int{count.Damaged, count.Repaired, count.Found[storage.FindingLeftover]},
		[]int{summary.Damaged, summary.Repaired, summary.Leftovers})
	return all, summary
}

// A finding names some of many.
func TestCheckListsSome(t *testing.T) {
	const blobs, listed = 20, 16
	d := memdriver.New()
	repo := repository(t, create(t, d), "app")
	var layers []string
	for i := range blobs {
		layer := putBlob(t, repo, []byte(fmt.Sprint("layer ", i)))
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}`, layer, len(fmt.Sprint("layer ", i))))
	}
	config := putBlob(t, repo, []byte("{}"))
	_, err := repo.Manifests().Put(t.Context(), "", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":2},"layers":[%s]}`, config, strings.Join(layers, ",")))
	require.NoError(t, err)
	require.NoError(t, d.Delete(t.Context(), repos+"/app/_layers/sha256"))
	for i := range blobs {
		require.NoError(t, d.Delete(t.Context(), dataPath(digest.FromBytes([]byte(fmt.Sprint("layer ", i))))))
	}
	findings, _ := checkDriver(t, d, storage.CheckOptions{})
	require.Len(t, findings, 1)
	require.Equal(t, listed, strings.Count(findings[0].Reason, "sha256:"))
	require.Contains(t, findings[0].Reason, ", and 5 more") // and the configuration
}

func (s *checkedStore) check(t *testing.T, o storage.CheckOptions) ([]storage.Finding, storage.CheckSummary) {
	t.Helper()
	d := s.driver
	if !o.Repair {
		d = openDir(t, s.dir, filedriver.Options{ReadOnly: true})
	}
	return checkDriver(t, d, o)
}

// lines is findings as "kind path" below v2, those of damage or the others.
func lines(findings []storage.Finding, damage bool) []string {
	found := []string{}
	for _, f := range findings {
		if f.Damage == damage {
			found = append(found, string(f.Kind)+" "+strings.TrimPrefix(f.Path, v2))
		}
	}
	return found
}

// line is what lines has of a finding.
func line(kind storage.FindingKind, p string) string {
	return string(kind) + " " + strings.TrimPrefix(p, v2)
}

// whole reads all of an image.
func (s *checkedStore) whole(t *testing.T, name, tag string, img pushed) {
	t.Helper()
	repo := repository(t, again(t, s.driver), name)
	value, err := repo.Tags().Get(t.Context(), tag)
	require.NoError(t, err)
	require.Equal(t, img.manifest, value.Digest)
	m, err := repo.Manifests().Get(t.Context(), img.manifest)
	require.NoError(t, err)
	require.Equal(t, string(img.payload), string(m.Payload()))
	require.NotEmpty(t, readAll(t, repo, img.layer))
	require.NotEmpty(t, readAll(t, repo, img.config))
}

func TestCheckClean(t *testing.T) {
	s := newCheckedStore(t)
	var hashed, total int64
	findings, summary := s.check(t, storage.CheckOptions{})
	require.Empty(t, findings)
	_, again := s.check(t, storage.CheckOptions{Repair: true})
	require.Equal(t, summary, again)
	for p, content := range filesOf(tree(t, s.driver)) {
		if path.Base(p) == "data" {
			total += int64(len(content))
			hashed++
		}
	}
	require.Equal(t, storage.CheckSummary{
		Repositories: 2, Manifests: 5, Tags: 4, Links: 20, Blobs: int(hashed), Bytes: total,
		Found: map[storage.FindingKind]int{},
	}, summary)
}

func TestCheckOfDrivers(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		findings, _ := checkDriver(t, d, storage.CheckOptions{})
		require.Empty(t, lines(findings, true), "an empty store")
		img := push(t, repository(t, reg, "app"), "one", "v1")
		overwrite(t, d, dataPath(img.layer), 0, []byte("X"))
		findings, _ = checkDriver(t, d, storage.CheckOptions{Repair: true})
		want := []string{
			line(storage.FindingCorrupt, dataPath(img.layer)),
			line(storage.FindingDangling, layerLink("app", img.layer)),
			line(storage.FindingMissing, revisionLink("app", img.manifest)),
		}
		require.Equal(t, want, lines(findings, true))
		push(t, repository(t, reg, "app"), "one", "v1")
		findings, _ = checkDriver(t, d, storage.CheckOptions{})
		require.Empty(t, lines(findings, true), "pushed again")
	})
}

func TestCheckProgress(t *testing.T) {
	s := newCheckedStore(t)
	big := noise(3<<20 + 17)
	putBlob(t, repository(t, again(t, s.driver), "app"), big)
	progress := make(chan [2]int64, 1000)
	_, summary := s.check(t, storage.CheckOptions{Progress: func(n, total int64) { progress <- [2]int64{n, total} }})
	close(progress)
	var sum int64
	for p := range progress {
		sum += p[0]
		require.Equal(t, summary.Bytes, p[1])
	}
	require.Equal(t, summary.Bytes, sum)
	require.Greater(t, sum, int64(len(big)))
}

// ageLinks makes all files of a store so old that no link is read again.
func ageLinks(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	for _, p := range pathsBelow(t, dir) {
		if info, err := os.Lstat(p); err == nil && info.Mode().IsRegular() {
			require.NoError(t, os.Chtimes(p, old, old))
		}
	}
}

// contentsOf is what all files of a directory hold that are longer than a link,
// wherever they are: by size, for what is too large to be read.
func contentsOf(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for _, p := range pathsBelow(t, dir) {
		info, err := os.Lstat(p)
		require.NoError(t, err)
		switch {
		case info.Mode().Type()&^fs.ModeDir != 0, info.IsDir():
		case path.Base(p) == "link" && info.Size() <= storage.MaxLink: // a repair rewrites these
		case info.Size() > 1<<20:
			all = append(all, fmt.Sprint(info.Size()))
		default:
			content, err := os.ReadFile(p)
			require.NoError(t, err)
			all = append(all, string(content))
		}
	}
	return all
}

// A signature that is there, of a manifest of schema 1, is no finding.
func TestCheckSignature(t *testing.T) {
	s := newCheckedStore(t)
	signature := putBlob(t, repository(t, again(t, s.driver), "app"), []byte("signature"))
	put(t, s.driver, checkedSignature(s, signature), signature.String())
	findings, _ := s.check(t, storage.CheckOptions{})
	require.Empty(t, findings)
}

// Directories that a store cannot be without are made.
func TestCheckMissingDirectories(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+v2, 0o755))
	findings, _ := checkDriver(t, openDir(t, dir, filedriver.Options{ReadOnly: true}), storage.CheckOptions{})
	require.Equal(t, []string{"half-written /blobs", "half-written /repositories"}, lines(findings, false))
	require.Empty(t, lines(findings, true), "a new store")
	d := openDir(t, dir, filedriver.Options{})
	checkDriver(t, d, storage.CheckOptions{Repair: true})
	require.Contains(t, tree(t, d), v2+"/blobs/")
	require.Contains(t, tree(t, d), repos+"/")
}

func TestCheckReadOnly(t *testing.T) {
	s := newCheckedStore(t)
	_, err := openRegistry(t, s.driver, storage.Options{ReadOnly: true}).(storage.Checker).
		Check(t.Context(), storage.CheckOptions{Repair: true}, func(storage.Finding) { t.Fail() })
	require.ErrorIs(t, err, storage.ErrReadOnly)
}

// Not even an access time changes.
func TestCheckLeavesNoTrace(t *testing.T) {
	s := newCheckedStore(t)
	overwrite(t, s.driver, dataPath(s.one.layer), 0, []byte("X"))
	paths := pathsBelow(t, s.dir)
	long := time.Now().Add(-48 * time.Hour)
	for _, p := range paths {
		require.NoError(t, os.Chtimes(p, long, time.Now()))
	}
	before := inodes(t, paths)
	findings, _ := s.check(t, storage.CheckOptions{})
	require.NotEmpty(t, findings)
	require.Equal(t, before, inodes(t, paths))
	require.Equal(t, paths, pathsBelow(t, s.dir))
}

func TestCheckEnds(t *testing.T) {
	s := newCheckedStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	put(t, s.driver, strays[0], "x")
	_, err := again(t, s.driver).(storage.Checker).Check(ctx, storage.CheckOptions{}, func(storage.Finding) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
}

// Many repositories share one image, as they often do.
func TestCheckManyRepositories(t *testing.T) {
	s := newCheckedStore(t)
	const many = 1000
	for i := range many {
		name := fmt.Sprintf("team%d/app%d", i%10, i)
		for p, d := range map[string]digest.Digest{
			layerLink(name, s.one.config):         s.one.config,
			layerLink(name, s.one.layer):          s.one.layer,
			revisionLink(name, s.one.manifest):    s.one.manifest,
			currentLink(name, "v1"):               s.one.manifest,
			indexLink(name, "v1", s.one.manifest): s.one.manifest,
		} {
			require.NoError(t, os.MkdirAll(path.Dir(s.dir+p), 0o755))
			require.NoError(t, os.WriteFile(s.dir+p, []byte(d), 0o644))
		}
	}
	start := time.Now()
	findings, summary := s.check(t, storage.CheckOptions{})
	require.Empty(t, findings)
	require.Equal(t, many+2, summary.Repositories)
	t.Logf("%d repositories in %v", summary.Repositories, time.Since(start))
}

// Content behind a symlink is not looked at, and so is as good as lost.
func TestCheckBlobsIsSymlink(t *testing.T) {
	s := newCheckedStore(t)
	require.NoError(t, os.Rename(s.dir+v2+"/blobs", s.dir+"/elsewhere"))
	require.NoError(t, os.Symlink(s.dir+"/elsewhere", s.dir+v2+"/blobs"))
	findings, summary := s.check(t, storage.CheckOptions{})
	require.Equal(t, "corrupt /blobs", lines(findings, true)[0])
	require.Zero(t, summary.Blobs)
}
