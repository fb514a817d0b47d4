package storage_test

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
)

// filesOf is a tree without its directories.
func filesOf(tree map[string]string) map[string]string {
	files := map[string]string{}
	for p, content := range tree {
		if !strings.HasSuffix(p, "/") {
			files[p] = content
		}
	}
	return files
}

func TestLayoutOfImage(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		img := push(t, repository(t, reg, "team/app"), "one", "v1")
		require.Equal(t, map[string]string{
			dataPath(img.config):                      `{"config":"one"}`,
			dataPath(img.layer):                       "layer of one",
			dataPath(img.manifest):                    string(img.payload),
			layerLink("team/app", img.config):         img.config.String(),
			layerLink("team/app", img.layer):          img.layer.String(),
			revisionLink("team/app", img.manifest):    img.manifest.String(),
			currentLink("team/app", "v1"):             img.manifest.String(),
			indexLink("team/app", "v1", img.manifest): img.manifest.String(),
		}, filesOf(tree(t, d)))
		link, err := d.GetContent(t.Context(), currentLink("team/app", "v1"))
		require.NoError(t, err)
		require.Len(t, link, 71)
		require.Regexp(t, `^sha256:[0-9a-f]{64}$`, string(link))
	})
}

func TestLayoutOfRetag(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, create(t, d), "app")
		one, two := push(t, repo, "one", "v1"), push(t, repo, "two", "v1")
		files := filesOf(tree(t, d))
		require.Equal(t, two.manifest.String(), files[currentLink("app", "v1")])
		require.Equal(t, one.manifest.String(), files[indexLink("app", "v1", one.manifest)])
		require.Equal(t, two.manifest.String(), files[indexLink("app", "v1", two.manifest)])
	})
}

func TestLayoutOfSHA512(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, create(t, d), "app")
		content := []byte("content")
		canonical, alias := digest.FromBytes(content), digest.SHA512.FromBytes(content)
		u, err := repo.Blobs().Create(t.Context())
		require.NoError(t, err)
		_, err = u.Write(content)
		require.NoError(t, err)
		_, err = u.Commit(t.Context(), storage.Descriptor{Digest: alias})
		require.NoError(t, err)
		require.Equal(t, map[string]string{
			dataPath(canonical):         "content",
			layerLink("app", canonical): canonical.String(),
			layerLink("app", alias):     canonical.String(),
		}, filesOf(tree(t, d)))
	})
}

func TestLayoutOfUpload(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, create(t, d), "app")
		u, err := repo.Blobs().Create(t.Context())
		require.NoError(t, err)
		_, err = u.Write([]byte("con"))
		require.NoError(t, err)
		require.NoError(t, u.Close())
		dir := path.Join(repos, "app/_uploads", u.ID())
		require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, u.ID())
		files := filesOf(tree(t, d))
		require.Len(t, files, 4)
		require.Equal(t, "con", files[dir+"/data"])
		require.Len(t, files[dir+"/hashstates/sha256/3"], 108, "as crypto/sha256 marshals it")
		require.Contains(t, files, "/registryfs/uploads/"+u.ID())
		require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, files[dir+"/startedat"])

		// Torn by a crash, startedat costs nothing but itself.
		put(t, d, dir+"/startedat", "202")
		info, err := repo.Blobs().Upload(t.Context(), u.ID())
		require.NoError(t, err)
		require.True(t, info.StartedAt.IsZero())
		u, err = repo.Blobs().Resume(t.Context(), u.ID())
		require.NoError(t, err)
		require.NoError(t, u.Cancel(t.Context()))
		require.Empty(t, filesOf(tree(t, d)))
	})
}

// A stock registry fails without these directories.
func TestLayoutDirectories(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		require.Contains(t, tree(t, d), v2+"/blobs/")
		require.Contains(t, tree(t, d), repos+"/")

		from := repository(t, reg, "from")
		img := push(t, from, "one", "")
		index := pushIndex(t, from)
		for name, begin := range map[string]func(repo storage.Repository) error{
			"blob": func(repo storage.Repository) error {
				_, err := repo.Blobs().Put(t.Context(), "", []byte("content"))
				return err
			},
			"upload": func(repo storage.Repository) error {
				u, err := repo.Blobs().Create(t.Context())
				if err != nil {
					return err
				}
				return u.Close()
			},
			"index": func(repo storage.Repository) error {
				_, err := repo.Manifests().Put(t.Context(), "", []byte(
					`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
				return err
			},
			"blob-mount": func(repo storage.Repository) error {
				_, err := repo.Blobs().Mount(t.Context(), from, img.layer)
				return err
			},
			"image-mount": func(repo storage.Repository) error {
				_, err := repo.Manifests().Mount(t.Context(), from, img.manifest)
				return err
			},
			"index-mount": func(repo storage.Repository) error {
				_, err := repo.Manifests().Mount(t.Context(), from, index)
				return err
			},
		} {
			require.NoError(t, begin(repository(t, reg, name)), name)
			require.Contains(t, tree(t, d), path.Join(repos, name, "_layers")+"/", name)
		}
	})
}

// ours matches all that a stock registry may meet where it looks.
var ours = regexp.MustCompile(`^/docker/registry/v2/(` +
	`blobs/sha256/([0-9a-f]{2})/[0-9a-f]{64}/data|` +
	`repositories/[a-z/]+/_layers/(sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})/link|` +
	`repositories/[a-z/]+/_manifests/revisions/sha256/[0-9a-f]{64}/link|` +
	`repositories/[a-z/]+/_manifests/tags/[a-z0-9]+/(current|index/sha256/[0-9a-f]{64})/link|` +
	`repositories/[a-z/]+/_uploads/[0-9a-f-]{36}/(data|startedat|hashstates/sha256/[0-9]+))$`)

// At no moment is there anything in the store that a stock registry does not
// know, nor a tag without its value.
func TestLayoutAtEveryMoment(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		moments := 0
		look := func(op, where string) {
			moments++
			all := tree(t, d)
			for p := range filesOf(all) {
				if strings.HasPrefix(p, "/docker/") {
					require.Regexp(t, ours, p, "around %s of %s", op, where)
				} else {
					require.Regexp(t, `^/registryfs/(staging|uploads|trash|quarantine)/`, p, "around %s of %s", op, where)
				}
			}
			for p := range all {
				if tag, ok := strings.CutSuffix(p, "/"); ok && path.Base(path.Dir(tag)) == "tags" && strings.HasPrefix(tag, v2) {
					require.Contains(t, all, tag+"/current/link", "around %s of %s", op, where)
					require.Contains(t, all, path.Join(tag, "index", strings.ReplaceAll(all[tag+"/current/link"], ":", "/"), "link"),
						"what a tag names is among what it ever named; around %s of %s", op, where)
				}
			}
		}
		tapped := &tap{Driver: d, changing: look, changed: look}
		reg := openRegistry(t, tapped, storage.Options{Create: true, AllowDelete: true})
		repo, to := repository(t, reg, "team/app"), repository(t, reg, "prod/app")
		one, two := push(t, repo, "one", "v1"), push(t, repo, "two", "v1")
		index := pushIndex(t, repo, one, two)
		require.NoError(t, repo.Tags().Tag(t.Context(), "all", index))
		_, err := to.Manifests().Mount(t.Context(), repo, index)
		require.NoError(t, err)
		require.NoError(t, to.Tags().Tag(t.Context(), "v1", index))
		require.NoError(t, repo.Tags().Rename(t.Context(), "v1", "v2"))
		require.NoError(t, repo.Tags().Rename(t.Context(), "v2", "all"))
		require.NoError(t, repo.Tags().Untag(t.Context(), "all"))
		require.NoError(t, repo.Manifests().Delete(t.Context(), index))
		require.NoError(t, repo.Manifests().Delete(t.Context(), one.manifest))
		require.NoError(t, repo.Blobs().Delete(t.Context(), one.layer))
		overwrite(t, d, dataPath(two.layer), 0, []byte("X"))
		push(t, repo, "two", "")
		require.Greater(t, moments, 100)
	})
}

// A new tag is built where no registry looks, and appears by one rename.
func TestLayoutNewTag(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		tapped := &tap{Driver: d}
		repo := repository(t, create(t, tapped), "app")
		img := push(t, repo, "one", "")
		var changes []string
		tapped.changed = func(op, p string) {
			if strings.HasPrefix(p, repos+"/app/_manifests/tags/") {
				changes = append(changes, op+" "+p)
			}
		}
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", img.manifest))
		require.Equal(t, []string{"movedir " + repos + "/app/_manifests/tags/v1"}, changes)

		changes = nil
		two := push(t, repo, "two", "v1")
		require.Equal(t, []string{
			"put " + indexLink("app", "v1", two.manifest),
			"put " + currentLink("app", "v1"),
		}, changes, "the index link first")
	})
}

// Mounting an image writes links and nothing else.
func TestLayoutMountCopiesNothing(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		tapped := &tap{Driver: d}
		reg := create(t, tapped)
		from, to := repository(t, reg, "dev/app"), repository(t, reg, "prod/app")
		amd64, arm64 := push(t, from, "amd64", ""), push(t, from, "arm64", "")
		index := pushIndex(t, from, amd64, arm64)
		before := tree(t, d)

		var order []string
		tapped.changed = func(op, p string) {
			if op != "makedir" {
				require.Equal(t, "put", op, p)
				order = append(order, p)
			}
		}
		_, err := to.Manifests().Mount(t.Context(), from, index)
		require.NoError(t, err)

		want := map[string]string{}
		for _, ds := range [][]digest.Digest{{amd64.config, amd64.layer}, {arm64.config, arm64.layer}} {
			for _, d := range ds {
				want[layerLink("prod/app", d)] = d.String()
			}
		}
		for _, d := range []digest.Digest{index, amd64.manifest, arm64.manifest} {
			want[revisionLink("prod/app", d)] = d.String()
		}
		after := filesOf(tree(t, d))
		for p := range filesOf(before) {
			require.Equal(t, before[p], after[p], p)
			delete(after, p)
		}
		require.Equal(t, want, after)
		require.Equal(t, revisionLink("prod/app", index), order[len(order)-1], "what shows last is whole")
	})
}

func TestMountFromAnotherRegistry(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		from := repository(t, create(t, d), "app")
		img := push(t, from, "one", "")
		to := repository(t, again(t, d), "to")
		_, err := to.Blobs().Mount(t.Context(), from, img.layer)
		require.ErrorIs(t, err, storage.ErrUnsupported)
		_, err = to.Manifests().Mount(t.Context(), from, img.manifest)
		require.ErrorIs(t, err, storage.ErrUnsupported)
	})
}
