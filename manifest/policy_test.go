package manifest_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/manifest"
)

const (
	dockerForeign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	ociForeign    = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
)

func TestURLPolicy(t *testing.T) {
	any := regexp.MustCompile(`.`)
	vendor := regexp.MustCompile(`^https://vendor\.example\.com/`)
	secret := regexp.MustCompile(`/secret/`)
	for name, c := range map[string]struct {
		policy    manifest.URLPolicy
		mediaType string
		urls      []string
		allowed   bool
	}{
		"no address":                 {manifest.URLPolicy{}, manifest.MediaTypeOCILayer, nil, true},
		"default":                    {manifest.URLPolicy{}, dockerForeign, []string{"https://vendor.example.com/x"}, false},
		"default, OCI":               {manifest.URLPolicy{}, ociForeign, []string{"https://vendor.example.com/x"}, false},
		"default, any layer":         {manifest.URLPolicy{}, manifest.MediaTypeOCILayer, []string{"https://vendor.example.com/x"}, false},
		"Docker without":             {manifest.URLPolicy{Allow: []*regexp.Regexp{any}}, dockerForeign, nil, false},
		"OCI without":                {manifest.URLPolicy{}, ociForeign, nil, true},
		"allowed":                    {manifest.URLPolicy{Allow: []*regexp.Regexp{vendor}}, dockerForeign, []string{"https://vendor.example.com/x"}, true},
		"second allowed":             {manifest.URLPolicy{Allow: []*regexp.Regexp{secret, vendor}}, ociForeign, []string{"https://vendor.example.com/x"}, true},
		"not allowed":                {manifest.URLPolicy{Allow: []*regexp.Regexp{vendor}}, dockerForeign, []string{"https://example.com/x"}, false},
		"one of them not":            {manifest.URLPolicy{Allow: []*regexp.Regexp{vendor}}, dockerForeign, []string{"https://vendor.example.com/x", "https://example.com/"}, false},
		"denied":                     {manifest.URLPolicy{Allow: []*regexp.Regexp{vendor}, Deny: []*regexp.Regexp{secret}}, dockerForeign, []string{"https://vendor.example.com/secret/x"}, false},
		"deny alone, denied":         {manifest.URLPolicy{Deny: []*regexp.Regexp{secret}}, dockerForeign, []string{"https://example.com/secret/x"}, false},
		"deny alone, not denied":     {manifest.URLPolicy{Deny: []*regexp.Regexp{secret}}, dockerForeign, []string{"http://example.com/x"}, true},
		"file":                       {manifest.URLPolicy{Allow: []*regexp.Regexp{any}}, ociForeign, []string{"file:///etc/passwd"}, false},
		"no host":                    {manifest.URLPolicy{Allow: []*regexp.Regexp{any}}, ociForeign, []string{"https:///x"}, false},
		"no scheme":                  {manifest.URLPolicy{Allow: []*regexp.Regexp{any}}, ociForeign, []string{"vendor.example.com/x"}, false},
		"fragment":                   {manifest.URLPolicy{Allow: []*regexp.Regexp{any}}, ociForeign, []string{"https://example.com/x#y"}, false},
		"no address at all":          {manifest.URLPolicy{Allow: []*regexp.Regexp{any}}, ociForeign, []string{"https://%zz/"}, false},
		"empty":                      {manifest.URLPolicy{Allow: []*regexp.Regexp{any}}, ociForeign, []string{""}, false},
		"too long":                   {manifest.URLPolicy{Allow: []*regexp.Regexp{any}}, ociForeign, []string{"https://example.com/" + strings.Repeat("x", manifest.MaxURL)}, false},
		"everything, any layer type": {manifest.URLPolicy{Allow: []*regexp.Regexp{any}}, manifest.MediaTypeDockerLayer, []string{"https://example.com/x"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := descriptor(hexA, 1)
			d.MediaType, d.URLs = c.mediaType, c.urls
			places := []manifest.References{{Blobs: []manifest.Descriptor{descriptor(hexB, 1), d}}}
			if len(c.urls) > 0 {
				places = append(places, manifest.References{Manifests: []manifest.Descriptor{d}}, manifest.References{Subject: &d})
			}
			for _, refs := range places {
				err := c.policy.Check(refs)
				if c.allowed {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, manifest.ErrURL)
				require.ErrorIs(t, err, manifest.ErrInvalid)
				var refused *manifest.URLError
				require.ErrorAs(t, err, &refused)
				require.NotEmpty(t, refused.Field)
				require.Less(t, len(err.Error()), 500)
			}
		})
	}
	require.NoError(t, manifest.URLPolicy{}.Check(manifest.References{}))
}
