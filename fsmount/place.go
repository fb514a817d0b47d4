package fsmount

import (
	"path"
	"strings"
	"syscall"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// view is one of the directories of a repository, in the order in which they
// are listed: cp -a and tar must meet blobs before the manifests that name
// them, and manifests before tags.
type view uint8

const (
	viewBlobs view = iota + 1
	viewManifests
	viewTags
	viewUploads
	viewLayout
	viewLayoutBlobs
	viewImages
)

var viewNames = map[view]string{
	viewBlobs:     "_blobs",
	viewManifests: "_manifests",
	viewTags:      "_tags",
	viewUploads:   "_uploads",
	viewImages:    "_images",

	viewLayout:      "_oci",
	viewLayoutBlobs: "_oci/" + manifest.LayoutBlobs,
}

func (v view) String() string { return viewNames[v] }

// place is a directory of a repository in which names can be made. It is
// comparable; the generation tells a repository in waiting from one of the
// same name that was removed.
type place struct {
	repo string
	gen  uint64
	view view
	alg  string      // "" above the algorithms
	dir  *scratchDir // of viewLayout: nil above the directories made there
}

// placeOf is a place of a repository that is there now.
func (f *fileSystem) placeOf(repo string, v view, alg string) place {
	return place{repo: repo, gen: f.waiting.generation(repo), view: v, alg: alg}
}

// path is where the place is in the mount.
func (p place) path() string {
	if p.dir != nil {
		return p.dir.where()
	}
	return path.Join("/", p.repo, p.view.String(), p.alg)
}

func (p place) join(name string) string { return path.Join(p.path(), name) }

// digestOf is the digest that a name in the place stands for, if it does:
// <hex> below an algorithm, <alg>:<hex> above.
func (p place) digestOf(name string) (digest.Digest, bool) {
	if p.view != viewBlobs && p.view != viewManifests && p.view != viewLayoutBlobs {
		return "", false
	}
	if p.alg != "" {
		name = p.alg + ":" + name
	}
	d, err := digest.Parse(name)
	return d, err == nil
}

// signedSuffix is that of the signed form of a manifest of schema 1.
const signedSuffix = ".jws"

// signedDigestOf is the digest of the manifest whose signed form a name stands
// for, if it does: <hex>.jws.
func (p place) signedDigestOf(name string) (digest.Digest, bool) {
	hex, ok := strings.CutSuffix(name, signedSuffix)
	if !ok || p.view != viewManifests || p.alg == "" {
		return "", false
	}
	return p.digestOf(hex)
}

// meaning is what a name that is made in a place stands for.
type meaning uint8

const (
	means    meaning = iota
	aScratch         // a temporary: local to the mount until it is renamed
	aBlob            // a blob of that digest
	aManifest
	aBlobAlias // a blob, whatever its digest
	aManifestAlias
	aTag
	anUpload
	anIndex        // index.json of the repository as a layout
	aLayoutVersion // oci-layout beside it
)

// isScratch reports whether a name is a temporary anywhere: rsync's, vim's and
// most other programs' begin with a dot or a hash or end in a tilde.
func isScratch(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~")
}

// meaningOf tells what making a file of that name means. Errors: for a name
// that can mean nothing.
func (p place) meaningOf(name string) (meaning, error) {
	_, isDigest := p.digestOf(name)
	_, isSigned := p.signedDigestOf(name)
	switch {
	case len(name) > syscall.NAME_MAX:
		return means, refuse(errNameTooLong, "a name has at most 255 bytes")
	case p.view == viewUploads:
		return means, refuse(errPerm, "uploads begin by writing a file in _blobs")
	case p.view == viewLayout:
		return p.layoutMeaningOf(name)
	case p.view == viewImages:
		return means, refuse(errPerm, imagesAreRead)
	case isScratch(name):
		return aScratch, nil
	case (p.view == viewBlobs || p.view == viewLayoutBlobs) && isDigest:
		return aBlob, nil
	case p.view == viewManifests && (isDigest || isSigned):
		return aManifest, nil
	case p.view == viewTags:
		if len(name) > storage.MaxTag {
			return means, refuse(errNameTooLong, "a tag has at most 128 characters")
		}
		return aTag, storage.CheckTag(name)
	case p.alg != "":
		return aScratch, nil
	case digest.IsAlgorithm(name):
		return means, refuse(errIsDir, "an algorithm is a directory")
	case strings.Contains(name, ":"):
		_, err := digest.Parse(name)
		return means, err
	case p.view == viewLayoutBlobs:
		return aScratch, nil
	case p.view == viewManifests:
		return aManifestAlias, nil
	default:
		return aBlobAlias, nil
	}
}

// layoutMeaningOf is meaningOf in a layout: there all names are temporaries but
// those that the specification gives.
func (p place) layoutMeaningOf(name string) (meaning, error) {
	switch {
	case p.dir != nil:
		return aScratch, nil
	case name == manifest.LayoutIndexFile:
		return anIndex, nil
	case name == manifest.LayoutVersionFile:
		return aLayoutVersion, nil
	case name == manifest.LayoutBlobs:
		return means, refuse(errIsDir, "blobs is a directory")
	default:
		return aScratch, nil
	}
}

func join(dir, name string) string { return path.Join(dir, name) }
