package storage_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/manifest"
	"registryfs/storage"
)

const (
	dockerForeign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	ociForeign    = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
)

// foreignImage is an image whose layer is elsewhere.
func foreignImage(config digest.Digest, mediaType, layerType, urls string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"%s",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":2},`+
		`"layers":[{"mediaType":"%s","digest":"%s","size":5%s}]}`,
		mediaType, config, layerType, digest.FromBytes([]byte("elsewhere")), urls)
}

// Addresses are allowed one by one, and none by default.
func TestURLPolicy(t *testing.T) {
	const allowed, denied, other = "https://example.com/layers/1", "https://example.com/layers/private/1", "https://example.org/1"
	policies := map[string]manifest.URLPolicy{
		"Default":   {},
		"Allow":     {Allow: []*regexp.Regexp{regexp.MustCompile(`^https://example\.com/`)}},
		"AllowDeny": {Allow: []*regexp.Regexp{regexp.MustCompile(`^https://example\.com/`)}, Deny: []*regexp.Regexp{regexp.MustCompile(`/private/`)}},
		"Deny":      {Deny: []*regexp.Regexp{regexp.MustCompile(`/private/`)}},
	}
	in := func(urls ...string) string { return `,"urls":["` + urls[0] + `"` + joined(urls[1:]) + `]` }
	for name, c := range map[string]struct {
		layer, urls string
		by          []string // policies that accept it
	}{
		"OCI":                {ociForeign, in(allowed), []string{"Allow", "AllowDeny", "Deny"}},
		"OCIWithout":         {ociForeign, "", []string{"Default", "Allow", "AllowDeny", "Deny"}},
		"OCIDenied":          {ociForeign, in(denied), []string{"Allow"}},
		"OCIOther":           {ociForeign, in(other), []string{"Deny"}},
		"OCISecondIsOther":   {ociForeign, in(allowed, other), []string{"Deny"}},
		"Docker":             {dockerForeign, in(allowed), []string{"Allow", "AllowDeny", "Deny"}},
		"DockerWithout":      {dockerForeign, "", nil},
		"DockerEmptyList":    {dockerForeign, `,"urls":[]`, nil},
		"DockerSecondDenied": {dockerForeign, in(allowed, denied), []string{"Allow"}},
		"NotHTTP":            {ociForeign, in("file:///etc/passwd"), nil},
		"Empty":              {ociForeign, in(""), nil},
		"Fragment":           {ociForeign, in(allowed + "#x"), nil},
	} {
		for policy, urls := range policies {
			t.Run(name+"/"+policy, func(t *testing.T) {
				d := memdriver.New() // no matter which
				repo := repository(t, openRegistry(t, d, storage.Options{Create: true, URLs: urls}), "app")
				mediaType := manifest.MediaTypeOCIManifest
				if c.layer == dockerForeign {
					mediaType = manifest.MediaTypeDockerManifest
				}
				payload := []byte(foreignImage(putBlob(t, repo, []byte("{}")), mediaType, c.layer, c.urls))
				accepts := false
				for _, by := range c.by {
					accepts = accepts || by == policy
				}
				before := tree(t, d)
				for _, options := range [][]storage.PutOption{{}, {storage.SkipReferences()}} {
					desc, err := repo.Manifests().Put(t.Context(), "", payload, options...)
					if accepts {
						require.NoError(t, err)
						_, err = repo.Manifests().Get(t.Context(), desc.Digest)
						require.NoError(t, err)
						require.NoError(t, repo.Tags().Tag(t.Context(), "v1", desc.Digest))
						continue
					}
					require.ErrorIs(t, err, manifest.ErrURL)
					require.ErrorIs(t, err, manifest.ErrInvalid)
					require.Equal(t, before, tree(t, d), "nothing is stored")
				}
			})
		}
	}
}

func joined(urls []string) (list string) {
	for _, u := range urls {
		list += `,"` + u + `"`
	}
	return list
}

// Where a layer may be fetched from an address, it need not be here, whatever
// its type: registries have accepted such images.
func TestLayerWithAddressNeedNotBeHere(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, openRegistry(t, d, storage.Options{Create: true, URLs: manifest.URLPolicy{
			Allow: []*regexp.Regexp{regexp.MustCompile(`.`)},
		}}), "app")
		config := putBlob(t, repo, []byte("{}"))
		for urls, accepts := range map[string]bool{`,"urls":["https://example.com/1"]`: true, `,"urls":[]`: false, "": false} {
			payload := foreignImage(config, manifest.MediaTypeOCIManifest, manifest.MediaTypeOCILayer, urls)
			_, err := repo.Manifests().Put(t.Context(), "", []byte(payload))
			if accepts {
				require.NoError(t, err)
				continue
			}
			var missing *storage.MissingError
			require.ErrorAs(t, err, &missing)
			require.Equal(t, []digest.Digest{digest.FromBytes([]byte("elsewhere"))}, missing.Blobs)
		}
	})
}

// What others have stored is read and tagged whatever the policy says; into
// another repository it comes only as a push would.
func TestURLPolicyOfWhatIsStored(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		open := openRegistry(t, d, storage.Options{Create: true, URLs: manifest.URLPolicy{
			Allow: []*regexp.Regexp{regexp.MustCompile(`.`)},
		}})
		repo := repository(t, open, "app")
		config := putBlob(t, repo, []byte("{}"))
		payload := foreignImage(config, manifest.MediaTypeOCIManifest, ociForeign, `,"urls":["https://example.com/1"]`)
		desc, err := repo.Manifests().Put(t.Context(), "", []byte(payload))
		require.NoError(t, err)
		_, err = repository(t, open, "allowed").Manifests().Mount(t.Context(), repo, desc.Digest)
		require.NoError(t, err)

		reg := again(t, d)
		repo = repository(t, reg, "app")
		got, err := repo.Manifests().Get(t.Context(), desc.Digest)
		require.NoError(t, err)
		require.Equal(t, payload, string(got.Payload()))
		require.NoError(t, repo.Tags().Tag(t.Context(), "v1", desc.Digest))
		to := repository(t, reg, "to")
		_, err = to.Manifests().Mount(t.Context(), repo, desc.Digest)
		require.ErrorIs(t, err, manifest.ErrURL)
		exists, err := to.Manifests().Exists(t.Context(), desc.Digest)
		require.NoError(t, err)
		require.False(t, exists)
	})
}
