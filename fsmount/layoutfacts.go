package fsmount

import (
	"context"
	"sync"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// maxFacts bounds what is remembered of manifests: the number of manifests and
// of references that they have.
const maxFacts = 1 << 18

// facts is what an index says of a manifest, and what the manifest references.
// It belongs to the digest and never changes.
type facts struct {
	mediaType string
	size      int64
	blobs     []digest.Digest // foreign ones left out
	children  []manifest.Descriptor
}

func (f *facts) cost() int { return 1 + len(f.blobs) + len(f.children) }

// manifestFacts remembers facts, so that an index of thousands of manifests
// does not read each of them every time.
type manifestFacts struct {
	mu   sync.Mutex
	of   map[digest.Digest]*facts
	cost int
}

func newManifestFacts() *manifestFacts { return &manifestFacts{of: map[digest.Digest]*facts{}} }

func (m *manifestFacts) get(d digest.Digest) *facts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[d]
}

func (m *manifestFacts) put(d digest.Digest, f *facts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of[d] != nil {
		return
	}
	m.of[d] = f
	m.cost += f.cost()
	for other, old := range m.of { // any: the cost is that it is read again
		if m.cost <= maxFacts || len(m.of) == 1 {
			break
		}
		if other != d {
			delete(m.of, other)
			m.cost -= old.cost()
		}
	}
}

// facts is what is known of a manifest of a repository, or learned now.
func (f *fileSystem) facts(ctx context.Context, repo storage.Repository, d digest.Digest) (*facts, error) {
	if known := f.layouts.facts.get(d); known != nil {
		return known, nil
	}
	payload, err := readManifest(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	learned := factsOf(payload)
	f.layouts.facts.put(d, learned)
	return learned, nil
}

// factsOf reads a manifest. What cannot be understood references nothing.
func factsOf(payload []byte) *facts {
	learned := &facts{mediaType: manifest.DetectMediaType(payload), size: int64(len(payload))}
	if learned.mediaType == "" {
		learned.mediaType = manifest.MediaTypeOctetStream
	}
	parsed, err := manifest.Parse("", payload)
	if err != nil {
		return learned
	}
	learned.mediaType = parsed.MediaType()
	refs := parsed.References()
	for _, desc := range refs.RequiredBlobs() {
		learned.blobs = append(learned.blobs, desc.Digest)
	}
	learned.children = refs.Manifests
	return learned
}

// readManifest is the content of a manifest, whether the repository has it as
// one or still among its blobs.
func readManifest(ctx context.Context, repo storage.Repository, d digest.Digest) ([]byte, error) {
	blob, err := openIn(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	size := blob.Descriptor().Size
	if size > manifest.MaxSize {
		return nil, manifest.ErrTooLarge
	}
	payload := make([]byte, size)
	if n, err := blob.ReadAt(payload, 0); int64(n) != size {
		return nil, err
	}
	return payload, nil
}
