package storagetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// requireMissing makes sure that an error names all that is missing and no
// more, in whatever order.
func requireMissing(t *testing.T, err error, want storage.MissingError) {
	t.Helper()
	var missing *storage.MissingError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, sorted(want.Blobs...), sorted(missing.Blobs...))
	require.Equal(t, sorted(want.Manifests...), sorted(missing.Manifests...))
	for _, d := range append(sorted(want.Blobs...), want.Manifests...) {
		require.ErrorContains(t, err, d.String())
	}
}

func testManifestReferences(s *suite) {
	s.test("MissingBlobs", func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		config := []byte(`{"config":"one"}`)
		layers := [][]byte{[]byte("first"), []byte("second"), []byte("third")}
		descs := make([]storage.Descriptor, len(layers))
		for i, layer := range layers {
			descs[i] = describe(manifest.MediaTypeOCILayer, layer)
			putBlob(t, other, manifest.MediaTypeOCILayer, layer) // that another repository has them does not help
		}
		payload := imagePayload(describe(manifest.MediaTypeOCIConfig, config), descs...)

		putBlob(t, repo, manifest.MediaTypeOCILayer, layers[1])
		_, err := repo.Manifests().Put(t.Context(), "", payload)
		requireMissing(t, err, storage.MissingError{
			Blobs: []digest.Digest{digest.FromBytes(config), descs[0].Digest, descs[2].Digest},
		})
		requireNoManifest(t, repo, digest.FromBytes(payload))

		putBlob(t, repo, manifest.MediaTypeOCIConfig, config)
		putBlob(t, repo, manifest.MediaTypeOCILayer, layers[0])
		_, err = repo.Manifests().Put(t.Context(), "", payload)
		requireMissing(t, err, storage.MissingError{Blobs: []digest.Digest{descs[2].Digest}})
		requireNoManifest(t, repo, digest.FromBytes(payload))

		putBlob(t, repo, manifest.MediaTypeOCILayer, layers[2])
		putManifest(t, repo, payload)
		requireManifest(t, repo, payload)
	})

	s.test("MissingOnce", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		empty := describe(manifest.MediaTypeOCIEmpty, []byte("{}"))
		_, err := repo.Manifests().Put(t.Context(), "", imagePayload(empty, empty, empty))
		requireMissing(t, err, storage.MissingError{Blobs: []digest.Digest{empty.Digest}})
	})

	s.test("SizeContradictsBlob", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		config := putBlob(t, repo, manifest.MediaTypeOCIConfig, []byte("{}"))
		layer := putBlob(t, repo, manifest.MediaTypeOCILayer, []byte("layer"))
		for _, size := range []int64{0, 4, 6, 1 << 40} {
			wrong := layer
			wrong.Size = size
			payload := imagePayload(config, wrong)
			_, err := repo.Manifests().Put(t.Context(), "", payload)
			require.ErrorIs(t, err, manifest.ErrInvalid, "size %d", size)
			requireNoManifest(t, repo, digest.FromBytes(payload))
		}
	})

	s.test("IndexWithoutChildren", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two := newImage("one"), newImage("two")
		payload := indexPayload(one.descriptor(), two.descriptor())
		index := putManifest(t, repo, payload)
		requireManifest(t, repo, payload)

		err := repo.Tags().Tag(t.Context(), "v1", index.Digest)
		requireMissing(t, err, storage.MissingError{Manifests: []digest.Digest{one.digest, two.digest}})
		pushImage(t, repo, "one")
		err = repo.Tags().Tag(t.Context(), "v1", index.Digest)
		requireMissing(t, err, storage.MissingError{Manifests: []digest.Digest{two.digest}})
		_, err = repo.Tags().Get(t.Context(), "v1")
		require.ErrorIs(t, err, storage.ErrTagUnknown)

		pushImage(t, repo, "two")
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", index.Digest))
		requireTag(t, repo, "v1", index.Digest)
	})

	s.test("NestedIndex", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := newImage("one")
		inner := indexPayload(img.descriptor())
		outer := putManifest(t, repo, indexPayload(describe(manifest.MediaTypeOCIIndex, inner)))
		err := repo.Tags().Tag(t.Context(), "v1", outer.Digest)
		requireMissing(t, err, storage.MissingError{Manifests: []digest.Digest{digest.FromBytes(inner)}})
		putManifest(t, repo, inner)
		err = repo.Tags().Tag(t.Context(), "v1", outer.Digest)
		requireMissing(t, err, storage.MissingError{Manifests: []digest.Digest{img.digest}})
		pushImage(t, repo, "one")
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", outer.Digest))
	})

	s.testWith("SparseIndexes", Options{SparseIndexes: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		index := putManifest(t, repo, indexPayload(newImage("one").descriptor()))
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", index.Digest))
		requireTag(t, repo, "v1", index.Digest)
		require.ErrorIs(t, repo.Tags().Tag(t.Context(), "v2", absent), storage.ErrManifestUnknown)
	})
}

func testManifestsDelete(s *suite) {
	s.test("Disabled", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		require.ErrorIs(t, repo.Manifests().Delete(t.Context(), img.digest), storage.ErrUnsupported)
		requireManifest(t, repo, img.payload)
	})

	s.testWith("Delete", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo, other := repository(t, reg, "app"), repository(t, reg, "other")
		img := pushImage(t, repo, "one")
		pushImage(t, other, "one")
		index := indexPayload(img.descriptor())
		d := putManifest(t, repo, index).Digest
		require.ErrorIs(t, repo.Manifests().Delete(t.Context(), absent), storage.ErrManifestUnknown)

		// An index names it, and that it has a tag changes nothing.
		require.NoError(t, repo.Tags().Tag(t.Context(), "child", img.digest))
		for range 2 {
			require.ErrorIs(t, repo.Manifests().Delete(t.Context(), img.digest), storage.ErrReferenced)
			requireManifest(t, repo, img.payload)
			requireTag(t, repo, "child", img.digest)
		}
		require.NoError(t, repo.Tags().Untag(t.Context(), "child"))
		require.ErrorIs(t, repo.Manifests().Delete(t.Context(), img.digest), storage.ErrReferenced)

		require.NoError(t, repo.Manifests().Delete(t.Context(), d))
		requireNoManifest(t, repo, d)
		require.ErrorIs(t, repo.Manifests().Delete(t.Context(), d), storage.ErrManifestUnknown)
		require.NoError(t, repo.Manifests().Delete(t.Context(), img.digest))
		requireNoManifest(t, repo, img.digest)

		requireManifest(t, other, img.payload)
		pushImage(t, repo, "one")
		requireManifest(t, repo, img.payload)
	})

	s.testWith("DeleteTagged", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		one, two := pushImage(t, repo, "one"), pushImage(t, repo, "two")
		for tag, img := range map[string]image{"v1": one, "latest": one, "v2": two} {
			require.NoError(t, repo.Tags().Tag(t.Context(), tag, img.digest))
		}
		require.NoError(t, repo.Manifests().Delete(t.Context(), one.digest))
		requireNoManifest(t, repo, one.digest)
		require.Equal(t, []string{"v2"}, allTags(t, repo), "its tags go with it")
		requireTag(t, repo, "v2", two.digest)
	})

	s.testWith("DeleteUnlessTagged", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", img.digest))
		require.ErrorIs(t, repo.Manifests().Delete(t.Context(), img.digest, storage.UnlessTagged()), storage.ErrReferenced)
		requireManifest(t, repo, img.payload)
		requireTag(t, repo, "v1", img.digest)
		require.NoError(t, repo.Tags().Untag(t.Context(), "v1"))
		require.NoError(t, repo.Manifests().Delete(t.Context(), img.digest, storage.UnlessTagged()))
		requireNoManifest(t, repo, img.digest)
	})
}

func testManifestsMount(s *suite) {
	s.test("Platforms", func(t *testing.T, reg storage.Registry) {
		from, to := repository(t, reg, "dev/app"), repository(t, reg, "prod/app")
		amd64, arm64 := pushImage(t, from, "amd64"), pushImage(t, from, "arm64")
		inner := indexPayload(arm64.descriptor())
		putManifest(t, from, inner)
		index := indexPayload(amd64.descriptor(), describe(manifest.MediaTypeOCIIndex, inner))
		d := putManifest(t, from, index).Digest
		pushImage(t, from, "unrelated")

		for range 2 { // the second changes nothing
			desc, err := to.Manifests().Mount(t.Context(), from, d)
			require.NoError(t, err)
			require.Equal(t, d, desc.Digest)
			require.Equal(t, int64(len(index)), desc.Size)
			for _, payload := range [][]byte{index, inner, amd64.payload, arm64.payload} {
				requireManifest(t, to, payload)
			}
			for _, img := range []image{amd64, arm64} {
				requireBlob(t, to, img.blobs()[0], img.config)
				requireBlob(t, to, img.blobs()[1], img.layer)
			}
			require.Len(t, allManifests(t, to), 4, "what is not referenced stays where it is")
			require.Len(t, allBlobs(t, to), 4)
		}
		require.NoError(t, to.Tags().Tag(t.Context(), "v1", d))
		requireTag(t, to, "v1", d)
	})

	s.test("Unknown", func(t *testing.T, reg storage.Registry) {
		from, to := repository(t, reg, "from"), repository(t, reg, "to")
		img := pushImage(t, from, "one")
		for _, d := range append(img.blobs(), absent) {
			_, err := to.Manifests().Mount(t.Context(), from, d)
			require.ErrorIs(t, err, storage.ErrManifestUnknown)
			requireNoManifest(t, to, d)
		}
		_, err := reg.Stat(t.Context(), "to")
		require.ErrorIs(t, err, storage.ErrRepositoryUnknown, "nothing was put into it")
	})

	s.test("MissingChild", func(t *testing.T, reg storage.Registry) {
		from, to := repository(t, reg, "from"), repository(t, reg, "to")
		here, gone := pushImage(t, from, "here"), newImage("gone")
		index := putManifest(t, from, indexPayload(here.descriptor(), gone.descriptor()))
		_, err := to.Manifests().Mount(t.Context(), from, index.Digest)
		requireMissing(t, err, storage.MissingError{Manifests: []digest.Digest{gone.digest}})
		require.Empty(t, allManifests(t, to))
	})

	s.testWith("SparseIndexes", Options{SparseIndexes: true}, func(t *testing.T, reg storage.Registry) {
		from, to := repository(t, reg, "from"), repository(t, reg, "to")
		here := pushImage(t, from, "here")
		index := putManifest(t, from, indexPayload(here.descriptor(), newImage("gone").descriptor()))
		_, err := to.Manifests().Mount(t.Context(), from, index.Digest)
		require.NoError(t, err)
		require.Equal(t, sorted(index.Digest, here.digest), allManifests(t, to))
	})
}

func testReferrers(s *suite) {
	s.test("Referrers", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := pushImage(t, repo, "one")
		referrers := func(d digest.Digest) []digest.Digest {
			found, err := repo.Manifests().Referrers(t.Context(), d)
			require.NoError(t, err)
			var all []digest.Digest
			for _, desc := range found {
				require.NotZero(t, desc.Size)
				require.Equal(t, manifest.MediaTypeOCIManifest, desc.MediaType)
				all = append(all, desc.Digest)
			}
			return all
		}
		require.Empty(t, referrers(img.digest))
		var want []digest.Digest
		for _, word := range []string{"signature", "sbom"} {
			layer := putBlob(t, repo, "application/x-"+word, []byte(word))
			config := putBlob(t, repo, manifest.MediaTypeOCIEmpty, []byte("{}"))
			for _, subject := range []digest.Digest{img.digest, absent} {
				payload := with(imagePayload(config, layer), `"subject":{"mediaType":"`+manifest.MediaTypeOCIManifest+
					`","digest":"`+subject.String()+`","size":7}`)
				d := putManifest(t, repo, []byte(payload)).Digest
				if subject == img.digest {
					want = append(want, d)
				}
			}
		}
		require.Equal(t, sorted(want...), referrers(img.digest), "in the order of their digests")
		require.Len(t, referrers(absent), 2, "the subject need not exist")
		require.Empty(t, referrers(want[0]))
	})

	s.test("CheckOnly", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		config := []byte(`{"config":"one"}`)
		payload := imagePayload(describe(manifest.MediaTypeOCIConfig, config))
		_, err := repo.Manifests().Put(t.Context(), "", payload, storage.CheckOnly())
		requireMissing(t, err, storage.MissingError{Blobs: []digest.Digest{digest.FromBytes(config)}})
		_, err = repo.Manifests().Put(t.Context(), "", []byte("no manifest"), storage.CheckOnly())
		require.ErrorIs(t, err, manifest.ErrInvalid)
		putBlob(t, repo, manifest.MediaTypeOCIConfig, config)
		desc, err := repo.Manifests().Put(t.Context(), "", payload, storage.CheckOnly())
		require.NoError(t, err)
		require.Equal(t, describe(manifest.MediaTypeOCIManifest, payload), desc)
		requireNoManifest(t, repo, desc.Digest)
		putManifest(t, repo, payload)
	})

	s.test("SkipReferences", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		img := newImage("one")
		_, err := repo.Manifests().Put(t.Context(), "", img.payload, storage.SkipReferences())
		require.NoError(t, err)
		requireManifest(t, repo, img.payload)
		_, err = repo.Manifests().Put(t.Context(), "", []byte("no manifest"), storage.SkipReferences())
		require.ErrorIs(t, err, manifest.ErrInvalid)
	})
}
