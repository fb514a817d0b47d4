package storage_test

import (
	"context"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
)

// linkKinds is each kind of link, with what reads it.
var linkKinds = map[string]struct {
	path func(img pushed) string
	read func(ctx context.Context, repo storage.Repository, img pushed) (digest.Digest, error)
}{
	"Layer": {
		func(img pushed) string { return layerLink("app", img.layer) },
		func(ctx context.Context, repo storage.Repository, img pushed) (digest.Digest, error) {
			desc, err := repo.Blobs().Stat(ctx, img.layer)
			return desc.Digest, err
		},
	},
	"Revision": {
		func(img pushed) string { return revisionLink("app", img.manifest) },
		func(ctx context.Context, repo storage.Repository, img pushed) (digest.Digest, error) {
			desc, err := repo.Manifests().Stat(ctx, img.manifest)
			return desc.Digest, err
		},
	},
	"Tag": {
		func(pushed) string { return currentLink("app", "v1") },
		func(ctx context.Context, repo storage.Repository, _ pushed) (digest.Digest, error) {
			tag, err := repo.Tags().Get(ctx, "v1")
			return tag.Digest, err
		},
	},
}

// onLinks runs a test for each kind of link on each kind of driver.
func onLinks(t *testing.T, fn func(t *testing.T, d *tap, link string, read func(context.Context) (digest.Digest, error))) {
	for name, kind := range linkKinds {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				tapped := &tap{Driver: d}
				repo := repository(t, create(t, tapped), "app")
				img := push(t, repo, "one", "v1")
				fn(t, tapped, kind.path(img), func(ctx context.Context) (digest.Digest, error) {
					return kind.read(ctx, repo, img)
				})
			})
		})
	}
}

// A registry that rewrites a link in place leaves it empty for a moment.
func TestLinkEmptyForAMoment(t *testing.T) {
	onLinks(t, func(t *testing.T, d *tap, link string, read func(context.Context) (digest.Digest, error)) {
		content, err := d.GetContent(t.Context(), link)
		require.NoError(t, err)
		put(t, d, link, "")
		opens := 0
		d.opening = func(path string) {
			if path != link {
				return
			}
			if opens++; opens == 3 {
				put(t, d.Driver, link, string(content))
			}
		}
		got, err := read(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(content), got.String())
		require.Equal(t, 3, opens)
	})
}

func TestLinkEmptyForGood(t *testing.T) {
	onLinks(t, func(t *testing.T, d *tap, link string, read func(context.Context) (digest.Digest, error)) {
		put(t, d, link, "")
		_, err := read(t.Context())
		require.ErrorIs(t, err, storage.ErrCorrupt)
		require.ErrorContains(t, err, link)
	})
}

func TestLinkEmptyAndOld(t *testing.T) {
	onLinks(t, func(t *testing.T, d *tap, link string, read func(context.Context) (digest.Digest, error)) {
		put(t, d, link, "")
		d.stat = func(info *driver.FileInfo) { info.ModTime = info.ModTime.Add(-time.Second) }
		opens := d.count(link)
		_, err := read(t.Context())
		require.ErrorIs(t, err, storage.ErrCorrupt)
		require.EqualValues(t, 1, opens.opens.Load(), "nobody waits for an old link")
	})
}

func TestLinkWaitIsInterrupted(t *testing.T) {
	onLinks(t, func(t *testing.T, d *tap, link string, read func(context.Context) (digest.Digest, error)) {
		put(t, d, link, "")
		ctx, cancel := context.WithCancel(t.Context())
		opens := 0
		d.opening = func(path string) {
			if path != link {
				return
			}
			if opens++; opens == 2 {
				cancel()
			}
		}
		_, err := read(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestLinkCorrupt(t *testing.T) {
	good := digest.FromBytes([]byte("content")).String()
	for name, content := range map[string]string{
		"Newline":    good + "\n",
		"OnlyLine":   "\n",
		"Space":      " " + good,
		"Garbage":    "no digest",
		"UpperCase":  strings.ToUpper(good),
		"Short":      good[:70],
		"Long":       good + "0",
		"OtherAlgo":  "md5:9a0364b9e99bb480dd25e1f0284c8555",
		"Binary":     "\x00\xff",
		"TooLong":    strings.Repeat("0", storage.MaxLink+1),
		"Traversing": "sha256:../../../../etc/passwd",
	} {
		t.Run(name, func(t *testing.T) {
			onLinks(t, func(t *testing.T, d *tap, link string, read func(context.Context) (digest.Digest, error)) {
				put(t, d, link, content)
				_, err := read(t.Context())
				require.ErrorIs(t, err, storage.ErrCorrupt)
				require.ErrorContains(t, err, link)
			})
		})
	}
}

// A link of a gigabyte costs no more than a link.
func TestLinkHuge(t *testing.T) {
	onLinks(t, func(t *testing.T, d *tap, link string, read func(context.Context) (digest.Digest, error)) {
		truncate(t, d, link, 1<<30)
		reads := d.count(link)
		_, err := read(t.Context())
		require.ErrorIs(t, err, storage.ErrCorrupt)
		require.LessOrEqual(t, reads.bytes.Load(), int64(storage.MaxLink+1))
	})
}

// Content that a wrong link names is never served under the name asked for.
func TestLinkNamesAnother(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, create(t, d), "app")
		one, two := push(t, repo, "one", "v1"), push(t, repo, "two", "v2")
		put(t, d, layerLink("app", one.layer), two.layer.String())
		put(t, d, revisionLink("app", one.manifest), two.manifest.String())
		for op, err := range map[string]error{
			"stat":          second(repo.Blobs().Stat(t.Context(), one.layer)),
			"open":          second(repo.Blobs().Open(t.Context(), one.layer)),
			"get":           second(repo.Blobs().Get(t.Context(), one.layer)),
			"stat manifest": second(repo.Manifests().Stat(t.Context(), one.manifest)),
			"open manifest": second(repo.Manifests().Open(t.Context(), one.manifest)),
			"get manifest":  second(repo.Manifests().Get(t.Context(), one.manifest)),
		} {
			require.ErrorIs(t, err, storage.ErrCorrupt, op)
		}
		push(t, repo, "one", "")
		require.Equal(t, "layer of one", string(readAll(t, repo, one.layer)), "a push heals the link")
		_, err := repo.Manifests().Get(t.Context(), one.manifest)
		require.NoError(t, err)
	})
}

// The alias of a sha512 that names other content.
func TestLinkAliasNamesAnother(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, create(t, d), "app")
		alias := digest.SHA512.FromString("content")
		other := putBlob(t, repo, []byte("other"))
		put(t, d, layerLink("app", alias), other.String())
		_, err := repo.Blobs().Open(t.Context(), alias)
		require.ErrorIs(t, err, storage.ErrCorrupt)
		require.Equal(t, "other", string(readAll(t, repo, other)), "what is wrong is the alias")
	})
}

// One damaged link hides nothing but itself, and can be removed.
func TestLinkDamageIsLocal(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := openRegistry(t, d, storage.Options{Create: true, AllowDelete: true})
		repo := repository(t, reg, "app")
		one, two := push(t, repo, "one", "v1"), push(t, repo, "two", "v2")
		for _, link := range []string{
			layerLink("app", one.layer), revisionLink("app", one.manifest), currentLink("app", "v1"),
		} {
			put(t, d, link, "garbage")
		}
		names, err := repo.Tags().All(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"v1", "v2"}, names)
		found, err := repo.Tags().Lookup(t.Context(), two.manifest)
		require.NoError(t, err)
		require.Equal(t, []string{"v2"}, found)
		history, err := repo.Tags().History(t.Context(), "v1")
		require.NoError(t, err)
		require.Equal(t, []digest.Digest{one.manifest}, history, "how to bring it back")
		require.Len(t, blobsOf(t, repo), 4)

		require.NoError(t, repo.Tags().Untag(t.Context(), "v1"))
		_, err = repo.Tags().Get(t.Context(), "v1")
		require.ErrorIs(t, err, storage.ErrTagUnknown)
	})
}

// What is no link, though it stands where links do, is passed over.
func TestLinksPassedOver(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, dir string) {
		repo := repository(t, create(t, d), "app")
		img := push(t, repo, "one", "v1")
		layers, tags := path.Join(repos, "app/_layers"), path.Join(repos, "app/_manifests/tags")
		absent := digest.FromBytes([]byte("absent"))
		put(t, d, layers+"/sha256/short/link", img.layer.String())
		put(t, d, layers+"/tarsum/dev/sha256/"+absent.Encoded()+"/link", img.layer.String())
		put(t, d, layerLink("app", img.layer)+".1234.tmp", "")
		require.NoError(t, driver.MakeDir(t.Context(), d, path.Dir(layerLink("app", absent)))) // a deleted link
		put(t, d, path.Dir(layerLink("app", digest.FromBytes([]byte("file")))), "a file in place of its directory")
		put(t, d, tags+"/stray", "")
		put(t, d, tags+"/-invalid/current/link", img.manifest.String())
		put(t, d, indexLink("app", "half", img.manifest), img.manifest.String())
		if dir != "" {
			symlinked := layerLink("app", digest.FromBytes([]byte("symlink")))
			put(t, d, symlinked+".tmp", "")
			require.NoError(t, unix.Symlink("/etc/passwd", dir+symlinked))
			require.NoError(t, driver.MakeDir(t.Context(), d, tags+"/fifo/current"))
			require.NoError(t, unix.Mkfifo(dir+tags+"/fifo/current/link", 0o600))
		}
		require.ElementsMatch(t, []digest.Digest{img.config, img.layer}, blobsOf(t, repo))
		names, err := repo.Tags().All(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"v1"}, names)
		_, err = repo.Tags().Get(t.Context(), "half")
		require.ErrorIs(t, err, storage.ErrTagUnknown)
		require.ErrorIs(t, repo.Tags().Untag(t.Context(), "half"), storage.ErrTagUnknown)

		// A tag that another registry began is finished.
		require.NoError(t, repo.Tags().Tag(t.Context(), "half", img.manifest))
		names, err = repo.Tags().All(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"half", "v1"}, names)
	})
}

func blobsOf(t *testing.T, repo storage.Repository) []digest.Digest {
	t.Helper()
	var all []digest.Digest
	require.NoError(t, repo.Blobs().Enumerate(t.Context(), func(d digest.Digest) error {
		all = append(all, d)
		return nil
	}))
	return all
}

// second is the error of a call.
func second[T any](_ T, err error) error { return err }
