package storage

import (
	"context"
	"errors"
	"fmt"

	"registryfs/digest"
	"registryfs/manifest"
)

// manifests is the ManifestStore of a repository: the revisions among all
// blobs.
type manifests struct {
	repo  *repository
	links links
}

var _ ManifestStore = (*manifests)(nil)

func (m *manifests) content() *blobs { return m.repo.registry.blobs }

func (m *manifests) Exists(ctx context.Context, d digest.Digest) (bool, error) {
	_, err := m.Stat(ctx, d)
	if errors.Is(err, ErrManifestUnknown) {
		return false, nil
	}
	return err == nil, err
}

func (m *manifests) Stat(ctx context.Context, d digest.Digest) (Descriptor, error) {
	canonical, err := m.resolve(ctx, d)
	if err != nil {
		return Descriptor{}, m.repo.fail("stat manifest", d.String(), err)
	}
	desc, err := m.content().stat(ctx, canonical)
	return desc, m.repo.fail("stat manifest", d.String(), asManifest(err))
}

func (m *manifests) Open(ctx context.Context, d digest.Digest) (Blob, error) {
	canonical, err := m.resolve(ctx, d)
	if err != nil {
		return nil, m.repo.fail("open manifest", d.String(), err)
	}
	blob, err := openAs(ctx, m.content(), d, canonical)
	return blob, m.repo.fail("open manifest", d.String(), asManifest(err))
}

func (m *manifests) Get(ctx context.Context, d digest.Digest) (manifest.Manifest, error) {
	blob, err := m.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	payload, err := readBlob(blob, manifest.MaxSize)
	if err != nil {
		return nil, m.repo.fail("get manifest", d.String(), err)
	}
	parsed, err := manifest.Parse("", payload)
	return parsed, m.repo.fail("get manifest", d.String(), err)
}

func (m *manifests) GetTagged(ctx context.Context, tag string, known digest.Digest) (Revision, error) {
	value, err := m.repo.Tags().Get(ctx, tag)
	if err != nil || value.Digest == known {
		return Revision{Digest: value.Digest}, err
	}
	parsed, err := m.Get(ctx, value.Digest)
	return Revision{Digest: value.Digest, Manifest: parsed}, err
}

func (m *manifests) Put(ctx context.Context, mediaType string, payload []byte, options ...PutOption) (Descriptor, error) {
	var o putOptions
	for _, option := range options {
		option(&o)
	}
	name := digest.FromBytes(payload).String()
	parsed, err := manifest.ParseStrict(mediaType, payload)
	if err != nil {
		return Descriptor{}, m.repo.fail("put manifest", name, err)
	}
	if !o.skipReferences {
		err = m.checkBlobs(ctx, parsed.References())
	}
	if err != nil {
		return Descriptor{}, m.repo.fail("put manifest", name, err)
	}
	desc, err := putContent(ctx, m.repo, m.links, payload)
	desc.MediaType = parsed.MediaType()
	return desc, err
}

func (m *manifests) Delete(ctx context.Context, d digest.Digest) error {
	err := m.repo.registry.deletable()
	if err == nil {
		err = m.remove(ctx, d)
	}
	return m.repo.fail("delete manifest", d.String(), err)
}

func (m *manifests) Retract(ctx context.Context, d digest.Digest) error {
	err := m.repo.registry.writable()
	if err == nil {
		err = m.remove(ctx, d)
	}
	return m.repo.fail("retract manifest", d.String(), err)
}

func (m *manifests) remove(ctx context.Context, d digest.Digest) error {
	if _, err := m.resolve(ctx, d); err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	names, err := m.repo.Tags().Lookup(ctx, d)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: by tag %s", ErrReferenced, names[0])
	}
	if by, err := m.referrer(ctx, d); err != nil {
		return err
	} else if by != "" {
		return fmt.Errorf("%w: by index %s", ErrReferenced, by)
	}
	return m.links.remove(ctx, d)
}

func (m *manifests) Enumerate(ctx context.Context, fn func(digest.Digest) error) error {
	return m.repo.fail("enumerate manifests", "", m.links.enumerate(ctx, fn))
}

func (m *manifests) resolve(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	canonical, err := m.links.get(ctx, d)
	if errors.Is(err, errNoLink) {
		return "", ErrManifestUnknown
	}
	return canonical, err
}

// asManifest names missing content after what was asked for.
func asManifest(err error) error {
	if errors.Is(err, ErrBlobUnknown) {
		return fmt.Errorf("%w: its content is missing", ErrManifestUnknown)
	}
	return err
}
