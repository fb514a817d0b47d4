package fsmount

import (
	"slices"
	"strings"

	"registryfs/manifest"
)

const (
	// unknownPlatform names what tells no platform.
	unknownPlatform = "unknown"
	// maxPlatformPart is the length in bytes to which each part of a
	// platform's name is cut.
	maxPlatformPart = 64
)

// platformName is the name of a platform's directory: os-arch or
// os-arch-variant. Documents can say anything there, so whatever is no letter,
// digit, dot, hyphen or underscore is an underscore here, and a leading dot
// too.
func platformName(p *manifest.Platform) string {
	if p == nil || p.OS == "" && p.Architecture == "" {
		return unknownPlatform
	}
	parts := []string{p.OS, p.Architecture, p.Variant}
	for i, part := range parts[:2] {
		if part == "" {
			parts[i] = unknownPlatform
		}
	}
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	for i, part := range parts {
		parts[i] = namePart(part)
	}
	return strings.Join(parts, "-")
}

func namePart(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, s)
	s = s[:min(len(s), maxPlatformPart)]
	if s[0] == '.' {
		s = "_" + s[1:]
	}
	return s
}

// suffixes are the words at the end of a media type that tell how content is to
// be read, and what file names have for them.
var suffixes = map[string]string{
	"tar": "tar", "gzip": "gz", "gz": "gz", "zstd": "zst", "bzip2": "bz2", "xz": "xz", "lz4": "lz4", "zip": "zip",
	"json": "json", "yaml": "yaml", "xml": "xml", "html": "html", "toml": "toml", "wasm": "wasm", "plain": "txt",
	"encrypted": "encrypted",
}

// unknownSuffix is that of content of which the media type says nothing.
const unknownSuffix = "bin"

// suffixOf is the suffix of files of a media type, without its first dot:
// tar.gz of application/vnd.oci.image.layer.v1.tar+gzip. It is made of the
// known words at the end.
func suffixOf(mediaType string) string {
	bare, _, _ := strings.Cut(mediaType, ";")
	_, subtype, _ := strings.Cut(strings.ToLower(strings.TrimSpace(bare)), "/")
	words := strings.FieldsFunc(subtype, func(r rune) bool { return r == '.' || r == '+' })
	var suffix []string
	for _, word := range slices.Backward(words) {
		known, ok := suffixes[strings.TrimPrefix(word, "x-")]
		if !ok || slices.Contains(suffix, known) {
			break
		}
		suffix = append(suffix, known)
	}
	if len(suffix) == 0 {
		return unknownSuffix
	}
	slices.Reverse(suffix)
	return strings.Join(suffix, ".")
}
