package storage_test

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
	"registryfs/testdata"
)

// tarsumVector is an archive and a tarsum that was computed elsewhere.
type tarsumVector struct {
	name    string
	content []byte
	tarsum  digest.Digest
}

func tarsumVectors(t *testing.T) []tarsumVector {
	t.Helper()
	expect, err := testdata.Tarsums.ReadFile("tarsum/expect")
	require.NoError(t, err)
	var vectors []tarsumVector
	for line := range strings.Lines(string(expect)) {
		name, sum, found := strings.Cut(strings.TrimSpace(line), " ")
		require.True(t, found)
		content, err := testdata.Tarsums.ReadFile("tarsum/" + name)
		require.NoError(t, err)
		vectors = append(vectors, tarsumVector{name, content, digest.Digest(sum)})
	}
	require.NotEmpty(t, vectors)
	return vectors
}

// tarsumLink is where a tarsum's link is: below the version and the hash.
func tarsumLink(repo string, d digest.Digest) string {
	version := "v0"
	if strings.HasPrefix(d.String(), "tarsum.v1+sha256:") {
		version = "v1"
	}
	_, hex, _ := strings.Cut(d.String(), ":")
	return path.Join(repos, repo, "_layers/tarsum", version, "sha256", hex, "link")
}

// commitAs uploads content under a digest of any algorithm.
func commitAs(t *testing.T, repo storage.Repository, d digest.Digest, content []byte) (storage.Descriptor, error) {
	t.Helper()
	u, err := repo.Blobs().Create(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = u.Close() })
	_, err = u.Write(content)
	require.NoError(t, err)
	return u.Commit(t.Context(), storage.Descriptor{Digest: d, Size: int64(len(content))})
}

func TestLayoutOfTarsum(t *testing.T) {
	t.Parallel()
	for _, v := range tarsumVectors(t) {
		t.Run(v.tarsum.Algorithm().String()+"/"+v.name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				repo := repository(t, create(t, d), "app")
				desc, err := commitAs(t, repo, v.tarsum, v.content)
				require.NoError(t, err)
				canonical := digest.FromBytes(v.content)
				require.Equal(t, canonical, desc.Digest)
				require.Equal(t, map[string]string{
					dataPath(canonical):         string(v.content),
					layerLink("app", canonical): canonical.String(),
					tarsumLink("app", v.tarsum): canonical.String(),
				}, filesOf(tree(t, d)))

				repo = repository(t, again(t, d), "app")
				require.Equal(t, v.content, readAll(t, repo, v.tarsum))
				require.Equal(t, v.content, readAll(t, repo, canonical))
				require.ElementsMatch(t, []digest.Digest{canonical, v.tarsum}, blobsOf(t, repo))
			})
		})
	}
}

// Bytes read under a tarsum have that tarsum, whatever links and files say.
func TestTarsumNoLongerMatches(t *testing.T) {
	t.Parallel()
	vectors := tarsumVectors(t)
	v, other := vectors[0], vectors[2]
	require.NotEqual(t, v.name, other.name)
	for name, spoil := range map[string]func(t *testing.T, d driver.Driver, repo storage.Repository){
		"LinkNamesAnotherArchive": func(t *testing.T, d driver.Driver, repo storage.Repository) {
			put(t, d, tarsumLink("app", v.tarsum), putBlob(t, repo, other.content).String())
		},
		"LinkNamesNoArchive": func(t *testing.T, d driver.Driver, repo storage.Repository) {
			put(t, d, tarsumLink("app", v.tarsum), putBlob(t, repo, []byte("no archive")).String())
		},
		"LinkNamesTarsum": func(t *testing.T, d driver.Driver, _ storage.Repository) {
			put(t, d, tarsumLink("app", v.tarsum), v.tarsum.String())
		},
		"LinkWithNewline": func(t *testing.T, d driver.Driver, _ storage.Repository) {
			put(t, d, tarsumLink("app", v.tarsum), digest.FromBytes(v.content).String()+"\n")
		},
		"ContentChanged": func(t *testing.T, d driver.Driver, _ storage.Repository) {
			overwrite(t, d, dataPath(digest.FromBytes(v.content)), 0, other.content)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				repo := repository(t, create(t, d), "app")
				_, err := commitAs(t, repo, v.tarsum, v.content)
				require.NoError(t, err)
				require.Equal(t, v.content, readAll(t, repo, v.tarsum))
				spoil(t, d, repo)
				for range 2 { // what was found once is not taken for good afterwards
					_, err = repo.Blobs().Open(t.Context(), v.tarsum)
					require.ErrorIs(t, err, storage.ErrCorrupt)
					_, err = repo.Blobs().Get(t.Context(), v.tarsum)
					require.ErrorIs(t, err, storage.ErrCorrupt)
				}
				_, err = commitAs(t, repo, v.tarsum, v.content) // a push heals it
				require.NoError(t, err)
				require.Equal(t, v.content, readAll(t, repo, v.tarsum))
			})
		})
	}
}

func TestTarsumOfHugeArchive(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		content, err := testdata.Tarsums.ReadFile("tarsum/too-large.tar.gz")
		require.NoError(t, err)
		repo := repository(t, create(t, d), "app")
		_, err = commitAs(t, repo, tarsumVectors(t)[0].tarsum, content)
		require.ErrorIs(t, err, storage.ErrDigestMismatch)
		require.ErrorIs(t, err, digest.ErrArchiveTooLarge)
		require.Empty(t, blobsOf(t, repo))
	})
}

// A tarsum that cannot be checked is passed over, as is what is no tarsum.
func TestTarsumLinksPassedOver(t *testing.T) {
	v := tarsumVectors(t)[0]
	for name, stray := range map[string]string{
		"Version": "tarsum/dev/sha256/" + v.tarsum.Encoded() + "/link",
		"Hash":    "tarsum/v1/sha1/" + v.tarsum.Encoded()[:40] + "/link",
		"Hex":     "tarsum/v0/sha256/short/link",
		"OldFile": "tarsum/v1/md5",
		"NoLink":  "tarsum/v1/sha256/" + strings.Repeat("0", 64) + "/other",
	} {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				repo := repository(t, create(t, d), "app")
				canonical := putBlob(t, repo, v.content)
				put(t, d, tarsumLink("app", v.tarsum), canonical.String())
				put(t, d, path.Join(repos, "app/_layers", stray), canonical.String())
				require.ElementsMatch(t, []digest.Digest{canonical, v.tarsum}, blobsOf(t, repo))
			})
		})
	}
}
