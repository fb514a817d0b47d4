package storage

import (
	"path"
	"strconv"
	"strings"

	"registryfs/digest"
	"registryfs/driver"
)

// The tree below the root of a driver, as docker/distribution 2.x and 3.x
// write it, and what is ours beside it:
//
//	/docker/registry/v2/
//	├── blobs/<alg>/<hex[:2]>/<hex>/data            content, manifests too
//	└── repositories/<name>/
//	    ├── _layers/<alg>/<hex>/link                 the digest, no newline
//	    ├── _manifests/revisions/<alg>/<hex>/link    the same
//	    ├── _manifests/revisions/<alg>/<hex>/signatures/<alg>/<hex>/link   of schema 1
//	    ├── _manifests/tags/<tag>/current/link       what the tag names
//	    ├── _manifests/tags/<tag>/index/<alg>/<hex>/link   what it ever named
//	    └── _uploads/<id>/{data,startedat,hashstates/<alg>/<offset>}
//	/registryfs/
//	├── staging/<id>/       tags being built
//	├── uploads/<id>        what an upload was like when it was closed
//	├── trash/<stamp>.<id>/ tags and repositories that were removed, for a day; links, until they surely are
//	├── swept/<stamp>/…     what a collection took away, with its path below v2/
//	├── exclusive           who is the only one to write
//	├── leases/<stamp>.<kind>.<id>   what he relies on; see leases.go
//	├── quarantine/<alg>/<hex>-<id>   content found corrupt, when it was replaced
//	├── quarantine/links/<id>/…       a directory where a link was written, with its path below v2/
//	└── quarantine/{check,leftovers}/<time>-<id>/…   what a repair took away, with its path below v2/
//
// An empty directory repositories/_removed, no name of a repository, says that
// registryfs has removed one since the last collection; see gcempty.go. Others
// pass over it.
//
// A link at a provisional digest (sha512; tarsum/<version>/<hash>/<hex> for a
// tarsum) holds the canonical one. A stock
// registry fails when blobs/, repositories/ or a repository's _layers/ is
// missing, or on foreign files in blobs/ or tags/.
const (
	layoutRoot       = "/docker/registry/v2"
	layoutBlobs      = layoutRoot + "/blobs"
	layoutRepos      = layoutRoot + "/repositories"
	layoutRemoved    = layoutRepos + "/_removed"
	layoutOurs       = "/registryfs"
	layoutStaging    = layoutOurs + "/staging"
	layoutCloses     = layoutOurs + "/uploads"
	layoutTrash      = layoutOurs + "/trash"
	layoutSwept      = layoutOurs + "/swept"
	layoutMark       = layoutOurs + "/exclusive"
	layoutLeases     = layoutOurs + "/leases"
	layoutQuarantine = layoutOurs + "/quarantine"
)

func blobPath(d digest.Digest) string {
	hex := d.Encoded()
	return path.Join(layoutBlobs, d.Algorithm().String(), hex[:2], hex, "data")
}

func repoPath(name string) string      { return path.Join(layoutRepos, name) }
func layersPath(name string) string    { return path.Join(layoutRepos, name, "_layers") }
func revisionsPath(name string) string { return path.Join(layoutRepos, name, "_manifests/revisions") }
func signaturesPath(name string, d digest.Digest) string {
	return path.Join(path.Dir(linkPath(revisionsPath(name), d)), "signatures")
}
func manifestsPath(name string) string { return path.Join(layoutRepos, name, "_manifests") }
func tagsPath(name string) string      { return path.Join(layoutRepos, name, "_manifests/tags") }
func tagPath(name, tag string) string  { return path.Join(tagsPath(name), tag) }
func uploadsPath(name string) string   { return path.Join(layoutRepos, name, "_uploads") }

func uploadPath(name, id string) string        { return path.Join(uploadsPath(name), id) }
func uploadDataPath(name, id string) string    { return path.Join(uploadPath(name, id), "data") }
func uploadStartedPath(name, id string) string { return path.Join(uploadPath(name, id), "startedat") }

// currentPath and indexPath are below the directory of a tag, wherever that is
// being built.
func currentPath(tagDir string) string { return path.Join(tagDir, "current/link") }
func indexPath(tagDir string) string   { return path.Join(tagDir, "index") }

func linkPath(dir string, d digest.Digest) string {
	return path.Join(dir, algorithmPath(d.Algorithm()), d.Encoded(), "link")
}

// algorithmPath is where the links of an algorithm are: a tarsum's are below
// its version and hash.
func algorithmPath(alg digest.Algorithm) string {
	switch alg {
	case digest.TarsumV1:
		return "tarsum/v1/sha256"
	case digest.TarsumV0:
		return "tarsum/v0/sha256"
	}
	return alg.String()
}

func statesPath(name, id string) string { return path.Join(uploadPath(name, id), "hashstates") }

// statePath is the state of a canonical digester after that many bytes.
func statePath(name, id string, offset int64) string {
	return path.Join(statesPath(name, id), digest.SHA256.String(), strconv.FormatInt(offset, 10))
}

// closePath is what we know of the last close of an upload.
func closePath(id string) string { return path.Join(layoutCloses, id) }

// isPart reports whether a child of a repository is one of its directories.
func isPart(child string) bool { return isReserved(path.Base(child)) && driver.ValidPath(child) }

// isReserved tells the directories of a repository from the names below it: no
// component of a name begins with an underscore.
func isReserved(name string) bool { return strings.HasPrefix(name, "_") }
