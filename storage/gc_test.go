package storage_test

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// now collects whatever is not needed, however young it is.
var (
	now         = storage.CollectOptions{Offline: true}
	nowUntagged = storage.CollectOptions{Offline: true, Untagged: true}
)

// collected is what a collection did.
type collected struct {
	storage.CollectSummary
	things []storage.Collected
}

func collect(t *testing.T, reg storage.Registry, o storage.CollectOptions) collected {
	t.Helper()
	var c collected
	var err error
	c.CollectSummary, err = reg.(storage.Collector).Collect(t.Context(), o, func(it storage.Collected) { c.things = append(c.things, it) })
	require.NoError(t, err)
	count := func(kinds ...storage.CollectKind) (n int) {
		for _, it := range c.things {
			if slices.Contains(kinds, it.Kind) && (it.Step == storage.CollectRemoved || it.Kind == storage.CollectDamage) {
				n++
			}
		}
		return n
	}
	require.Equal(t, c.Manifests, count(storage.CollectManifest))
	require.Equal(t, c.Links, count(storage.CollectLink))
	require.Equal(t, c.Blobs, count(storage.CollectBlob))
	require.Equal(t, c.Leftovers, count(storage.CollectLeftover))
	require.Equal(t, c.Damage, count(storage.CollectDamage))
	return c
}

// gone lists what was removed, as "kind repository digest", in order.
func (c collected) gone() []string {
	lines := []string{}
	for _, it := range c.things {
		if it.Step == storage.CollectRemoved {
			lines = append(lines, goneLine(it.Kind, it.Repository, it.Digest))
		}
	}
	slices.Sort(lines)
	return lines
}

func goneLine(kind storage.CollectKind, repo string, d digest.Digest) string {
	return fmt.Sprintf("%s %s %s", kind, repo, d)
}

// goneLines is those of a manifest, of links and of blobs, in order.
func goneLines(repo string, manifests, links, blobs []digest.Digest) []string {
	all := []string{}
	for _, d := range manifests {
		all = append(all, goneLine(storage.CollectManifest, repo, d))
	}
	for _, d := range links {
		all = append(all, goneLine(storage.CollectLink, repo, d))
	}
	for _, d := range blobs {
		all = append(all, goneLine(storage.CollectBlob, "", d))
	}
	slices.Sort(all)
	return all
}

// wholeImage is the lines of all that an image consists of.
func wholeImage(repo string, images ...pushed) []string {
	var all []string
	for _, img := range images {
		all = append(all, goneLines(repo, []digest.Digest{img.manifest}, img.blobs(), append(img.blobs(), img.manifest))...)
	}
	slices.Sort(all)
	return all
}

func (p pushed) blobs() []digest.Digest { return []digest.Digest{p.config, p.layer} }

// pushReferrer stores an image with a subject.
func pushReferrer(t *testing.T, repo storage.Repository, word string, subject digest.Digest) pushed {
	t.Helper()
	config, layer := []byte(`{"config of":"`+word+`"}`), []byte("layer of "+word)
	img := pushed{config: putBlob(t, repo, config), layer: putBlob(t, repo, layer)}
	img.payload = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":%d},`+
		`"layers":[{"mediaType":"text/plain","digest":"%s","size":%d}],`+
		`"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":7}}`,
		img.config, len(config), img.layer, len(layer), subject)
	desc, err := repo.Manifests().Put(t.Context(), "", img.payload)
	require.NoError(t, err)
	img.manifest = desc.Digest
	return img
}

// checkWhole reads all that a store shows, which must be whole.
func checkWhole(t *testing.T, reg storage.Registry) {
	t.Helper()
	require.NoError(t, storage.Walk(t.Context(), reg, func(name string) error {
		repo := repository(t, reg, name)
		err := repo.Manifests().Enumerate(t.Context(), func(d digest.Digest) error {
			m, err := repo.Manifests().Get(t.Context(), d)
			require.NoError(t, err, "manifest %s of %s", d, name)
			for _, blob := range m.References().RequiredBlobs() {
				readAll(t, repo, blob.Digest)
			}
			for _, child := range m.References().Manifests {
				_, err := repo.Manifests().Stat(t.Context(), child.Digest)
				if err != nil { // a cache lists blobs there
					_, err = repo.Blobs().Stat(t.Context(), child.Digest)
				}
				require.NoError(t, err, "child of %s in %s", d, name)
			}
			return nil
		})
		require.NoError(t, err)
		for _, d := range blobsOf(t, repo) {
			readAll(t, repo, d)
		}
		tags, err := repo.Tags().All(t.Context())
		require.NoError(t, err)
		for _, tag := range tags {
			value, err := repo.Tags().Get(t.Context(), tag)
			require.NoError(t, err)
			require.NoError(t, second(repo.Manifests().Get(t.Context(), value.Digest)), "tag %s of %s", tag, name)
		}
		return nil
	}))
}

func TestCollect(t *testing.T) {
	for _, test := range []struct {
		name string
		o    storage.CollectOptions
		// make fills a store and returns what must go.
		make func(t *testing.T, d driver.Driver, reg storage.Registry) []string
	}{
		{"Empty", nowUntagged, func(*testing.T, driver.Driver, storage.Registry) []string { return nil }},
		{"Image", nowUntagged, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			push(t, repository(t, reg, "team/app"), "one", "v1")
			return nil
		}},
		{"Blob", now, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			push(t, repo, "one", "v1")
			b := putBlob(t, repo, []byte("nobody's"))
			return goneLines("app", nil, []digest.Digest{b}, []digest.Digest{b})
		}},
		{"BlobNeededElsewhere", now, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			img := push(t, repository(t, reg, "app"), "one", "v1")
			_, err := repository(t, reg, "app/nested").Blobs().Mount(t.Context(), repository(t, reg, "app"), img.layer)
			require.NoError(t, err)
			return goneLines("app/nested", nil, []digest.Digest{img.layer}, nil)
		}},
		{"Unlinked", now, func(t *testing.T, d driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			b := putBlob(t, repo, []byte("deleted"))
			require.NoError(t, d.Delete(t.Context(), layerLink("app", b))) // as registries do: the directory stays
			return append(goneLines("", nil, nil, []digest.Digest{b}), goneLine(storage.CollectLeftover, "app", b))
		}},
		{"LayerBeforeManifest", storage.CollectOptions{Offline: true, Grace: time.Hour}, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			putBlob(t, repository(t, reg, "app"), []byte("the manifest comes later"))
			return nil
		}},
		{"Untagged", now, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			push(t, repository(t, reg, "app"), "one", "")
			return nil
		}},
		{"UntaggedToo", nowUntagged, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			push(t, repo, "tagged", "v1")
			return wholeImage("app", push(t, repo, "one", ""))
		}},
		{"Retagged", nowUntagged, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			old := push(t, repo, "old", "v1")
			push(t, repo, "new", "v1")
			return wholeImage("app", old)
		}},
		{"Young", storage.CollectOptions{Offline: true, Untagged: true, Grace: time.Hour}, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			pushIndex(t, repo, push(t, repo, "child", "")) // its tag comes next
			return nil
		}},
		{"NestedIndexes", nowUntagged, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			both, old := push(t, repo, "both", ""), push(t, repo, "old", "")
			top := pushIndex(t, repo, pushed{manifest: pushIndex(t, repo, both)})
			require.NoError(t, repo.Tags().Tag(t.Context(), "v1", top))
			unreached := pushIndex(t, repo, both, old)
			gone := append(wholeImage("app", old), goneLines("app", []digest.Digest{unreached}, nil, []digest.Digest{unreached})...)
			slices.Sort(gone)
			return gone
		}},
		{"Referrers", nowUntagged, func(t *testing.T, _ driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			img := push(t, repo, "image", "")
			require.NoError(t, repo.Tags().Tag(t.Context(), "v1", pushIndex(t, repo, img)))
			sbom := pushReferrer(t, repo, "SBOM of a child", img.manifest)
			pushReferrer(t, repo, "signature of the SBOM", sbom.manifest)
			push(t, repo, "cosign", "sha256-"+img.manifest.Encoded()+".sig")

			old := push(t, repo, "old", "")
			signature := pushReferrer(t, repo, "signature of old", old.manifest)
			orphan := pushReferrer(t, repo, "signature of nothing", digest.FromBytes([]byte("absent")))
			tagged := pushReferrer(t, repo, "tagged signature of old", old.manifest)
			require.NoError(t, repo.Tags().Tag(t.Context(), "signature", tagged.manifest))
			return wholeImage("app", old, signature, orphan)
		}},
		{"KnownBySHA512", nowUntagged, func(t *testing.T, d driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			content := []byte("known by sha512")
			alias, b := digest.SHA512.FromBytes(content), putBlob(t, repo, content)
			put(t, d, layerLink("app", alias), b.String())
			require.NoError(t, d.Delete(t.Context(), path.Dir(layerLink("app", b))))
			config := putBlob(t, repo, []byte("{}"))
			desc, err := repo.Manifests().Put(t.Context(), "", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},`+
				`"layers":[{"mediaType":"text/plain","digest":"%s","size":%d}]}`, config, alias, len(content)))
			require.NoError(t, err)
			require.NoError(t, repo.Tags().Tag(t.Context(), "v1", desc.Digest))

			both := []byte("needed by sha512, linked by both")
			alias, b = digest.SHA512.FromBytes(both), putBlob(t, repo, both)
			put(t, d, layerLink("app", alias), b.String())
			desc, err = repo.Manifests().Put(t.Context(), "", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},`+
				`"layers":[{"mediaType":"text/plain","digest":"%s","size":%d}]}`, config, alias, len(both)))
			require.NoError(t, err)
			require.NoError(t, repo.Tags().Tag(t.Context(), "v2", desc.Digest))

			other := []byte("nobody's, by two names")
			alias, b = digest.SHA512.FromBytes(other), putBlob(t, repo, other)
			put(t, d, layerLink("app", alias), b.String())
			return goneLines("app", nil, []digest.Digest{alias, b}, []digest.Digest{b})
		}},
		{"Signatures", nowUntagged, func(t *testing.T, d driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			sign := func(img pushed) digest.Digest {
				content := "signature of " + img.manifest.String()
				b := digest.FromBytes([]byte(content))
				put(t, d, dataPath(b), content)
				put(t, d, path.Join(path.Dir(revisionLink("app", img.manifest)), "signatures/sha256", b.Encoded(), "link"), b.String())
				return b
			}
			sign(push(t, repo, "tagged", "v1"))
			old := push(t, repo, "old", "")
			gone := append(wholeImage("app", old), goneLines("", nil, nil, []digest.Digest{sign(old)})...)
			slices.Sort(gone)
			return gone
		}},
		{"WithoutLayers", now, func(t *testing.T, d driver.Driver, reg storage.Registry) []string {
			img := push(t, repository(t, reg, "app"), "one", "v1")
			layers := path.Join(repos, "app/_layers")
			require.NoError(t, driver.MoveDir(t.Context(), d, layers, "/elsewhere"))
			require.Empty(t, collect(t, reg, nowUntagged).gone())
			require.NoError(t, driver.MoveDir(t.Context(), d, "/elsewhere", layers))
			require.NoError(t, d.Delete(t.Context(), path.Dir(layerLink("app", img.layer))))
			require.Empty(t, collect(t, reg, nowUntagged).gone())
			put(t, d, layerLink("app", img.layer), img.layer.String())
			return nil
		}},
		{"ManifestsAmongLayers", now, func(t *testing.T, d driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			for _, img := range []pushed{push(t, repo, "tagged", "v1"), push(t, repo, "untagged", "")} {
				require.NoError(t, driver.MoveDir(t.Context(), d,
					path.Dir(revisionLink("app", img.manifest)), path.Dir(layerLink("app", img.manifest))))
			}
			b := putBlob(t, repo, []byte(`{"config":{"Cmd":["no manifest"]}}`))
			return goneLines("app", nil, []digest.Digest{b}, []digest.Digest{b})
		}},
		{"ManifestsAmongLayersUntagged", nowUntagged, func(t *testing.T, d driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			tagged, untagged := push(t, repo, "tagged", "v1"), push(t, repo, "untagged", "")
			for _, img := range []pushed{tagged, untagged} {
				require.NoError(t, driver.MoveDir(t.Context(), d,
					path.Dir(revisionLink("app", img.manifest)), path.Dir(layerLink("app", img.manifest))))
			}
			all := append(untagged.blobs(), untagged.manifest)
			return goneLines("app", nil, all, all)
		}},
		{"IndexOfBlobs", nowUntagged, func(t *testing.T, d driver.Driver, reg storage.Registry) []string {
			// Caches of image builders list layers where manifests belong.
			repo := repository(t, reg, "cache")
			layer := pushed{manifest: putBlob(t, repo, []byte("layer")), payload: []byte("layer")}
			config := pushed{manifest: putBlob(t, repo, []byte("{}")), payload: []byte("{}")}
			top := pushIndex(t, repo, layer, config)
			sparse := openRegistry(t, d, storage.Options{SparseIndexes: true})
			require.NoError(t, repository(t, sparse, "cache").Tags().Tag(t.Context(), "latest", top))
			return nil
		}},
		{"TagWithoutManifest", nowUntagged, func(t *testing.T, d driver.Driver, reg storage.Registry) []string {
			// It may be made good as long as the content is there.
			img := push(t, repository(t, reg, "app"), "one", "v1")
			require.NoError(t, d.Delete(t.Context(), revisionLink("app", img.manifest)))
			require.Empty(t, collect(t, reg, nowUntagged).gone())
			put(t, d, revisionLink("app", img.manifest), img.manifest.String())
			return nil
		}},
		{"Leftovers", now, func(t *testing.T, d driver.Driver, reg storage.Registry) []string {
			repo := repository(t, reg, "app")
			img := push(t, repo, "one", "v1")
			missing := digest.FromBytes([]byte("missing"))
			put(t, d, path.Dir(dataPath(missing))+"/other", "")
			require.NoError(t, d.Delete(t.Context(), path.Dir(dataPath(missing))+"/other"))
			put(t, d, revisionLink("app", missing)+".XYZ.tmp", "")
			put(t, d, layerLink("app", missing)+".XYZ.tmp", "")
			put(t, d, "/registryfs/staging/half/current/link", "")
			put(t, d, fmt.Sprintf("%s/%d-old/app/v1/current/link", trash, time.Now().Add(-25*time.Hour).Unix()), "")
			put(t, d, fmt.Sprintf("%s/%d-new/app/v1/current/link", trash, time.Now().Add(-23*time.Hour).Unix()), img.manifest.String())
			put(t, d, trash+"/not-ours", "")
			put(t, d, "/docker/registry/v2/blobs/file", "")
			put(t, d, "/docker/registry/v2/blobs/sha256/file", "")
			put(t, d, repos+"/file", "")
			put(t, d, repos+"/app/_manifests/tags/file", "")
			require.NoError(t, driver.MakeDir(t.Context(), d, repos+"/empty"))
			left := func(repo string, d digest.Digest) string { return goneLine(storage.CollectLeftover, repo, d) }
			gone := []string{left("", ""), left("", ""), left("", ""), left("", ""), left("app", missing), left("app", missing)}
			slices.Sort(gone)
			return gone
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				reg := create(t, d)
				want := test.make(t, d, reg)
				if want == nil {
					want = []string{}
				}
				reg = again(t, d)
				before := tree(t, d)
				dry := test.o
				dry.DryRun, dry.Offline = true, false
				planned := collect(t, openRegistry(t, d, storage.Options{ReadOnly: true}), dry)
				require.Equal(t, want, planned.gone())
				require.Equal(t, before, tree(t, d), "a dry run changes nothing")

				done := collect(t, reg, test.o)
				require.Equal(t, planned, done)
				require.Zero(t, done.Damage)
				for _, it := range done.things {
					require.ErrorIs(t, second(d.Stat(t.Context(), it.Path)), driver.ErrNotExist, it.Path)
				}
				checkWhole(t, again(t, d))
				require.Empty(t, collect(t, reg, test.o).gone(), "it does all in one run")
			})
		})
	}
}

func TestCollectGrace(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir, filedriver.Options{})
	reg := create(t, d)
	repo := repository(t, reg, "app")
	const grace = 24 * time.Hour
	age := func(by time.Duration, paths ...string) {
		for _, p := range paths {
			when := time.Now().Add(-by)
			require.NoError(t, os.Chtimes(dir+p, when, when))
		}
	}
	for _, test := range []struct {
		name          string
		link, content time.Duration // ages
		gone          []storage.CollectKind
	}{
		{"old", 25 * time.Hour, 25 * time.Hour, []storage.CollectKind{storage.CollectLink, storage.CollectBlob}},
		{"young", 23 * time.Hour, 23 * time.Hour, nil},
		{"linked again", time.Minute, 1000 * time.Hour, nil},
		{"pushed again", 25 * time.Hour, time.Minute, []storage.CollectKind{storage.CollectLink}},
		{"of a time to come", -time.Hour, 25 * time.Hour, nil},
		{"content of a time to come", 25 * time.Hour, -8760 * time.Hour, []storage.CollectKind{storage.CollectLink}},
	} {
		b := putBlob(t, repo, []byte(test.name))
		age(test.link, layerLink("app", b))
		age(test.content, dataPath(b))
		var kinds []storage.CollectKind
		for _, it := range collect(t, reg, storage.CollectOptions{Offline: true, Grace: grace}).things {
			kinds = append(kinds, it.Kind)
			require.Equal(t, b, it.Digest, test.name)
		}
		require.Equal(t, test.gone, kinds, test.name)
	}

	// A directory that only a link is missing from keeps nothing.
	halfGone := putBlob(t, repo, []byte("half gone"))
	age(25*time.Hour, dataPath(halfGone))
	require.NoError(t, d.Delete(t.Context(), layerLink("app", halfGone)))
	require.Equal(t, goneLines("", nil, nil, []digest.Digest{halfGone}),
		collect(t, reg, storage.CollectOptions{Offline: true, Grace: grace}).gone())

	old, young := push(t, repo, "old", ""), push(t, repo, "young", "")
	for _, img := range []pushed{old, young} {
		age(25*time.Hour, layerLink("app", img.layer), layerLink("app", img.config), dataPath(img.layer), dataPath(img.config), dataPath(img.manifest))
	}
	age(25*time.Hour, revisionLink("app", old.manifest))
	require.Equal(t, wholeImage("app", old), collect(t, reg, storage.CollectOptions{Offline: true, Untagged: true, Grace: grace}).gone())
	require.NotEmpty(t, readAll(t, repo, young.layer))
}

// Where a driver does not know times, everything may be young.
func TestCollectWithoutTimes(t *testing.T) {
	d := memdriver.New()
	reg := create(t, &tap{Driver: d, stat: func(info *driver.FileInfo) { info.ModTime = time.Time{} }})
	push(t, repository(t, reg, "app"), "untagged", "")
	putBlob(t, repository(t, reg, "app"), []byte("garbage"))
	require.Empty(t, collect(t, reg, nowUntagged).things)
	require.NotEmpty(t, collect(t, again(t, d), nowUntagged).things)
}

func TestCollectIsRefused(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		reg := create(t, d)
		putBlob(t, repository(t, reg, "app"), []byte("garbage"))
		before := tree(t, d)
		_, err := reg.(storage.Collector).Collect(t.Context(), storage.CollectOptions{}, nil)
		require.ErrorIs(t, err, storage.ErrUnsupported)
		require.ErrorContains(t, err, "exclusive")
		_, err = openRegistry(t, d, storage.Options{ReadOnly: true}).(storage.Collector).Collect(t.Context(), now, nil)
		require.ErrorIs(t, err, storage.ErrReadOnly)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = reg.(storage.Collector).Collect(ctx, now, nil)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, before, tree(t, d))
	})
}
