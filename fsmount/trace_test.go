package fsmount_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"registryfs/manifest"
	"registryfs/testdata"
)

// trace is the calls of a tool that changes an image layout, and the content
// that they are about. Its format is that of testdata.Traces.
type trace struct {
	name     string
	content  map[string][]byte   // blobs, manifests, indexes and oci-layout, by name
	blobs    map[string][]string // names of the blobs of each manifest
	indexes  map[string][]entry
	given    []string // indexes
	after    []entry
	untagged []string // manifests
	calls    []traceCall
}

// entry is a line of an index: a manifest, and its tag or "".
type entry struct{ tag, manifest string }

// traceCall is a system call.
type traceCall struct {
	line  int
	name  string
	args  []string
	fd    string // that it opened
	errno string // of its failure
}

func (c traceCall) String() string { return fmt.Sprintf("line %d: %s %q", c.line, c.name, c.args) }

func traceNames() []string {
	files, _ := fs.Glob(testdata.Traces, "traces/*.trace")
	for i, file := range files {
		files[i] = strings.TrimSuffix(path.Base(file), ".trace")
	}
	return files
}

func readTrace(name string) (*trace, error) {
	text, err := testdata.Traces.ReadFile("traces/" + name + ".trace")
	if err != nil {
		return nil, err
	}
	t := &trace{
		name:    name,
		content: map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		blobs:   map[string][]string{},
		indexes: map[string][]entry{},
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n, inCalls := 1, false; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0:
			inCalls = true
		case inCalls:
			t.calls = append(t.calls, t.call(n, words))
		case words[0] != "#":
			if err := t.define(words[0], words[1:]); err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", name, n, err)
			}
		}
	}
	return t, lines.Err()
}

var contentName = regexp.MustCompile(`<[a-z-]+>`)

func (t *trace) call(line int, words []string) traceCall {
	c := traceCall{line: line, name: words[0]}
	for i, word := range words[1:] {
		switch {
		case word == "as":
			c.fd = words[i+2]
			return c
		case word == "=":
			c.errno = words[i+2]
			return c
		}
		c.args = append(c.args, contentName.ReplaceAllStringFunc(word, func(name string) string { return t.hex(strings.Trim(name, "<>")) }))
	}
	return c
}

func (t *trace) define(what string, args []string) error {
	switch what {
	case "blob":
		size, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		content := make([]byte, size)
		seed := sha256.Sum256([]byte(t.name + args[0]))
		_, _ = rand.NewChaCha8(seed).Read(content)
		t.content[args[0]] = content
	case "manifest":
		t.blobs[args[0]] = args[1:]
		layers := []object{}
		for _, layer := range args[2:] {
			layers = append(layers, t.descriptor(manifest.MediaTypeOCILayer, layer))
		}
		return t.document(args[0], object{
			"schemaVersion": 2, "mediaType": manifest.MediaTypeOCIManifest,
			"config": t.descriptor(manifest.MediaTypeOCIConfig, args[1]), "layers": layers,
		})
	case "index":
		if slices.Equal(args[1:], []string{"null"}) {
			return t.document(args[0], object{"schemaVersion": 2, "manifests": nil})
		}
		t.indexes[args[0]] = entries(args[1:])
		list := []object{}
		for _, e := range t.indexes[args[0]] {
			d := t.descriptor(manifest.MediaTypeOCIManifest, e.manifest)
			if e.tag != "" {
				d["annotations"] = object{"org.opencontainers.image.ref.name": e.tag}
			}
			list = append(list, d)
		}
		return t.document(args[0], object{"schemaVersion": 2, "manifests": list})
	case "given":
		t.given = append(t.given, args...)
	case "after":
		t.after = entries(args)
	case "untagged":
		t.untagged = append(t.untagged, args...)
	default:
		return fmt.Errorf("unknown: %s", what)
	}
	return nil
}

func entries(words []string) []entry {
	var list []entry
	for _, word := range words {
		i := strings.LastIndexByte(word, '=')
		list = append(list, entry{word[:max(i, 0)], word[i+1:]})
	}
	return list
}

func (t *trace) document(name string, v object) error {
	content, err := json.Marshal(v)
	t.content[name] = content
	return err
}

func (t *trace) hex(name string) string {
	sum := sha256.Sum256(t.content[name])
	return hex.EncodeToString(sum[:])
}

func (t *trace) descriptor(mediaType, name string) object {
	return descriptor(mediaType, file{hex: t.hex(name), size: len(t.content[name])})
}

// reached is the names of what manifests lead to, themselves included.
func (t *trace) reached(manifests ...string) []string {
	var names []string
	for _, m := range manifests {
		names = append(append(names, t.blobs[m]...), m)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// left is the digests in hex, in order, of what the layout has afterwards.
func (t *trace) left() []string {
	manifests := slices.Clone(t.untagged)
	for _, e := range t.after {
		manifests = append(manifests, e.manifest)
	}
	digests := t.reached(manifests...)
	for i, name := range digests {
		digests[i] = t.hex(name)
	}
	slices.Sort(digests)
	return digests
}
