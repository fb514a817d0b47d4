// Package testdata holds test vectors that several packages share.
//
//	manifest/NAME.json     a manifest as it may lie in a store, or come to it
//	manifest/NAME.expect   what reading it must give, written by
//	                       go test ./manifest -run Golden -update
//	tarsum/NAME.tar.gz     an archive as GNU tar writes it
//	tarsum/expect          lines of archive and tarsum, computed by another
//	                       implementation than ours
//
// The digests in the manifests are the SHA-256 of made-up words: none of the
// content exists.
package testdata

import "embed"

// Manifests are the vectors of package manifest, below "manifest/".
//
//go:embed manifest
var Manifests embed.FS

// Tarsums are archives and their tarsums, below "tarsum/".
//
//go:embed tarsum
var Tarsums embed.FS
