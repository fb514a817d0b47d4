package fsmount

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/manifest"
)

func TestPlatformNames(t *testing.T) {
	for want, p := range map[string]*manifest.Platform{
		"unknown":             nil,
		"linux-amd64":         {OS: "linux", Architecture: "amd64"},
		"linux-arm-v7":        {OS: "linux", Architecture: "arm", Variant: "v7"},
		"windows-amd64":       {OS: "windows", Architecture: "amd64", OSVersion: "10.0.20348.2227"},
		"linux-unknown":       {OS: "linux"},
		"unknown-arm64-v8":    {Architecture: "arm64", Variant: "v8"},
		"wasi_0.2-x86-64":     {OS: "wasi 0.2", Architecture: "x86-64"},
		"_._.._etc-a_b-_n_":   {OS: "../../etc", Architecture: "a/b", Variant: "\x00n\n"},
		"_-_":                 {OS: ".", Architecture: "\n"},
		"__-______":           {OS: "\xff\xfe", Architecture: "日本語版です"},
		"_.-amd64":            {OS: "..", Architecture: "amd64"},
		"linux-amd64_onyx-v1": {OS: "linux", Architecture: "amd64\u202eonyx", Variant: "v1"},
	} {
		require.Equal(t, want, platformName(p))
	}
	require.Equal(t, "unknown", platformName(&manifest.Platform{Variant: "v8"}), "that alone is no platform")
	long := strings.Repeat("x", 5000)
	require.Equal(t, strings.Repeat("x", maxPlatformPart)+"-"+long[:maxPlatformPart]+"-"+long[:maxPlatformPart],
		platformName(&manifest.Platform{OS: long, Architecture: long, Variant: long}))
}

func FuzzPlatformName(f *testing.F) {
	f.Add("linux", "arm", "v7")
	f.Add("..", "/", "\x00")
	f.Fuzz(func(t *testing.T, os, arch, variant string) {
		name := platformName(&manifest.Platform{OS: os, Architecture: arch, Variant: variant})
		require.Regexp(t, `^[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$`, name)
	})
}

func TestSuffixes(t *testing.T) {
	for mediaType, want := range map[string]string{
		"application/vnd.oci.image.layer.v1.tar":                       "tar",
		"application/vnd.oci.image.layer.v1.tar+gzip":                  "tar.gz",
		"application/vnd.oci.image.layer.v1.tar+zstd":                  "tar.zst",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "tar.gz",
		"application/vnd.oci.image.layer.v1.tar+gzip+encrypted":        "tar.gz.encrypted",
		"application/vnd.docker.image.rootfs.diff.tar":                 "tar",
		"application/vnd.docker.image.rootfs.diff.tar.gzip":            "tar.gz",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":    "tar.gz",
		"Application/VND.OCI.Image.Layer.v1.TAR+GZIP; x=y":             "tar.gz",
		"application/vnd.cncf.helm.chart.content.v1.tar+gzip":          "tar.gz",
		"application/vnd.cncf.helm.chart.provenance.v1.prov":           "bin",
		"application/vnd.in-toto+json":                                 "json",
		"application/vnd.oci.empty.v1+json":                            "json",
		"application/wasm":                                             "wasm",
		"application/vnd.wasm.content.layer.v1+wasm":                   "wasm",
		"application/x-tar":                                            "tar",
		"application/x-gzip":                                           "gz",
		"text/plain":                                                   "txt",
		"application/octet-stream":                                     "bin",
		"tar":                                                          "bin",
		"":                                                             "bin",
		"a/../../etc/passwd":                                           "bin",
		"application/tar+tar+tar+tar":                                  "tar",
	} {
		require.Equal(t, want, suffixOf(mediaType), mediaType)
	}
}

func FuzzSuffix(f *testing.F) {
	f.Add("application/vnd.oci.image.layer.v1.tar+gzip")
	f.Fuzz(func(t *testing.T, mediaType string) {
		require.Regexp(t, `^[a-z0-9.]{2,80}$`, suffixOf(mediaType))
	})
}
