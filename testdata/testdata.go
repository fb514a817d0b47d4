// Package testdata holds test vectors that several packages share.
//
//	manifest/NAME.json     a manifest as it may lie in a store, or come to it
//	manifest/NAME.expect   what reading it must give, written by
//	                       go test ./manifest -run Golden -update
//	tarsum/NAME.tar.gz     an archive as GNU tar writes it
//	tarsum/expect          lines of archive and tarsum, computed by another
//	                       implementation than ours
//
//	traces/TOOL-VERSION-WHAT.trace
//	                       the system calls by which a tool changed an OCI
//	                       image layout, as strace recorded them (see Traces)
//
// The digests in the manifests are the SHA-256 of made-up words: none of the
// content exists.
package testdata

import "embed"

// Manifests are the vectors of package manifest, below "manifest/".
//
//go:embed manifest
var Manifests embed.FS

// Traces are calls of tools, below "traces/". A trace begins with what the calls
// are about, a line each; the content itself was not recorded, and is made up
// by whoever replays them:
//
//	blob NAME BYTES                 a blob of that size
//	manifest NAME CONFIG LAYER...   an image manifest of those blobs
//	index NAME [TAG=]MANIFEST...    an index.json; "null" is one with "manifests":null
//	given INDEX                     an index.json, and what it leads to, that is there before
//	after TAG=MANIFEST...           the tags afterwards
//	untagged MANIFEST...            manifests that are there besides
//
// After an empty line come the calls, in order, <NAME> being the digest of
// content in hex, and paths those below the layout:
//
//	CALL ARGUMENTS [as FD | = ERRNO]
//
// with "write FD CONTENT [BYTES...]" for writes of so many bytes of the
// content, each going on where the one before ended, or of all the rest. read
// and list go on to the end. What threads did at once is in the order in which
// it was recorded.
//
//go:embed traces
var Traces embed.FS

// Tarsums are archives and their tarsums, below "tarsum/".
//
//go:embed tarsum
var Tarsums embed.FS
