package manifest

import (
	"encoding/json"
	"fmt"
	"regexp"

	"registryfs/digest"
)

// The names and tags that Docker's registries allow, as the distribution
// specification has them. Old names may begin with the host of the registry.
var (
	nameGrammar = regexp.MustCompile(`^([A-Za-z0-9.-]+(:[0-9]+)?/)?` + nameComponent + `(/` + nameComponent + `)*$`)
	tagGrammar  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
)

const (
	nameComponent = `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
	maxName       = 255 // bytes
)

// Schema1 is a manifest of Docker's image manifest version 2, schema 1: the
// first form that images had, which names the repository and the tag it was
// pushed to. Do not modify.
//
// Where it is parsed from the signed form, its payload is that; what a store
// keeps is the payload without signatures (see [ParseSigned]).
type Schema1 struct {
	Name         string
	Tag          string
	Architecture string
	// Layers has the topmost layer first, and a layer as often as the image
	// has it. Tarsums may stand here.
	Layers []digest.Digest
	// History is what the image was made by, a JSON document for each layer.
	History []string

	content
}

var _ Manifest = (*Schema1)(nil)

func parseSchema1(doc *document, c content) (*Schema1, error) {
	m := &Schema1{content: c}
	for _, field := range []struct {
		name string
		raw  json.RawMessage
		to   *string
	}{
		{"name", doc.Name, &m.Name},
		{"tag", doc.Tag, &m.Tag},
		{"architecture", doc.Architecture, &m.Architecture},
	} {
		if isNull(field.raw) {
			continue
		}
		if err := json.Unmarshal(field.raw, field.to); err != nil {
			return nil, unreadable(field.name, err)
		}
	}

	layers, err := listOf("fsLayers", doc.FSLayers, MaxReferences, func(at string, l fsLayer) error {
		return checkDigest(at+".blobSum", l.BlobSum)
	})
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, l.BlobSum)
	}
	history, err := listOf("history", doc.History, MaxReferences, func(string, historyEntry) error { return nil })
	if err != nil {
		return nil, err
	}
	for _, h := range history {
		m.History = append(m.History, h.V1Compatibility)
	}
	return m, nil
}

type fsLayer struct {
	BlobSum digest.Digest `json:"blobSum"`
}

type historyEntry struct {
	V1Compatibility string `json:"v1Compatibility"`
}

// References returns the layers, each once, the lowest first. Their size is
// [UnknownSize].
func (m *Schema1) References() References {
	var (
		blobs = make([]Descriptor, 0, len(m.Layers))
		seen  = make(map[digest.Digest]bool, len(m.Layers))
	)
	for i := len(m.Layers) - 1; i >= 0; i-- {
		d := m.Layers[i]
		if seen[d] {
			continue
		}
		seen[d] = true
		blobs = append(blobs, Descriptor{MediaType: MediaTypeDockerLayer, Digest: d, Size: UnknownSize})
	}
	return References{Blobs: blobs}
}

// check refuses what a manifest of schema 1 must not be; said is the media
// type that the caller gave.
func (m *Schema1) check(doc *document, said string) error {
	if err := doc.refuse("a manifest of schema 1", "config", "layers", "manifests"); err != nil {
		return err
	}
	if said == MediaTypeDockerSchema1Signed && m.mediaType != said {
		return ErrUnsigned
	}
	switch {
	case len(m.Name) > maxName || !nameGrammar.MatchString(m.Name):
		return invalid("name", "is "+quoted+": no name of a repository", m.Name)
	case m.Tag != "" && !tagGrammar.MatchString(m.Tag):
		return invalid("tag", "is "+quoted+": no tag", m.Tag)
	case len(m.Layers) == 0:
		return invalid("fsLayers", "has no entries")
	case len(m.History) != len(m.Layers):
		return invalid("history", "has %d entries, fsLayers has %d", len(m.History), len(m.Layers))
	}
	for i, entry := range m.History {
		if err := checkHistory(fmt.Sprintf("history[%d].v1Compatibility", i), entry); err != nil {
			return err
		}
	}
	return nil
}

// checkHistory wants a JSON object inside the string.
func checkHistory(field, entry string) error {
	if entry == "" {
		return invalid(field, "is missing")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(entry), &object); err != nil {
		return unreadable(field, err)
	}
	if object == nil {
		return invalid(field, "is null, must be an object")
	}
	return nil
}
