package storage_test

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
)

// What cannot be read may be good: it is damage, but nothing is taken away.
func TestCheckUnreadable(t *testing.T) {
	for name, which := range map[string]func(s *checkedStore) string{
		"Layer":    func(s *checkedStore) string { return dataPath(s.one.layer) },
		"Manifest": func(s *checkedStore) string { return dataPath(s.one.manifest) },
		"Link":     func(s *checkedStore) string { return layerLink("app", s.one.layer) },
		"Tag":      func(*checkedStore) string { return currentLink("app", "v1") },
		"Blobs":    func(*checkedStore) string { return v2 + "/blobs/sha256" },
		"Tags":     func(*checkedStore) string { return repos + "/app/_manifests/tags" },
		"Current":  func(*checkedStore) string { return path.Dir(currentLink("app", "v1")) },
		"History":  func(s *checkedStore) string { return indexLink("app", "moved", s.two.manifest) },
		"Revision": func(s *checkedStore) string { return revisionLink("app", s.one.manifest) },
		"Sets":     func(*checkedStore) string { return repos + "/app/_manifests/revisions" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newCheckedStore(t)
			if name == "History" { // what it leaves may not pass for all of it
				put(t, s.driver, currentLink("app", "moved"), "forged")
				ageLinks(t, s.dir)
			}
			before := tree(t, s.driver)
			d := &unreadableDriver{Driver: s.driver, path: which(s)}
			findings, summary := checkDriver(t, d, storage.CheckOptions{Repair: true})
			require.Contains(t, lines(findings, true), line(storage.FindingUnreadable, which(s)))
			require.Zero(t, summary.Repaired)
			require.Equal(t, before, tree(t, s.driver))
		})
	}
}

// What is behind a symlink cannot be seen, and may be all there: nothing is taken
// away for that, nor written anew.
func TestRepairBesideSymlink(t *testing.T) {
	sha512 := digest.SHA512.FromBytes([]byte("a manifest by another name"))
	for name, which := range map[string]func(s *checkedStore) string{
		"Parts":      func(*checkedStore) string { return repos + "/app/_manifests" },
		"Revisions":  func(*checkedStore) string { return repos + "/app/_manifests/revisions" },
		"Algorithm":  func(*checkedStore) string { return repos + "/app/_manifests/revisions/sha256" },
		"Revision":   func(s *checkedStore) string { return path.Dir(revisionLink("app", s.three.manifest)) },
		"Alias":      func(*checkedStore) string { return revisionLink("app", sha512) },
		"Tags":       func(*checkedStore) string { return repos + "/app/_manifests/tags" },
		"Tag":        func(*checkedStore) string { return repos + "/app/_manifests/tags/v1" },
		"Current":    func(*checkedStore) string { return path.Dir(currentLink("app", "v1")) },
		"Value":      func(*checkedStore) string { return currentLink("app", "moved") },
		"History":    func(*checkedStore) string { return repos + "/app/_manifests/tags/empty/index" },
		"Layers":     func(*checkedStore) string { return repos + "/app/_layers" },
		"LayersOf":   func(*checkedStore) string { return repos + "/app/_layers/sha256" },
		"Layer":      func(s *checkedStore) string { return path.Dir(layerLink("app", s.one.layer)) },
		"Namespace":  func(*checkedStore) string { return repos + "/app/other" },
		"Blobs":      func(*checkedStore) string { return v2 + "/blobs/sha256" },
		"Shard":      func(s *checkedStore) string { return path.Dir(path.Dir(dataPath(s.three.manifest))) },
		"Blob":       func(s *checkedStore) string { return path.Dir(dataPath(s.three.manifest)) },
		"LayersBlob": func(s *checkedStore) string { return path.Dir(dataPath(s.one.layer)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newCheckedStore(t)
			switch name {
			case "Alias":
				put(t, s.driver, revisionLink("app", sha512), s.three.manifest.String())
				put(t, s.driver, currentLink("app", "alias"), sha512.String())
			case "History":
				put(t, s.driver, currentLink("app", "empty"), "")
				put(t, s.driver, indexLink("app", "empty", s.one.manifest), s.one.manifest.String())
			}
			ageLinks(t, s.dir)
			p := s.dir + which(s)
			require.NoError(t, os.Rename(p, s.dir+"/elsewhere"))
			require.NoError(t, os.Symlink(s.dir+"/elsewhere", p))
			before := everything(t, s.driver, s.dir)
			findings, summary := s.check(t, storage.CheckOptions{Repair: true})
			require.Equal(t, before, everything(t, s.driver, s.dir), "%+v", findings)
			require.Zero(t, summary.Repaired)
			require.Equal(t, which(s), firstDamage(findings).Path)

			require.NoError(t, os.Remove(p))
			require.NoError(t, os.Rename(s.dir+"/elsewhere", p))
			s.rest(t, nil)
		})
	}
}

func firstDamage(findings []storage.Finding) storage.Finding {
	i := slices.IndexFunc(findings, func(f storage.Finding) bool { return f.Damage })
	return findings[max(i, 0)]
}

// unreadableDriver is a driver on a disk with a bad sector.
type unreadableDriver struct {
	driver.Driver
	path string
}

func (d *unreadableDriver) fail(p string) error {
	if p == d.path {
		return &fs.PathError{Op: "read", Path: p, Err: syscall.EIO}
	}
	return nil
}

func (d *unreadableDriver) List(ctx context.Context, p string) ([]string, error) {
	if err := d.fail(p); err != nil {
		return nil, err
	}
	return d.Driver.List(ctx, p)
}

func (d *unreadableDriver) Stat(ctx context.Context, p string) (driver.FileInfo, error) {
	if err := d.fail(p); err != nil {
		return driver.FileInfo{}, err
	}
	return d.Driver.Stat(ctx, p)
}

func (d *unreadableDriver) OpenAt(ctx context.Context, p string) (driver.File, error) {
	if err := d.fail(p); err != nil {
		return nil, err
	}
	return driver.OpenAt(ctx, d.Driver, p)
}

func (d *unreadableDriver) Reader(ctx context.Context, p string, offset int64) (io.ReadCloser, error) {
	if err := d.fail(p); err != nil {
		return nil, err
	}
	return d.Driver.Reader(ctx, p, offset)
}

func (d *unreadableDriver) MoveDir(ctx context.Context, src, dst string) error {
	return driver.MoveDir(ctx, d.Driver, src, dst)
}
