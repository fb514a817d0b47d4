package storagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// provisional is the algorithms whose digests are other names of content.
var provisional = map[string]digest.Algorithm{
	"SHA512": digest.SHA512, "TarsumV1": digest.TarsumV1, "TarsumV0": digest.TarsumV0,
}

// archive is a layer: a tar archive of one file, which holds a word.
func archive(t *testing.T, word string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(word))}))
	_, err := w.Write([]byte(word))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// compressed is other bytes of the same archive.
func compressed(t *testing.T, archive []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(archive)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// digestOf is the digest of content by an algorithm.
func digestOf(t *testing.T, alg digest.Algorithm, content []byte) digest.Digest {
	t.Helper()
	d, err := digest.Of(alg, bytes.NewReader(content))
	require.NoError(t, err)
	return d
}

// The digest of another algorithm is a second name of a blob.
func testProvisional(s *suite) {
	for name, alg := range provisional {
		s.test(name, func(t *testing.T, reg storage.Registry) {
			repo, other := repository(t, reg, "app"), repository(t, reg, "other")
			content, wrong := archive(t, "right"), digestOf(t, alg, archive(t, "wrong"))
			alias, canonical := digestOf(t, alg, content), digest.FromBytes(content)
			u := begin(t, repo, content)
			_, err := u.Commit(t.Context(), storage.Descriptor{Digest: wrong})
			require.ErrorIs(t, err, storage.ErrDigestMismatch)
			for _, d := range []digest.Digest{wrong, alias, canonical} {
				requireNoBlob(t, repo, d)
			}
			_, err = u.Commit(t.Context(), storage.Descriptor{Digest: alias, Size: int64(len(content)) + 1})
			require.ErrorIs(t, err, storage.ErrSizeMismatch)

			desc, err := u.Commit(t.Context(), storage.Descriptor{Digest: alias, Size: int64(len(content))})
			require.NoError(t, err)
			require.Equal(t, canonical, desc.Digest, "the descriptor has the canonical digest")
			require.Equal(t, int64(len(content)), desc.Size)
			requireBlob(t, repo, alias, content)
			requireBlob(t, repo, canonical, content)
			require.Equal(t, sorted(alias, canonical), allBlobs(t, repo))
			requireNoUpload(t, repo, u.ID())
			requireNoBlob(t, other, alias)
			requireNoBlob(t, other, canonical)
		})

		s.test(name+"AfterResume", func(t *testing.T, reg storage.Registry) {
			repo := repository(t, reg, "app")
			content := archive(t, "right")
			u := begin(t, repo, content[:700])
			require.NoError(t, u.Close())
			u, err := repo.Blobs().Resume(t.Context(), u.ID())
			require.NoError(t, err)
			write(t, u, content[700:])
			alias := digestOf(t, alg, content)
			desc, err := u.Commit(t.Context(), storage.Descriptor{Digest: alias})
			require.NoError(t, err)
			require.Equal(t, digest.FromBytes(content), desc.Digest)
			requireBlob(t, repo, alias, content)
		})

		s.test(name+"Mount", func(t *testing.T, reg storage.Registry) {
			from, to := repository(t, reg, "from"), repository(t, reg, "to")
			content := archive(t, "right")
			alias := digestOf(t, alg, content)
			canonical := commit(t, from, alias, content).Digest
			got, err := to.Blobs().Mount(t.Context(), from, alias)
			require.NoError(t, err)
			require.Equal(t, canonical, got.Digest)
			requireBlob(t, to, alias, content)
			requireBlob(t, to, canonical, content)
		})

		// Each name goes by itself.
		s.testWith(name+"Delete", Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
			repo := repository(t, reg, "app")
			content := archive(t, "right")
			alias, canonical := digestOf(t, alg, content), digest.FromBytes(content)
			for _, c := range [][2]digest.Digest{{alias, canonical}, {canonical, alias}} {
				commit(t, repo, alias, content)
				require.NoError(t, repo.Blobs().Delete(t.Context(), c[0]))
				requireNoBlob(t, repo, c[0])
				requireBlob(t, repo, c[1], content)
			}
		})
	}

	// A tarsum is of what is in an archive. Two that differ in compression
	// share it: both stay what they are, and it names the last.
	s.test("ArchivesOfOneTarsum", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		plain := archive(t, "the same")
		packed := compressed(t, plain)
		tarsum := digestOf(t, digest.TarsumV1, plain)
		require.Equal(t, tarsum, digestOf(t, digest.TarsumV1, packed))
		for _, content := range [][]byte{plain, packed, plain} {
			require.Equal(t, digest.FromBytes(content), commit(t, repo, tarsum, content).Digest)
			requireBlob(t, repo, tarsum, content)
			requireBlob(t, repo, digest.FromBytes(plain), plain)
		}
		requireBlob(t, repo, digest.FromBytes(packed), packed)
	})

	right := archive(s.t, "right")
	for name, content := range map[string][]byte{
		"Text":      []byte("no archive"),
		"Truncated": right[:514], // the header and two bytes
		"BadGzip":   append(compressed(s.t, right)[:40], "garbage"...),
		"Noise":     noise(1, 5000),
	} {
		s.test("NoArchive"+name, func(t *testing.T, reg storage.Registry) {
			repo := repository(t, reg, "app")
			u := begin(t, repo, content)
			for _, alg := range []digest.Algorithm{digest.TarsumV1, digest.TarsumV0} {
				_, err := u.Commit(t.Context(), storage.Descriptor{Digest: digestOf(t, alg, right)})
				require.ErrorIs(t, err, storage.ErrDigestMismatch)
				require.ErrorIs(t, err, digest.ErrArchive)
			}
			require.Empty(t, allBlobs(t, repo))
			_, err := u.Commit(t.Context(), describe("", content)) // it is a blob like any other
			require.NoError(t, err)
			requireBlob(t, repo, digest.FromBytes(content), content)
		})
	}

	s.test("Schema1", func(t *testing.T, reg storage.Registry) {
		repo := repository(t, reg, "app")
		layer, sum := archive(t, "layer"), digest.FromBytes([]byte("second"))
		tarsum := digestOf(t, digest.TarsumV1, layer)
		payload := schema1Payload("app", "v1", tarsum, sum)
		_, err := repo.Manifests().Put(t.Context(), "", payload, storage.AcceptUnsigned())
		requireMissing(t, err, storage.MissingError{Blobs: []digest.Digest{tarsum, sum}})
		putBlob(t, repo, manifest.MediaTypeDockerLayer, layer)
		putBlob(t, repo, manifest.MediaTypeDockerLayer, []byte("second"))
		_, err = repo.Manifests().Put(t.Context(), "", payload, storage.AcceptUnsigned())
		requireMissing(t, err, storage.MissingError{Blobs: []digest.Digest{tarsum}})
		commit(t, repo, tarsum, layer)
		_, err = repo.Manifests().Put(t.Context(), "", payload, storage.AcceptUnsigned())
		require.NoError(t, err)
		requireManifest(t, repo, payload)

		to := repository(t, reg, "to")
		_, err = to.Manifests().Mount(t.Context(), repo, digest.FromBytes(payload))
		require.NoError(t, err)
		requireBlob(t, to, tarsum, layer)
	})
}

// What is no digest, or not one that can be checked, names nothing, and does
// no harm.
func testDigests(s *suite) {
	hex := strings.Repeat("0", 64)
	for d, want := range map[digest.Digest]error{
		digest.Digest("tarsum.v2+sha256:" + hex):    digest.ErrTarsumVersion,
		digest.Digest("tarsum.dev+sha256:" + hex):   digest.ErrTarsumVersion,
		digest.Digest("tarsum.v1+sha1:" + hex[:40]): digest.ErrUnsupported,
		digest.Digest("md5:" + hex[:32]):            digest.ErrUnsupported,
		"":                                          digest.ErrInvalid,
		"garbage":                                   digest.ErrInvalid,
		"sha256":                                    digest.ErrInvalid,
		"sha256:":                                   digest.ErrInvalid,
		"sha256:zz":                                 digest.ErrInvalid,
		"sha256:../../../../../..":                  digest.ErrInvalid,
		digest.Digest("SHA256:" + hex):              digest.ErrInvalid,
		digest.Digest("sha256:" + hex + "/../" + hex):  digest.ErrInvalid,
		digest.Digest("tarsum.v0+sha256:" + hex):       digest.ErrInvalid,
		digest.Digest("tarsum.v1+sha256:" + hex[1:]):   digest.ErrInvalid,
		digest.Digest("tarsum+sha256:../" + hex[3:]):   digest.ErrInvalid,
		digest.Digest("tarsum/v1/sha256:" + hex):       digest.ErrInvalid,
		digest.Digest("sha256:" + hex[:62] + "\x00\n"): digest.ErrInvalid,
	} {
		s.testWith(strings.ReplaceAll(d.String(), "/", "|"), Options{AllowDelete: true}, func(t *testing.T, reg storage.Registry) {
			repo, other := repository(t, reg, "app"), repository(t, reg, "other")
			img := pushImage(t, repo, "one")
			u, empty := begin(t, repo, []byte("content")), begin(t, repo, nil)
			ctx := t.Context()
			require.NoError(t, empty.Close())
			resumed, err := repo.Blobs().Resume(ctx, empty.ID())
			require.NoError(t, err)
			for op, err := range map[string]error{
				"Commit":            second(u.Commit(ctx, storage.Descriptor{Digest: d})),
				"Commit resumed":    second(resumed.Commit(ctx, storage.Descriptor{Digest: d})),
				"Blobs.Stat":        second(repo.Blobs().Stat(ctx, d)),
				"Blobs.Open":        second(repo.Blobs().Open(ctx, d)),
				"Blobs.Get":         second(repo.Blobs().Get(ctx, d)),
				"Blobs.Mount":       second(other.Blobs().Mount(ctx, repo, d)),
				"Blobs.Delete":      repo.Blobs().Delete(ctx, d),
				"Blobs.Retract":     repo.Blobs().Retract(ctx, storage.Link{Digest: d, Version: "x", IsNew: true}),
				"Manifests.Exists":  second(repo.Manifests().Exists(ctx, d)),
				"Manifests.Stat":    second(repo.Manifests().Stat(ctx, d)),
				"Manifests.Open":    second(repo.Manifests().Open(ctx, d)),
				"Manifests.Get":     second(repo.Manifests().Get(ctx, d)),
				"Manifests.Signed":  second(repo.Manifests().Signed(ctx, d)),
				"Manifests.Mount":   second(other.Manifests().Mount(ctx, repo, d)),
				"Manifests.Delete":  repo.Manifests().Delete(ctx, d),
				"Manifests.Retract": repo.Manifests().Retract(ctx, storage.Link{Digest: d, Version: "x", IsNew: true}),
				"Tags.Tag":          repo.Tags().Tag(ctx, "v1", d),
			} {
				require.ErrorIs(t, err, want, op)
			}
			require.Equal(t, sorted(img.blobs()...), allBlobs(t, repo))
			requireManifest(t, repo, img.payload)
			require.Empty(t, allTags(t, repo))
			_, err = u.Commit(ctx, describe("", []byte("content")))
			require.NoError(t, err, "a refused Commit ends nothing")
			require.NoError(t, resumed.Cancel(ctx))
		})
	}
}
