package storage_test

import (
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
	"registryfs/storage"
)

// oldStore writes what registries of old wrote, file by file.
type oldStore struct {
	t *testing.T
	d driver.Driver
}

// content stores bytes for all repositories.
func (s oldStore) content(p []byte) digest.Digest {
	d := digest.FromBytes(p)
	put(s.t, s.d, dataPath(d), string(p))
	return d
}

// layer stores a blob of a repository.
func (s oldStore) layer(repo string, p []byte) digest.Digest {
	d := s.content(p)
	put(s.t, s.d, layerLink(repo, d), d.String())
	return d
}

// tarsumLayer stores a layer that was pushed by its tarsum.
func (s oldStore) tarsumLayer(repo string, v tarsumVector) digest.Digest {
	d := s.layer(repo, v.content)
	put(s.t, s.d, tarsumLink(repo, v.tarsum), d.String())
	return v.tarsum
}

// revision stores a manifest as all registries but 2.1.0 did.
func (s oldStore) revision(repo string, payload []byte) digest.Digest {
	d := s.content(payload)
	put(s.t, s.d, revisionLink(repo, d), d.String())
	return d
}

// signed stores the signatures of a manifest of schema 1.
func (s oldStore) signed(repo string, payload []byte, keys ...manifest.PrivateKey) (signatures [][]byte) {
	for _, key := range keys {
		signature := sign(s.t, payload, key).Signatures()[0]
		d := s.content(signature)
		put(s.t, s.d, signatureLink(repo, digest.FromBytes(payload), d), d.String())
		signatures = append(signatures, signature)
	}
	return signatures
}

func (s oldStore) tag(repo, tag string, ds ...digest.Digest) {
	for _, d := range ds {
		put(s.t, s.d, indexLink(repo, tag, d), d.String())
		put(s.t, s.d, currentLink(repo, tag), d.String())
	}
}

func manifestsOf(t *testing.T, repo storage.Repository) []digest.Digest {
	t.Helper()
	var all []digest.Digest
	require.NoError(t, repo.Manifests().Enumerate(t.Context(), func(d digest.Digest) error {
		require.NotContains(t, all, d)
		all = append(all, d)
		return nil
	}))
	return all
}

// requireTagged reads a tag, what it names and its description.
func requireTagged(t *testing.T, repo storage.Repository, tag string, payload []byte) {
	t.Helper()
	got, err := repo.Manifests().GetTagged(t.Context(), tag, "")
	require.NoError(t, err)
	require.Equal(t, digest.FromBytes(payload), got.Digest)
	require.Equal(t, string(payload), string(got.Manifest.Payload()))
	desc, err := repo.Manifests().Stat(t.Context(), got.Digest)
	require.NoError(t, err)
	require.EqualValues(t, len(payload), desc.Size)
	tags, err := repo.Tags().Lookup(t.Context(), got.Digest)
	require.NoError(t, err)
	require.Contains(t, tags, tag)
	history, err := repo.Tags().History(t.Context(), tag)
	require.NoError(t, err)
	require.Contains(t, history, got.Digest)
}

// Registries 2.0 to 2.2: layers by their tarsums, manifests of schema 1 with
// their signatures beside them.
func TestStoreOfRegistry20(t *testing.T) {
	vectors := tarsumVectors(t)
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		s := oldStore{t, d}
		one, two := newKey(t), newKey(t)
		v0, v1 := s.tarsumLayer("library/app", vectors[2]), s.tarsumLayer("library/app", vectors[5])
		sum := s.layer("library/app", []byte("layer"))
		old, now := schema1("library/app", "latest", v1), schema1("library/app", "latest", v0, sum, v0, v1)
		s.signed("library/app", old, one)
		signatures := s.signed("library/app", now, one, two)
		s.tag("library/app", "latest", s.revision("library/app", old), s.revision("library/app", now))
		before := tree(t, d)

		reg := openRegistry(t, d, storage.Options{ReadOnly: true})
		require.NoError(t, storage.Walk(t.Context(), reg, func(name string) error {
			require.Equal(t, "library/app", name)
			return nil
		}))
		repo := repository(t, reg, "library/app")
		requireTagged(t, repo, "latest", now)
		require.ElementsMatch(t, []digest.Digest{digest.FromBytes(old), digest.FromBytes(now)}, manifestsOf(t, repo))
		require.Len(t, signedForm(t, repo, digest.FromBytes(old)).Signatures(), 1)
		require.ElementsMatch(t, signatures, signedForm(t, repo, digest.FromBytes(now)).Signatures())

		got, err := repo.Manifests().Get(t.Context(), digest.FromBytes(now))
		require.NoError(t, err)
		for _, desc := range got.References().RequiredBlobs() {
			require.NotEmpty(t, readAll(t, repo, desc.Digest), "%s", desc.Digest)
		}
		require.ElementsMatch(t, []digest.Digest{
			v0, digest.FromBytes(vectors[2].content), v1, digest.FromBytes(vectors[5].content), sum,
		}, blobsOf(t, repo))
		for _, v := range []tarsumVector{vectors[2], vectors[5]} {
			require.Equal(t, v.content, readAll(t, repo, v.tarsum))
			require.Equal(t, v.content, readAll(t, repo, digest.FromBytes(v.content)))
		}
		require.Equal(t, before, tree(t, d), "reading changes nothing")

		// It can be gone on with: what is here is found, and stays.
		writable := openRegistry(t, d, storage.Options{AllowDelete: true})
		repo = repository(t, writable, "library/app")
		desc, err := repo.Manifests().Put(t.Context(), "", sign(t, now, newKey(t)).Document(), storage.ForTag("latest"))
		require.NoError(t, err)
		require.Len(t, signedForm(t, repo, desc.Digest).Signatures(), 3)
		require.ErrorIs(t, repo.Blobs().Delete(t.Context(), v1), storage.ErrReferenced)
		to := repository(t, writable, "prod/app")
		_, err = to.Manifests().Mount(t.Context(), repo, desc.Digest)
		require.NoError(t, err)
		require.Equal(t, vectors[2].content, readAll(t, to, v0))
		require.Len(t, signedForm(t, to, desc.Digest).Signatures(), 3)
	})
}

// Registry 2.1.0 linked manifests among the layers.
func TestStoreOfRegistry210(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]struct{ signed, newer bool }{
		"Unsigned": {}, "Signed": {signed: true}, "WithNewer": {newer: true}, "SignedWithNewer": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				s := oldStore{t, d}
				layer := s.layer("app", []byte("layer"))
				one, two := schema1("app", "v1", layer), schema1("app", "v2", layer)
				s.tag("app", "v1", s.layer("app", one))
				s.tag("app", "v2", s.layer("app", two))
				s.tag("app", "latest", digest.FromBytes(one), digest.FromBytes(two))
				if more.signed {
					s.signed("app", one, newKey(t))
					s.signed("app", two, newKey(t))
				}
				want := []digest.Digest{digest.FromBytes(one), digest.FromBytes(two)}
				if more.newer {
					newer := schema1("app", "v3", layer)
					s.tag("app", "v3", s.revision("app", newer))
					want = append(want, digest.FromBytes(newer))
				}
				before := tree(t, d)

				repo := repository(t, openRegistry(t, d, storage.Options{ReadOnly: true}), "app")
				for tag, payload := range map[string][]byte{"v1": one, "v2": two, "latest": two} {
					requireTagged(t, repo, tag, payload)
				}
				require.ElementsMatch(t, want, manifestsOf(t, repo))
				_, err := repo.Manifests().Signed(t.Context(), digest.FromBytes(one))
				if more.signed {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, storage.ErrUnsigned)
				}
				require.Equal(t, "layer", string(readAll(t, repo, layer)))
				_, err = repo.Manifests().Get(t.Context(), layer)
				require.ErrorIs(t, err, storage.ErrManifestUnknown, "a layer is no manifest")
				require.Equal(t, before, tree(t, d), "reading changes nothing")

				// What they reference is safe, and they can go.
				reg := openRegistry(t, d, storage.Options{AllowDelete: true})
				repo = repository(t, reg, "app")
				require.ErrorIs(t, repo.Blobs().Delete(t.Context(), layer), storage.ErrReferenced)
				to := repository(t, reg, "to")
				_, err = to.Manifests().Mount(t.Context(), repo, digest.FromBytes(one))
				require.NoError(t, err)
				require.Equal(t, []digest.Digest{digest.FromBytes(one)}, manifestsOf(t, to))
				require.Equal(t, "layer", string(readAll(t, to, layer)))

				require.NoError(t, repo.Manifests().Delete(t.Context(), digest.FromBytes(two)))
				_, err = repo.Manifests().Get(t.Context(), digest.FromBytes(two))
				require.ErrorIs(t, err, storage.ErrManifestUnknown)
				for _, tag := range []string{"v2", "latest"} {
					_, err = repo.Tags().Get(t.Context(), tag)
					require.ErrorIs(t, err, storage.ErrTagUnknown)
				}
				requireTagged(t, repo, "v1", one)
				require.Equal(t, "layer", string(readAll(t, repo, layer)))
				require.ErrorIs(t, repo.Manifests().Delete(t.Context(), digest.FromBytes(two)), storage.ErrManifestUnknown)

				// A push puts the other where it belongs.
				_, err = repo.Manifests().Put(t.Context(), "", one, storage.AcceptUnsigned())
				require.NoError(t, err)
				require.Contains(t, tree(t, d), revisionLink("app", digest.FromBytes(one)))
				requireTagged(t, repo, "v1", one)
			})
		})
	}
}

// Registries 2.3 and 2.4: schema 2 and lists beside signed manifests of
// schema 1, a layer that was pushed by sha512.
func TestStoreOfRegistry24(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		s := oldStore{t, d}
		config, layer := []byte(`{"architecture":"amd64"}`), []byte("layer")
		s.layer("app", config)
		s.layer("app", layer)
		alias := digest.SHA512.FromBytes(layer)
		put(t, d, layerLink("app", alias), digest.FromBytes(layer).String())
		signed := schema1("app", "v1", digest.FromBytes(layer))
		signatures := s.signed("app", signed, newKey(t))
		image := []byte(strings.NewReplacer("CONFIG", digest.FromBytes(config).String(), "LAYER", digest.FromBytes(layer).String()).Replace(
			`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",` +
				`"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":24,"digest":"CONFIG"},` +
				`"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":5,"digest":"LAYER"}]}`))
		list := []byte(strings.NewReplacer("IMAGE", digest.FromBytes(image).String(), "SIZE", strconv.Itoa(len(image))).Replace(
			`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[` +
				`{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":SIZE,"digest":"IMAGE","platform":{"architecture":"amd64","os":"linux"}}]}`))
		s.tag("app", "v1", s.revision("app", signed))
		s.tag("app", "v2", s.revision("app", image))
		s.tag("app", "all", s.revision("app", list))
		untagged := s.revision("app", schema1("app", "gone", digest.FromBytes(layer)))
		before := tree(t, d)

		repo := repository(t, openRegistry(t, d, storage.Options{ReadOnly: true}), "app")
		for tag, payload := range map[string][]byte{"v1": signed, "v2": image, "all": list} {
			requireTagged(t, repo, tag, payload)
		}
		require.ElementsMatch(t, []digest.Digest{
			digest.FromBytes(signed), digest.FromBytes(image), digest.FromBytes(list), untagged,
		}, manifestsOf(t, repo))
		require.Equal(t, signatures, signedForm(t, repo, digest.FromBytes(signed)).Signatures())
		require.Equal(t, layer, readAll(t, repo, alias))
		require.ElementsMatch(t, []digest.Digest{digest.FromBytes(config), digest.FromBytes(layer), alias}, blobsOf(t, repo))
		require.Equal(t, before, tree(t, d))
	})
}

// A revision whose link was deleted, with its signatures left, is none.
func TestDeletedRevisionWithSignatures(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		s := oldStore{t, d}
		payload := schema1("app", "v1", s.layer("app", []byte("layer")))
		revision := s.revision("app", payload)
		s.signed("app", payload, newKey(t))
		require.NoError(t, d.Delete(t.Context(), revisionLink("app", revision)))
		require.Contains(t, tree(t, d), path.Dir(revisionLink("app", revision))+"/")
		repo := repository(t, again(t, d), "app")
		require.Empty(t, manifestsOf(t, repo))
		_, err := repo.Manifests().Signed(t.Context(), revision)
		require.ErrorIs(t, err, storage.ErrManifestUnknown)
	})
}
