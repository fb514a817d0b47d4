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
	desc, err := m.repo.registry.statContent(ctx, canonical)
	return desc, m.repo.fail("stat manifest", d.String(), asManifest(err))
}

func (m *manifests) Open(ctx context.Context, d digest.Digest, options ...OpenOption) (Blob, error) {
	canonical, err := m.resolve(ctx, d)
	if err != nil {
		return nil, m.repo.fail("open manifest", d.String(), err)
	}
	blob, err := m.repo.registry.openContent(ctx, d, canonical, options...)
	return blob, m.repo.fail("open manifest", d.String(), asManifest(err))
}

func (m *manifests) Get(ctx context.Context, d digest.Digest) (manifest.Manifest, error) {
	blob, err := m.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	parsed, err := parseBlob(blob)
	return parsed, m.repo.fail("get manifest", d.String(), err)
}

// peek is Get for who only looks around, and relies on nothing that he sees.
func (m *manifests) peek(ctx context.Context, d digest.Digest) (manifest.Manifest, error) {
	canonical, err := m.lookup(ctx, d)
	if err != nil {
		return nil, err
	}
	return m.parse(ctx, d, canonical)
}

// parse parses a manifest whose canonical digest is known.
func (m *manifests) parse(ctx context.Context, d, canonical digest.Digest) (manifest.Manifest, error) {
	blob, err := openAs(ctx, m.content(), d, canonical)
	if err != nil {
		return nil, asManifest(err)
	}
	return parseBlob(blob)
}

// parseBlob parses the manifest in a blob, and closes it.
func parseBlob(blob Blob) (manifest.Manifest, error) {
	defer blob.Close()
	payload, err := readBlob(blob, manifest.MaxSize)
	if err != nil {
		return nil, err
	}
	return manifest.Parse("", payload)
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
	lock := m.repo.registry.refsLock(m.repo.name)
	lock.RLock()
	defer lock.RUnlock()
	needs, err := m.check(ctx, parsed, o)
	if err != nil {
		return Descriptor{}, m.repo.fail("put manifest", name, err)
	}
	if o.checkOnly {
		desc := Descriptor{MediaType: parsed.MediaType(), Digest: digest.FromBytes(payload), Size: int64(len(payload))}
		return desc, m.repo.fail("put manifest", name, m.repo.registry.writable())
	}
	if err = m.repo.registry.writable(); err == nil {
		err = m.repo.registry.settleNeeds(ctx, needs)
	}
	if err != nil {
		return Descriptor{}, m.repo.fail("put manifest", name, err)
	}
	var desc Descriptor
	var made Link
	if parsed.MediaType() == manifest.MediaTypeDockerSchema1Signed {
		desc, made, err = m.putSigned(ctx, payload, o.tag)
		err = m.repo.fail("put manifest", name, err)
	} else {
		desc, made, err = putContent(ctx, m.repo, m.links, payload)
	}
	if err == nil && o.made != nil {
		*o.made = made
	}
	if err == nil {
		err = m.repo.registry.uphold(ctx, needs, m.isLinked(desc.Digest))
		err = m.repo.fail("put manifest", name, err)
	}
	desc.MediaType = parsed.MediaType()
	return desc, err
}

// check refuses a manifest that may not be put, or not yet. It returns what it
// needs.
func (m *manifests) check(ctx context.Context, parsed manifest.Manifest, o putOptions) ([]need, error) {
	if parsed.MediaType() == manifest.MediaTypeDockerSchema1 && !o.acceptUnsigned {
		return nil, ErrUnsigned
	}
	if err := m.repo.registry.options.URLs.Check(parsed.References()); err != nil {
		return nil, err
	}
	if o.skipReferences {
		return nil, nil
	}
	return m.checkBlobs(ctx, parsed.References())
}

func (m *manifests) Enumerate(ctx context.Context, fn func(digest.Digest) error) error {
	return m.repo.fail("enumerate manifests", "", m.enumerate(ctx, fn))
}

func (m *manifests) enumerate(ctx context.Context, fn func(digest.Digest) error) error {
	seen := map[digest.Digest]bool{}
	err := m.links.enumerate(ctx, func(d digest.Digest) error {
		seen[d] = true
		return fn(d)
	})
	if err != nil {
		return err
	}
	// What is tagged and no revision is a manifest of registry 2.1.0, also
	// where later registries have put others beside it.
	names, err := m.repo.Tags().All(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		tag, err := m.repo.Tags().Get(ctx, name)
		if err == nil && seen[tag.Digest] {
			continue
		}
		if err == nil {
			seen[tag.Digest] = true
			_, err = m.resolveLayer(ctx, tag.Digest)
		}
		switch {
		case errors.Is(err, ErrTagUnknown), errors.Is(err, ErrManifestUnknown), errors.Is(err, ErrCorrupt):
			continue // what is damaged leaves the others
		case err != nil:
			return err // there may be a manifest that nobody knows of
		}
		if err := fn(tag.Digest); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *manifests) resolve(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	r := m.repo.registry
	if err := r.lease(ctx, leaseSeen, d); err != nil {
		return "", err
	}
	canonical, err := m.lookup(ctx, d)
	if !errors.Is(err, ErrManifestUnknown) {
		return canonical, err
	}
	switch canonical, again := r.findAgain(ctx, m.links, d, m.revive); {
	case again == nil:
		return canonical, nil
	case !errors.Is(again, errNoLink):
		return "", again
	}
	layers := m.repo.linkedBlobs().links
	switch _, again := r.findAgain(ctx, layers, d, r.reviveLink); {
	case again == nil:
		return m.resolveLayer(ctx, d)
	case !errors.Is(again, errNoLink):
		return "", again
	}
	return "", err
}

// lookup is resolve of what is at its place.
func (m *manifests) lookup(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	canonical, err := m.links.get(ctx, d)
	if errors.Is(err, errNoLink) {
		return m.resolveLayer(ctx, d)
	}
	return canonical, err
}

// resolveLayer finds a manifest of registry 2.1.0, which linked manifests among
// the layers. What can be parsed as one is taken for one.
func (m *manifests) resolveLayer(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	canonical, err := m.repo.linkedBlobs().links.get(ctx, d)
	if errors.Is(err, errNoLink) {
		return "", ErrManifestUnknown
	}
	if err != nil {
		return "", err
	}
	desc, err := m.repo.registry.statContent(ctx, canonical)
	if err != nil {
		return "", asManifest(err)
	}
	if desc.Size > manifest.MaxSize {
		return "", ErrManifestUnknown
	}
	blob, err := m.content().open(ctx, canonical)
	if err != nil {
		return "", asManifest(err)
	}
	defer blob.Close()
	payload, err := readBlob(blob, manifest.MaxSize)
	if err != nil {
		return "", err
	}
	if _, err := manifest.Parse("", payload); err != nil {
		return "", ErrManifestUnknown
	}
	return canonical, nil
}

// asManifest names missing content after what was asked for.
func asManifest(err error) error {
	if errors.Is(err, ErrBlobUnknown) {
		return fmt.Errorf("%w: its content is missing", ErrManifestUnknown)
	}
	return err
}
