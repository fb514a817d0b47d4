// Package testdata holds test vectors that several packages share.
//
//	manifest/NAME.json     a manifest as it may lie in a store, or come to it
//	manifest/NAME.expect   what reading it must give, written by
//	                       go test ./manifest -run Golden -update
//
// The digests in the vectors are the SHA-256 of made-up words: none of the
// content exists.
package testdata

import "embed"

// Manifests are the vectors of package manifest, below "manifest/".
//
//go:embed manifest
var Manifests embed.FS
