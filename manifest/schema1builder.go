package manifest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/docker/libtrust"

	"registryfs/digest"
)

// Schema1Builder makes a manifest of schema 1 of what an image of another kind
// has: its configuration and its layers.
type Schema1Builder struct {
	Name, Tag string // of the repository it is for
	// Config is the image configuration (image specification, config.md, and
	// Docker's image specification 1.2, which it is derived from).
	Config []byte
	// Layers is the layers, lowest first, without empty ones: one for each
	// step of the configuration's history that is not an empty_layer. Without
	// history, each layer is a step.
	Layers []digest.Digest
}

// Build returns a manifest that [ParseStrict] accepts, without signatures.
// Where a step of the history has no layer it references [EmptyLayerDigest],
// which a repository must have then. Errors: [ErrInvalid], [ErrTooLarge].
func (b *Schema1Builder) Build() (*Schema1, error) {
	if len(b.Config) > MaxSize {
		return nil, fmt.Errorf("%w: the configuration has %d bytes, at most %d", ErrTooLarge, len(b.Config), MaxSize)
	}
	var config struct {
		Architecture string          `json:"architecture"`
		History      json.RawMessage `json:"history"`
	}
	if err := json.Unmarshal(b.Config, &config); err != nil {
		return nil, unreadable("configuration", err)
	}
	history, err := listOf("configuration.history", config.History, MaxReferences, func(string, step) error { return nil })
	if err != nil {
		return nil, err
	}
	steps, err := b.steps(history)
	if err != nil {
		return nil, err
	}

	doc := schema1Document{SchemaVersion: 1, Name: b.Name, Tag: b.Tag, Architecture: config.Architecture}
	parent := ""
	for i, s := range steps {
		id, compatibility, err := b.compatibility(s, parent, i == len(steps)-1)
		if err != nil {
			return nil, err
		}
		doc.FSLayers = append(doc.FSLayers, fsLayer{s.layer})
		doc.History = append(doc.History, historyEntry{compatibility})
		parent = id
	}
	slices.Reverse(doc.FSLayers)
	slices.Reverse(doc.History)
	m, err := build(MediaTypeDockerSchema1, doc)
	if err != nil {
		return nil, err
	}
	return m.(*Schema1), nil
}

// Sign builds the manifest and signs it. Errors: those of [Schema1Builder.Build]
// and [Sign].
func (b *Schema1Builder) Sign(key libtrust.PrivateKey) (*Signed, error) {
	m, err := b.Build()
	if err != nil {
		return nil, err
	}
	return Sign(m.Payload(), key)
}

type schema1Document struct {
	SchemaVersion int            `json:"schemaVersion"`
	Name          string         `json:"name"`
	Tag           string         `json:"tag"`
	Architecture  string         `json:"architecture"`
	FSLayers      []fsLayer      `json:"fsLayers"`
	History       []historyEntry `json:"history"`
}

// step is an entry of a configuration's history.
type step struct {
	Created    json.RawMessage `json:"created"`
	Author     string          `json:"author"`
	CreatedBy  string          `json:"created_by"`
	Comment    string          `json:"comment"`
	EmptyLayer bool            `json:"empty_layer"`

	layer digest.Digest
}

// steps gives each step of the history its layer.
func (b *Schema1Builder) steps(history []step) ([]step, error) {
	if len(b.Layers) > MaxReferences {
		return nil, invalid("layers", "has more than %d entries", MaxReferences)
	}
	for i, d := range b.Layers {
		if err := checkDigest(fmt.Sprintf("layers[%d]", i), d); err != nil {
			return nil, err
		}
	}
	if len(history) == 0 {
		history = make([]step, len(b.Layers))
	}
	layers := b.Layers
	for i := range history {
		switch {
		case history[i].EmptyLayer:
			history[i].layer = EmptyLayerDigest
		case len(layers) == 0:
			return nil, invalid("layers", "has %d entries, fewer than the configuration has steps with a layer", len(b.Layers))
		default:
			history[i].layer, layers = layers[0], layers[1:]
		}
	}
	if len(layers) > 0 {
		return nil, invalid("layers", "has %d entries, the configuration has only %d steps with a layer", len(b.Layers), len(b.Layers)-len(layers))
	}
	return history, nil
}

// stepImage is a step as an image of Docker's first image format, whose images
// were single layers. The order of the fields is that of Docker's registry, so
// that both make manifests of the same digest.
type stepImage struct {
	ID              string          `json:"id"`
	Parent          string          `json:"parent,omitempty"`
	Comment         string          `json:"comment,omitempty"`
	Created         json.RawMessage `json:"created"`
	ContainerConfig struct {
		Cmd []string
	} `json:"container_config"`
	Author    string `json:"author,omitempty"`
	Throwaway bool   `json:"throwaway,omitempty"` // it changed no files
}

// compatibility returns the id and the JSON of a step. The id follows from the
// layer and all below it. The topmost step has the whole configuration.
func (b *Schema1Builder) compatibility(s step, parent string, isTop bool) (id, compatibility string, err error) {
	var image any
	seed := s.layer.Encoded() + " " + parent
	if isTop {
		id = digest.FromBytes([]byte(seed + " " + string(b.Config))).Encoded()
		image, err = b.topImage(id, parent, s.EmptyLayer)
		if err != nil {
			return "", "", err
		}
	} else {
		id = digest.FromBytes([]byte(seed)).Encoded()
		lower := stepImage{ID: id, Parent: parent, Comment: s.Comment, Created: s.Created, Author: s.Author, Throwaway: s.EmptyLayer}
		lower.ContainerConfig.Cmd = []string{s.CreatedBy}
		if isNull(s.Created) {
			lower.Created = json.RawMessage(`"0001-01-01T00:00:00Z"`) // the format requires a time
		}
		image = lower
	}
	encoded, err := json.Marshal(image)
	if err != nil {
		return "", "", invalid("configuration", "cannot be encoded: %v", err)
	}
	return id, string(encoded), nil
}

// topImage is the configuration as an image of the first format.
func (b *Schema1Builder) topImage(id, parent string, isEmpty bool) (map[string]json.RawMessage, error) {
	var image map[string]json.RawMessage
	if err := json.Unmarshal(b.Config, &image); err != nil {
		return nil, unreadable("configuration", err)
	}
	if image == nil {
		return nil, invalid("configuration", "is null, must be an object")
	}
	delete(image, "rootfs")
	delete(image, "history") // fsLayers and parent say the same
	image["id"] = json.RawMessage(strconv.Quote(id))
	if parent != "" {
		image["parent"] = json.RawMessage(strconv.Quote(parent))
	}
	if isEmpty {
		image["throwaway"] = json.RawMessage("true")
	}
	return image, nil
}
