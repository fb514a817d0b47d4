package fsmount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

const (
	// maxPlatforms bounds the images that are shown of one tag. The indexes
	// that are known have some tens.
	maxPlatforms = 1000
	// maxIndexes bounds the indexes that are read for one tag.
	maxIndexes = 100
)

// platformImage is the image of a tag for one platform.
type platformImage struct {
	name     string // of its directory
	manifest digest.Digest
}

// platformImages finds the images that a manifest stands for, in the order of
// the indexes on the way. The platform of an index's child is that of its
// descriptor, else that of its configuration, which is the only place where a
// single image has it; what has none is "unknown", so that every manifest that
// is here shows.
//
// Not shown are an index's children that are not here, and those that it says
// are for platform unknown/unknown: what builders attest of the other images,
// which is no image. Of several for one platform, the first has its plain
// name: it is the one that clients take.
func platformImages(ctx context.Context, repo storage.Repository, d digest.Digest) ([]platformImage, error) {
	w := platformWalk{repo: repo, names: map[string]bool{}, seen: map[string]bool{}}
	if err := w.add(ctx, manifest.Descriptor{Digest: d}); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return w.images, ctx.Err()
}

type platformWalk struct {
	repo    storage.Repository
	images  []platformImage
	names   map[string]bool
	seen    map[string]bool // digest and platform
	indexes int
}

// add adds the images that a descriptor leads to.
func (w *platformWalk) add(ctx context.Context, desc manifest.Descriptor) error {
	name := platformName(desc.Platform)
	if len(w.images) == maxPlatforms || w.seen[desc.Digest.String()+name] {
		return nil
	}
	w.seen[desc.Digest.String()+name] = true
	if name != unknownPlatform && !manifest.IsIndex(desc.MediaType) {
		if _, err := w.repo.Manifests().Stat(ctx, desc.Digest); err != nil {
			return err
		}
		w.put(name, desc.Digest)
		return nil
	}
	m, err := w.repo.Manifests().Get(ctx, desc.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	index, isIndex := m.(*manifest.Index)
	if !isIndex {
		// What cannot be read or understood is there all the same.
		w.put(w.platformOf(ctx, m), desc.Digest)
		return nil
	}
	if w.indexes++; w.indexes > maxIndexes {
		return nil
	}
	for _, child := range index.Manifests {
		if isAttestation(child) {
			continue
		}
		if err := w.add(ctx, child); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// put gives an image its name. One that is taken is numbered.
func (w *platformWalk) put(name string, d digest.Digest) {
	unique := name
	for n := 2; w.names[unique]; n++ {
		unique = fmt.Sprintf("%s.%d", name, n)
	}
	w.names[unique] = true
	w.images = append(w.images, platformImage{unique, d})
}

// platformOf names the platform that an image itself tells; m may be nil.
func (w *platformWalk) platformOf(ctx context.Context, m manifest.Manifest) string {
	var document []byte
	switch m := m.(type) {
	case *manifest.Image:
		if m.Config == nil {
			return unknownPlatform
		}
		// Whatever is wrong with it, who reads config.json is told.
		document, _ = w.repo.Blobs().Get(ctx, m.Config.Digest)
	case *manifest.Schema1:
		if len(m.History) > 0 {
			document = []byte(m.History[0])
		}
	}
	var p manifest.Platform
	if err := json.Unmarshal(document, &p); err != nil {
		return unknownPlatform
	}
	return platformName(&p)
}

// isAttestation reports whether an index says that a child is for no platform.
func isAttestation(child manifest.Descriptor) bool {
	return child.Platform != nil && child.Platform.OS == "unknown" && child.Platform.Architecture == "unknown"
}
