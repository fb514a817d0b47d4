package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// shape is what an object or array in a manifest is, so far as this package knows.
type shape int

const (
	shapeOther shape = iota // annotations, extensions: any keys
	shapeDocument
	shapeList // of descriptors
	shapeDescriptor
	shapePlatform
	shapeSchema1
	shapeFSLayers
	shapeFSLayer
	shapeHistory
	shapeHistoryEntry
)

// knownKeys are the keys that readers look for in an object of each shape.
var knownKeys = map[shape][]string{
	shapeDocument: {"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests",
		"subject", "annotations", "fsLayers", "history", "signatures"},
	shapeDescriptor: {"mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"},
	shapePlatform:   {"architecture", "os", "os.version", "os.features", "variant", "features"},
	shapeSchema1: {"schemaVersion", "mediaType", "config", "layers", "manifests",
		"name", "tag", "architecture", "fsLayers", "history", "signatures"},
	shapeFSLayer:      {"blobSum"},
	shapeHistoryEntry: {"v1Compatibility"},
}

// level is one object or array that the walk is inside of.
type level struct {
	shape   shape
	isArray bool
	index   int             // of an array's current element
	key     string          // an object's current key
	inValue bool            // key has been read, its value comes next
	seen    map[string]bool // an object's keys so far
}

// walk reads a JSON document once, token by token, and refuses what a decoder
// silently picks from: keys that occur twice in an object, and keys that differ
// only in case from one that readers look for (encoding/json takes "LAYERS"
// for "layers"). Also refused: bytes that are not UTF-8, which a decoder
// replaces; nesting beyond [MaxDepth]; descriptors without digest or size, or
// with a null in them.
//
// The document must be valid JSON. Time is linear; memory is bounded by
// [MaxDepth] and by the keys of the open objects.
func walk(payload []byte, root shape) error {
	if !utf8.Valid(payload) {
		return invalid("", "is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber() // numbers of any size may stand where nobody reads them
	path := levels{root: root}
	for {
		token, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return unreadable("", err)
		}
		if err := path.step(token); err != nil {
			return err
		}
	}
}

// levels is the way from the document to where the walk is.
type levels struct {
	root shape
	open []level
}

func (p *levels) step(token json.Token) error {
	top := p.top()
	delim, isDelim := token.(json.Delim)
	switch {
	case isDelim && (delim == '}' || delim == ']'):
		if err := p.complete(); err != nil {
			return err
		}
		p.open = p.open[:len(p.open)-1]
		return nil
	case top != nil && !top.isArray && !top.inValue:
		return p.readKey(token.(string)) // the only token between two values of an object
	}

	child := level{shape: p.root, isArray: delim == '[', index: -1}
	if top != nil {
		child.shape = top.enter()
	}
	switch {
	case !isDelim:
		if token == nil && top != nil && top.shape == shapeDescriptor {
			return invalid(p.String(), "is null")
		}
		return nil
	case len(p.open) == MaxDepth:
		return invalid("", "nests deeper than %d levels", MaxDepth)
	}
	p.open = append(p.open, child)
	return nil
}

func (p *levels) top() *level {
	if len(p.open) == 0 {
		return nil
	}
	return &p.open[len(p.open)-1]
}

func (p *levels) readKey(key string) error {
	top := p.top()
	top.key, top.inValue = key, true
	for _, known := range knownKeys[top.shape] {
		if key != known && strings.EqualFold(key, known) {
			return invalid(p.String(), "must be written %q", known)
		}
	}
	if top.seen[key] {
		return invalid(p.String(), "occurs twice")
	}
	if top.seen == nil {
		top.seen = make(map[string]bool)
	}
	top.seen[key] = true
	return nil
}

// enter begins a value inside l and returns what the value is.
func (l *level) enter() shape {
	l.index++
	l.inValue = false
	switch {
	case l.isArray && l.shape == shapeList:
		return shapeDescriptor
	case l.isArray && l.shape == shapeFSLayers:
		return shapeFSLayer
	case l.isArray && l.shape == shapeHistory:
		return shapeHistoryEntry
	case l.isArray:
		return shapeOther
	case l.shape == shapeDocument && (l.key == "config" || l.key == "subject"):
		return shapeDescriptor
	case l.shape == shapeDocument && (l.key == "layers" || l.key == "manifests"):
		return shapeList
	case l.shape == shapeDescriptor && l.key == "platform":
		return shapePlatform
	case l.shape == shapeSchema1 && l.key == "fsLayers":
		return shapeFSLayers
	case l.shape == shapeSchema1 && l.key == "history":
		return shapeHistory
	default:
		return shapeOther
	}
}

// complete checks the object that ends here.
func (p *levels) complete() error {
	top := p.top()
	if top.isArray || top.shape != shapeDescriptor {
		return nil
	}
	for _, required := range []string{"digest", "size"} {
		if !top.seen[required] {
			top.key = required
			return invalid(p.String(), "is missing")
		}
	}
	return nil
}

// String is where the walk is: `layers[3].digest`. Keys that no format has are
// quoted.
func (p *levels) String() string {
	var b strings.Builder
	for _, l := range p.open {
		switch {
		case l.isArray:
			b.WriteString("[" + strconv.Itoa(l.index) + "]")
		case slices.Contains(knownKeys[l.shape], l.key):
			b.WriteString("." + l.key)
		default:
			b.WriteString("." + quote(l.key))
		}
	}
	return strings.TrimPrefix(b.String(), ".")
}
