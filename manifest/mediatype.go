package manifest

import (
	"mime"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of manifests. The OCI ones are fixed in the image specification
// (media-types.md), the Docker ones in the image manifest specifications,
// version 2, schema 1 and schema 2.
const (
	MediaTypeOCIManifest    = ocispec.MediaTypeImageManifest
	MediaTypeOCIIndex       = ocispec.MediaTypeImageIndex
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"

	MediaTypeDockerSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	MediaTypeDockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Media types of what manifests reference.
const (
	MediaTypeOCIConfig   = ocispec.MediaTypeImageConfig
	MediaTypeOCILayer    = ocispec.MediaTypeImageLayerGzip
	MediaTypeOCIEmpty    = ocispec.MediaTypeEmptyJSON
	MediaTypeOctetStream = "application/octet-stream" // content of which no more is known

	MediaTypeDockerConfig = "application/vnd.docker.container.image.v1+json"
	MediaTypeDockerLayer  = "application/vnd.docker.image.rootfs.diff.tar.gzip"

	mediaTypeDockerForeign = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	mediaTypeOCIForeign    = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	mediaTypeJSON          = "application/json"
)

// maxMediaType is the length in bytes of the longest media type: two names of
// 127 (RFC 6838, section 4.2) and the slash.
const maxMediaType = 255

// IsIndex reports whether mediaType is that of an OCI index or a Docker
// manifest list. Parameters are ignored.
func IsIndex(mediaType string) bool {
	switch withoutParameters(mediaType) {
	case MediaTypeOCIIndex, MediaTypeDockerList:
		return true
	}
	return false
}

// IsImage reports whether mediaType is that of an image manifest, OCI's or
// Docker's schema 2. Parameters are ignored.
func IsImage(mediaType string) bool {
	switch withoutParameters(mediaType) {
	case MediaTypeOCIManifest, MediaTypeDockerManifest:
		return true
	}
	return false
}

// IsSchema1 reports whether mediaType is that of a manifest of Docker's schema
// 1, signed or not. Parameters are ignored.
func IsSchema1(mediaType string) bool {
	switch withoutParameters(mediaType) {
	case MediaTypeDockerSchema1, MediaTypeDockerSchema1Signed:
		return true
	}
	return false
}

// IsManifest reports whether [Parse] understands documents of mediaType.
func IsManifest(mediaType string) bool {
	return IsImage(mediaType) || IsIndex(mediaType) || IsSchema1(mediaType)
}

// IsDocker reports whether mediaType is one of Docker's two manifest types of
// schema 2.
func IsDocker(mediaType string) bool {
	switch withoutParameters(mediaType) {
	case MediaTypeDockerManifest, MediaTypeDockerList:
		return true
	}
	return false
}

// isForeignType reports whether a layer of mediaType may not be distributed:
// Docker's foreign and OCI's non-distributable layers, whatever their
// compression.
func isForeignType(mediaType string) bool {
	return isDockerForeign(mediaType) || isKindOf(mediaType, mediaTypeOCIForeign)
}

func isDockerForeign(mediaType string) bool { return isKindOf(mediaType, mediaTypeDockerForeign) }

// isKindOf reports whether mediaType is base in some compression.
func isKindOf(mediaType, base string) bool {
	rest, ok := strings.CutPrefix(withoutParameters(mediaType), base)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '+')
}

// withoutParameters is the bare media type, in lower case: "; charset=utf-8"
// goes.
func withoutParameters(mediaType string) string {
	bare, _, _ := strings.Cut(mediaType, ";")
	return strings.ToLower(strings.TrimSpace(bare))
}

// saysNothing reports whether a bare media type leaves open what kind of
// manifest a document is.
func saysNothing(mediaType string) bool {
	switch mediaType {
	case "", MediaTypeOctetStream, mediaTypeJSON:
		return true
	}
	return false
}

// wellFormed reports whether s can be a media type at all.
func wellFormed(s string) bool {
	if len(s) > maxMediaType || !strings.Contains(s, "/") {
		return false
	}
	_, _, err := mime.ParseMediaType(s)
	return err == nil
}
