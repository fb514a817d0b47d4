package storagetest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/docker/libtrust"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// schema1Payload is a manifest of schema 1 without signatures. The topmost
// layer is the first.
func schema1Payload(name, tag string, layers ...digest.Digest) []byte {
	type blobSum struct {
		BlobSum digest.Digest `json:"blobSum"`
	}
	type history struct {
		V1Compatibility string `json:"v1Compatibility"`
	}
	doc := struct {
		SchemaVersion int       `json:"schemaVersion"`
		Name          string    `json:"name"`
		Tag           string    `json:"tag"`
		Architecture  string    `json:"architecture"`
		FSLayers      []blobSum `json:"fsLayers"`
		History       []history `json:"history"`
	}{SchemaVersion: 1, Name: name, Tag: tag, Architecture: "amd64"}
	for _, d := range layers {
		doc.FSLayers = append(doc.FSLayers, blobSum{d})
		doc.History = append(doc.History, history{`{"id":"` + d.Encoded() + `"}`})
	}
	payload, err := json.MarshalIndent(doc, "", "   ")
	if err != nil {
		panic(err) // there is nothing in it that cannot be encoded
	}
	return payload
}

func newKey(t *testing.T) libtrust.PrivateKey {
	t.Helper()
	key, err := libtrust.GenerateECP256PrivateKey()
	require.NoError(t, err)
	return key
}

// sign is the signed form of a payload.
func sign(t *testing.T, payload []byte, key libtrust.PrivateKey) []byte {
	t.Helper()
	signed, err := manifest.Sign(payload, key)
	require.NoError(t, err)
	return signed.Document()
}

// pushSigned stores the signed form of a manifest.
func pushSigned(t *testing.T, repo storage.Repository, document []byte, options ...storage.PutOption) digest.Digest {
	t.Helper()
	signed, err := manifest.ParseSigned(document)
	require.NoError(t, err)
	payload := signed.Manifest().Payload()
	desc, err := repo.Manifests().Put(t.Context(), manifest.MediaTypeDockerSchema1Signed, document, options...)
	require.NoError(t, err)
	require.Equal(t, manifest.MediaTypeDockerSchema1Signed, desc.MediaType)
	require.Equal(t, digest.FromBytes(payload), desc.Digest, "the digest is that of what is signed")
	require.Equal(t, int64(len(payload)), desc.Size)
	requireManifest(t, repo, payload)
	return desc.Digest
}

// requireSigned reads the signed form of a manifest, which must have that many
// signatures, and returns it.
func requireSigned(t *testing.T, repo storage.Repository, payload []byte, signatures int) *manifest.Signed {
	t.Helper()
	document, err := repo.Manifests().Signed(t.Context(), digest.FromBytes(payload))
	require.NoError(t, err)
	signed, err := manifest.ParseSigned(document)
	require.NoError(t, err)
	require.Equal(t, string(payload), string(signed.Manifest().Payload()))
	require.Len(t, signed.Signatures(), signatures)
	return signed
}

func testSigned(s *suite) {
	layer := []byte("layer")
	payload := schema1Payload("team/app", "v1", digest.FromBytes(layer), digest.FromBytes(layer))
	key, other := newKey(s.t), newKey(s.t)
	document := sign(s.t, payload, key)
	// begun is the repository with the layer.
	begun := func(t *testing.T, reg storage.Registry, name string) storage.Repository {
		repo := repository(t, reg, name)
		putBlob(t, repo, manifest.MediaTypeDockerLayer, layer)
		return repo
	}

	s.test("Put", func(t *testing.T, reg storage.Registry) {
		repo := begun(t, reg, "team/app")
		for _, options := range [][]storage.PutOption{nil, {storage.ForTag("v1")}, {storage.AcceptUnsigned()}} {
			d := pushSigned(t, repo, document, options...)
			require.Equal(t, []digest.Digest{d}, allManifests(t, repo), "signatures are no manifests")
			require.Len(t, allBlobs(t, repo), 1, "nor blobs of the repository")
			require.Equal(t, string(document), string(requireSigned(t, repo, payload, 1).Document()), "a second push adds nothing")
		}
		requireNoManifest(t, repo, digest.FromBytes(document))
		desc, err := repo.Manifests().Put(t.Context(), "", document)
		require.NoError(t, err, "the document tells what it is")
		require.Equal(t, digest.FromBytes(payload), desc.Digest)
	})

	s.test("Merge", func(t *testing.T, reg storage.Registry) {
		repo := begun(t, reg, "team/app")
		pushSigned(t, repo, document)
		first := requireSigned(t, repo, payload, 1).Signatures()
		pushSigned(t, repo, sign(t, payload, other))
		merged := requireSigned(t, repo, payload, 2)
		require.Contains(t, merged.Signatures(), first[0])
		pushSigned(t, repo, merged.Document())
		requireSigned(t, repo, payload, 2)
		pushSigned(t, repo, document)
		requireSigned(t, repo, payload, 2)
	})

	// Who has no signatures takes none away.
	s.test("UnsignedAfterSigned", func(t *testing.T, reg storage.Registry) {
		repo := begun(t, reg, "team/app")
		pushSigned(t, repo, document)
		desc, err := repo.Manifests().Put(t.Context(), "", payload, storage.AcceptUnsigned())
		require.NoError(t, err)
		require.Equal(t, describe(manifest.MediaTypeDockerSchema1, payload), desc)
		requireSigned(t, repo, payload, 1)
	})

	s.test("Unsigned", func(t *testing.T, reg storage.Registry) {
		repo := begun(t, reg, "team/app")
		for _, mediaType := range []string{"", manifest.MediaTypeDockerSchema1, manifest.MediaTypeDockerSchema1Signed} {
			_, err := repo.Manifests().Put(t.Context(), mediaType, payload)
			require.ErrorIs(t, err, storage.ErrUnsigned, "as %q", mediaType)
			requireNoManifest(t, repo, digest.FromBytes(payload))
		}
		_, err := repo.Manifests().Put(t.Context(), manifest.MediaTypeDockerSchema1, payload, storage.AcceptUnsigned())
		require.NoError(t, err)
		requireManifest(t, repo, payload)
		_, err = repo.Manifests().Signed(t.Context(), digest.FromBytes(payload))
		require.ErrorIs(t, err, storage.ErrUnsigned)
		pushSigned(t, repo, document)
		requireSigned(t, repo, payload, 1)
	})

	s.test("NoSignedForm", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "team/app")
		_, err := repo.Manifests().Signed(t.Context(), absent)
		require.ErrorIs(t, err, storage.ErrManifestUnknown)
		_, err = repo.Manifests().Signed(t.Context(), pushImage(t, repo, "one").digest)
		require.ErrorIs(t, err, storage.ErrUnsigned)
	})

	for name, c := range map[string]struct {
		repo, tag string
		document  []byte
		err       error
		text      string
	}{
		"Name":          {"team/other", "", document, manifest.ErrName, "team/app"},
		"NameAbove":     {"team", "", document, manifest.ErrName, "team/app"},
		"Tag":           {"team/app", "v2", document, manifest.ErrName, "v1"},
		"Tampered":      {"team/app", "", []byte(strings.Replace(string(document), "amd64", "arm64", 1)), manifest.ErrUnverified, ""},
		"NoSignatures":  {"team/app", "", withSignatures(payload, `[]`), manifest.ErrUnsigned, ""},
		"JunkSignature": {"team/app", "", withSignatures(payload, `[{"header":{},"signature":"","protected":""}]`), manifest.ErrUnverified, ""},
		"OfAnother": {
			"team/app", "", exchanged(document, sign(s.t, schema1Payload("team/app", "v2", digest.FromBytes(layer)), key)),
			manifest.ErrUnverified, "",
		},
		"HistoryCount": {
			"team/app", "", sign(s.t, []byte(strings.Replace(string(payload), `"history": [`, `"history": [{"v1Compatibility":"{}"},`, 1)), key),
			manifest.ErrInvalid, "history",
		},
		"LayerCount": {
			"team/app", "", sign(s.t, []byte(strings.Replace(string(payload), `"fsLayers": [`, `"fsLayers": [{"blobSum":"`+absent.String()+`"},`, 1)), key),
			manifest.ErrInvalid, "fsLayers",
		},
	} {
		s.test("Refuses"+name, func(t *testing.T, reg storage.Registry) {
			repo := begun(t, reg, c.repo)
			for _, options := range [][]storage.PutOption{{}, {storage.SkipReferences()}, {storage.AcceptUnsigned()}} {
				_, err := repo.Manifests().Put(t.Context(), manifest.MediaTypeDockerSchema1Signed, c.document, append(options, storage.ForTag(c.tag))...)
				require.ErrorIs(t, err, c.err)
				require.ErrorIs(t, err, manifest.ErrInvalid)
				require.ErrorContains(t, err, c.text)
				require.Empty(t, allManifests(t, repo))
			}
			requireNoManifest(t, repo, digest.FromBytes(payload))
		})
	}

	s.test("MissingLayer", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "team/app")
		_, err := repo.Manifests().Put(t.Context(), "", document)
		requireMissing(t, err, storage.MissingError{Blobs: []digest.Digest{digest.FromBytes(layer)}})
		requireNoManifest(t, repo, digest.FromBytes(payload))
		pushSigned(t, repo, document, storage.SkipReferences())
	})

	// The names in it are looked at when it is pushed, and never again.
	s.test("Retag", func(t *testing.T, reg storage.Registry) {
		repo, to := begun(t, reg, "team/app"), repository(t, reg, "prod/app")
		d := pushSigned(t, repo, document, storage.ForTag("v1"))
		for _, tag := range []string{"v1", "v2", "latest"} {
			require.NoError(t, repo.Tags().Tag(t.Context(), tag, d))
		}
		require.NoError(t, repo.Tags().Rename(t.Context(), "v1", "v3"))
		for range 2 {
			_, err := to.Manifests().Mount(t.Context(), repo, d)
			require.NoError(t, err)
			require.NoError(t, to.Tags().Tag(t.Context(), "stable", d))
			requireTag(t, to, "stable", d)
			requireManifest(t, to, payload)
			requireBlob(t, to, digest.FromBytes(layer), layer)
			require.Equal(t, string(document), string(requireSigned(t, to, payload, 1).Document()), "its signatures come with it")
		}
	})

	s.testWith("Delete", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
		repo, to := begun(t, reg, "team/app"), repository(t, reg, "to")
		d := pushSigned(t, repo, document)
		_, err := to.Manifests().Mount(t.Context(), repo, d)
		require.NoError(t, err)
		require.ErrorIs(t, repo.Blobs().Delete(t.Context(), digest.FromBytes(layer)), storage.ErrReferenced)
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", d))
		require.NoError(t, repo.Manifests().Delete(t.Context(), d))
		requireNoManifest(t, repo, d)
		requireNoTag(t, repo, "v1")
		_, err = repo.Manifests().Signed(t.Context(), d)
		require.ErrorIs(t, err, storage.ErrManifestUnknown)
		requireSigned(t, to, payload, 1)

		// Its signatures went with it.
		_, err = repo.Manifests().Put(t.Context(), "", payload, storage.AcceptUnsigned())
		require.NoError(t, err)
		_, err = repo.Manifests().Signed(t.Context(), d)
		require.ErrorIs(t, err, storage.ErrUnsigned)
	})
}

// withSignatures is a payload with a list of signatures, whatever it is.
func withSignatures(payload []byte, list string) []byte {
	return []byte(with(payload, `"signatures":`+list))
}

// exchanged is a document with the signatures of another.
func exchanged(document, with []byte) []byte {
	cut := func(p []byte) int { return strings.Index(string(p), `"signatures"`) }
	return append(document[:cut(document):cut(document)], with[cut(with):]...)
}
