package storage

import (
	"context"
	"errors"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
)

// signatures is the links of the signatures of a manifest of schema 1, as
// registries 2.0 to 2.4 kept them.
func (m *manifests) signatures(d digest.Digest) links {
	return links{m.repo.registry.driver, signaturesPath(m.repo.name, d)}
}

// putSigned stores each signature as content of its own, beside those that are
// there, and what is signed under its own digest: last, so that it never shows
// without them.
func (m *manifests) putSigned(ctx context.Context, document []byte, tag string) (Descriptor, Link, error) {
	signed, err := manifest.ParseSigned(document)
	if err != nil {
		return Descriptor{}, Link{}, err
	}
	if err := signed.CheckName(m.repo.name, tag); err != nil {
		return Descriptor{}, Link{}, err
	}
	payload := signed.Manifest().Payload()
	for _, signature := range signed.Signatures() {
		if _, _, err := putContent(ctx, m.repo, m.signatures(digest.FromBytes(payload)), signature); err != nil {
			return Descriptor{}, Link{}, err
		}
	}
	return putContent(ctx, m.repo, m.links, payload)
}

// mountSignatures links the signatures of a manifest of another repository.
func (m *manifests) mountSignatures(ctx context.Context, source *repository, d digest.Digest) error {
	from := source.manifests().signatures(d)
	return from.enumerate(ctx, func(signature digest.Digest) error {
		canonical, err := from.get(ctx, signature)
		if err != nil {
			return ctx.Err() // one that cannot be read leaves the others
		}
		if err := m.repo.registry.settleContent(ctx, canonical); err != nil && !isAbsent(err) {
			return err
		}
		return m.repo.registry.putLink(ctx, m.signatures(d), signature, canonical)
	})
}

func (m *manifests) Signed(ctx context.Context, d digest.Digest) ([]byte, error) {
	signed, err := m.signed(ctx, d)
	if err != nil {
		return nil, m.repo.fail("signed manifest", d.String(), err)
	}
	return signed.Document(), nil
}

func (m *manifests) signed(ctx context.Context, d digest.Digest) (*manifest.Signed, error) {
	parsed, err := m.Get(ctx, d)
	if err != nil {
		return nil, err
	}
	if !manifest.IsSchema1(parsed.MediaType()) {
		return nil, ErrUnsigned
	}
	var stored [][]byte
	err = m.signatures(d).enumerate(ctx, func(signature digest.Digest) error {
		content, err := m.signature(ctx, d, signature)
		if err == nil {
			stored = append(stored, content)
		}
		if len(stored) == manifest.MaxSignatures {
			return driver.SkipAll
		}
		return ctx.Err() // one that cannot be read leaves the others
	})
	if err != nil && !errors.Is(err, driver.SkipAll) {
		return nil, err
	}
	signed, err := manifest.Assemble(parsed.Payload(), stored)
	if errors.Is(err, manifest.ErrUnsigned) && m.repo.registry.options.SigningKey != nil {
		return manifest.Sign(parsed.Payload(), m.repo.registry.options.SigningKey)
	}
	return signed, err
}

// signature is one stored signature of a manifest.
func (m *manifests) signature(ctx context.Context, d, signature digest.Digest) ([]byte, error) {
	canonical, err := m.signatures(d).get(ctx, signature)
	if err != nil {
		return nil, err
	}
	blob, err := m.repo.registry.openContent(ctx, canonical, canonical)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return readBlob(blob, manifest.MaxSignatureSize)
}
