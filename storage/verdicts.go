package storage

import "registryfs/digest"

const (
	// maxVerdicts bounds the verdicts that are remembered.
	maxVerdicts = 1 << 17
	// maxChunkMemory bounds the bytes of their chunks.
	maxChunkMemory = 16 << 20
)

// verdict is what is known about a version of a file: that it is good. The
// chunks of the content belong to the digest, whatever the file.
type verdict struct {
	version string
	chunks  *digest.Chunks // nil where they are not known
}

// verdicts remembers what was found, within bounds. The caller locks.
type verdicts struct {
	byDigest map[digest.Digest]verdict
	memory   int64 // of the chunks
	most     int64 // of that
}

// record remembers that a version of a file is good. Chunks that were known
// before stay.
func (vs *verdicts) record(d digest.Digest, version string, chunks *digest.Chunks) {
	old, known := vs.byDigest[d]
	if version == "" && chunks == nil {
		return
	}
	if !known && len(vs.byDigest) >= maxVerdicts {
		for other := range vs.byDigest { // any: the cost is one more pass
			vs.remove(other)
			break
		}
	}
	now := verdict{version: version, chunks: old.chunks}
	if chunks != nil {
		vs.makeRoom(d, chunks.Memory())
		vs.memory += chunks.Memory()
		now.chunks = chunks
	}
	vs.byDigest[d] = now
}

// makeRoom forgets chunks, those of d among them: what is read is then trusted
// by the version of the file.
func (vs *verdicts) makeRoom(d digest.Digest, memory int64) {
	vs.dropChunks(d)
	for other := range vs.byDigest {
		if vs.memory+memory <= vs.most {
			return
		}
		vs.dropChunks(other)
	}
}

func (vs *verdicts) dropChunks(d digest.Digest) {
	if v := vs.byDigest[d]; v.chunks != nil {
		vs.memory -= v.chunks.Memory()
		v.chunks = nil
		vs.byDigest[d] = v
	}
}

func (vs *verdicts) remove(d digest.Digest) {
	vs.dropChunks(d)
	delete(vs.byDigest, d)
}
