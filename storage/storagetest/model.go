package storagetest

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// Model is what a registry must hold after what was done to it: the contract
// of package storage, in memory, without any of what makes an implementation
// hard. Its methods do what those of the contract do, and return their errors
// as they are, without what wraps them. It is for one goroutine.
type Model struct {
	AllowDelete  bool
	Repositories map[string]*ModelRepository
}

// ModelRepository is a repository of a [Model].
type ModelRepository struct {
	Blobs     map[digest.Digest][]byte // one that was put under another digest has two
	Manifests map[digest.Digest]*Document
	Tags      map[string]digest.Digest
	History   map[string]map[digest.Digest]bool
	Uploads   map[string][]byte
}

// NewModel returns an empty registry.
func NewModel() *Model { return &Model{Repositories: map[string]*ModelRepository{}} }

// Repository returns a repository, which need not exist. What is changed in one
// that does not is lost.
func (m *Model) Repository(name string) *ModelRepository {
	if r := m.Repositories[name]; r != nil {
		return r
	}
	return &ModelRepository{
		Blobs:     map[digest.Digest][]byte{},
		Manifests: map[digest.Digest]*Document{},
		Tags:      map[string]digest.Digest{},
		History:   map[string]map[digest.Digest]bool{},
		Uploads:   map[string][]byte{},
	}
}

// begin returns a repository, which begins if it does not exist.
func (m *Model) begin(name string) *ModelRepository {
	r := m.Repository(name)
	m.Repositories[name] = r
	return r
}

// List is the names one level below a namespace, and whether there is one.
func (m *Model) List(namespace string) (names []string, ok bool) {
	for name := range m.Repositories {
		rest, below := strings.CutPrefix(name, namespace+"/")
		if namespace == "" {
			rest, below = name, true
		}
		if first, _, _ := strings.Cut(rest, "/"); below {
			names = append(names, strings.TrimPrefix(namespace+"/"+first, "/"))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), namespace == "" || len(names) > 0 || m.Repositories[namespace] != nil
}

// Begin begins an upload.
func (m *Model) Begin(repo, id string) { m.begin(repo).Uploads[id] = nil }

// Append adds to an upload.
func (m *Model) Append(repo, id string, content []byte) {
	r := m.Repositories[repo]
	r.Uploads[id] = append(r.Uploads[id][:len(r.Uploads[id]):len(r.Uploads[id])], content...)
}

// Cancel ends an upload.
func (m *Model) Cancel(repo, id string) { delete(m.Repositories[repo].Uploads, id) }

// Commit makes an upload a blob.
func (m *Model) Commit(repo, id string, want digest.Digest) error {
	err := m.PutBlob(repo, want, m.Repositories[repo].Uploads[id])
	if err == nil {
		m.Cancel(repo, id)
	}
	return err
}

// PutBlob stores a blob under a digest.
func (m *Model) PutBlob(repo string, d digest.Digest, content []byte) error {
	if !digest.Matches(d, content) {
		return storage.ErrDigestMismatch
	}
	m.begin(repo).link(d, content)
	return nil
}

// link makes content a blob, under its canonical digest too.
func (r *ModelRepository) link(d digest.Digest, content []byte) {
	r.Blobs[digest.FromBytes(content)] = content
	r.Blobs[d] = content
}

// MountBlob makes a blob of one repository one of another.
func (m *Model) MountBlob(to, from string, d digest.Digest) error {
	content, ok := m.Repository(from).Blobs[d]
	if !ok {
		return storage.ErrBlobUnknown
	}
	m.begin(to).link(d, content)
	return nil
}

// DeleteBlob removes a blob, or retracts it for who alone has put it.
func (m *Model) DeleteBlob(repo string, d digest.Digest, retract bool) error {
	r := m.Repository(repo)
	_, known := r.Blobs[d]
	switch {
	case !m.AllowDelete && !retract:
		return storage.ErrUnsupported
	case !known:
		return storage.ErrBlobUnknown
	case r.referenced(d):
		return storage.ErrReferenced
	}
	delete(r.Blobs, d)
	return nil
}

// referenced reports whether a manifest references a blob or a child.
func (r *ModelRepository) referenced(d digest.Digest) bool {
	for _, doc := range r.Manifests {
		if slices.Contains(doc.Children, d) {
			return true
		}
		for _, blob := range doc.Blobs {
			if blob.Digest == d {
				return true
			}
		}
	}
	return false
}

// PutManifest stores a manifest.
func (m *Model) PutManifest(repo string, doc *Document) error {
	if doc.Invalid {
		return manifest.ErrInvalid
	}
	r := m.Repository(repo)
	var missing storage.MissingError
	for _, want := range doc.Blobs {
		content, ok := r.Blobs[want.Digest]
		if !ok {
			missing.Blobs = append(missing.Blobs, want.Digest)
		} else if int64(len(content)) != want.Size {
			return manifest.ErrInvalid
		}
	}
	if err := orNil(missing); err != nil {
		return err
	}
	m.begin(repo).Manifests[doc.Digest] = doc
	return nil
}

// orNil is an error that names something, or nil.
func orNil(missing storage.MissingError) error {
	if len(missing.Blobs)+len(missing.Manifests) == 0 {
		return nil
	}
	missing.Blobs, missing.Manifests = slices.Compact(sorted(missing.Blobs...)), slices.Compact(sorted(missing.Manifests...))
	return &missing
}

// below is a manifest and what it leads to, in any depth, and what is missing
// of that.
func (r *ModelRepository) below(d digest.Digest) (all []*Document, missing storage.MissingError) {
	seen := map[digest.Digest]bool{}
	var visit func(d digest.Digest)
	visit = func(d digest.Digest) {
		if seen[d] {
			return
		}
		seen[d] = true
		doc := r.Manifests[d]
		if doc == nil {
			missing.Manifests = append(missing.Manifests, d)
			return
		}
		all = append(all, doc)
		for _, child := range doc.Children {
			visit(child)
		}
	}
	visit(d)
	return all, missing
}

// MountManifest makes a manifest of one repository, with all that it needs, one
// of another.
func (m *Model) MountManifest(to, from string, d digest.Digest) error {
	source := m.Repository(from)
	if source.Manifests[d] == nil {
		return storage.ErrManifestUnknown
	}
	all, missing := source.below(d)
	if err := orNil(missing); err != nil {
		return err
	}
	r := m.begin(to)
	for _, doc := range all {
		for _, blob := range doc.Blobs {
			r.link(blob.Digest, source.Blobs[blob.Digest])
		}
		r.Manifests[doc.Digest] = doc
	}
	return nil
}

// DeleteManifest removes a manifest with its tags, or retracts it.
func (m *Model) DeleteManifest(repo string, d digest.Digest, retract bool) error {
	r := m.Repository(repo)
	tags := r.TagsOf(d)
	switch {
	case !m.AllowDelete && !retract:
		return storage.ErrUnsupported
	case r.Manifests[d] == nil:
		return storage.ErrManifestUnknown
	case r.referenced(d), retract && len(tags) > 0:
		return storage.ErrReferenced
	}
	for _, tag := range tags {
		r.forget(tag)
	}
	delete(r.Manifests, d)
	return nil
}

// TagsOf lists the tags of a digest.
func (r *ModelRepository) TagsOf(d digest.Digest) []string {
	tags := slices.Sorted(maps.Keys(r.Tags))
	return slices.DeleteFunc(tags, func(tag string) bool { return r.Tags[tag] != d })
}

// Referrers lists the manifests whose subject is d.
func (r *ModelRepository) Referrers(d digest.Digest) []digest.Digest {
	var found []digest.Digest
	for _, doc := range r.Manifests {
		if doc.Subject == d {
			found = append(found, doc.Digest)
		}
	}
	return sorted(found...)
}

// Tag sets a tag.
func (m *Model) Tag(repo, tag string, d digest.Digest) error {
	r := m.Repository(repo)
	switch {
	case storage.CheckTag(tag) != nil:
		return storage.ErrTagInvalid
	case r.Manifests[d] == nil:
		return storage.ErrManifestUnknown
	}
	if _, missing := r.below(d); len(missing.Manifests) > 0 {
		return orNil(missing)
	}
	r.set(tag, d)
	return nil
}

func (r *ModelRepository) set(tag string, d digest.Digest) {
	r.Tags[tag] = d
	if r.History[tag] == nil {
		r.History[tag] = map[digest.Digest]bool{}
	}
	r.History[tag][d] = true
}

func (r *ModelRepository) forget(tag string) {
	delete(r.Tags, tag)
	delete(r.History, tag)
}

// Untag removes a tag.
func (m *Model) Untag(repo, tag string) error {
	r := m.Repository(repo)
	if _, ok := r.Tags[tag]; !ok {
		return unknownTag(tag)
	}
	r.forget(tag)
	return nil
}

// RenameTag gives a tag another name.
func (m *Model) RenameTag(repo, from, to string) error {
	r := m.Repository(repo)
	if storage.CheckTag(to) != nil {
		return storage.ErrTagInvalid
	}
	d, ok := r.Tags[from]
	if !ok {
		return unknownTag(from)
	}
	if from != to {
		r.set(to, d)
		r.forget(from)
	}
	return nil
}

func unknownTag(tag string) error {
	if storage.CheckTag(tag) != nil {
		return storage.ErrTagInvalid
	}
	return storage.ErrTagUnknown
}

// Document is a manifest, and what a [Model] has to know of it.
type Document struct {
	Name      string // in words
	Payload   []byte
	Digest    digest.Digest
	MediaType string
	Invalid   bool
	Blobs     []storage.Descriptor
	Children  []digest.Digest
	Subject   digest.Digest
}

// Vocabulary is what random operations use: so little that they meet.
type Vocabulary struct {
	Repositories []string
	Tags         []string // the last is none
	Blobs        [][]byte
	Documents    []*Document
}

// NewVocabulary returns the words of model-based tests. Another salt makes other
// content.
func NewVocabulary(salt string) *Vocabulary {
	v := &Vocabulary{
		Repositories: []string{"app", "app/sub", "team/app"},
		Tags:         []string{"v1", "v2", "latest", "-no-tag"},
		Blobs: [][]byte{
			{}, []byte("{}"), []byte(`{"made":"` + salt + `"}`),
			append([]byte(salt), noise(1, 100)...), append([]byte(salt), noise(2, 5000)...), append([]byte(salt), noise(3, 70_000)...),
		},
	}
	blob := func(i int, mediaType string) storage.Descriptor { return describe(mediaType, v.Blobs[i]) }
	config, layer := manifest.MediaTypeOCIConfig, manifest.MediaTypeOCILayer
	one := v.image("one", nil, blob(2, config), blob(3, layer), blob(4, layer))
	two := v.image("two", nil, blob(2, config), blob(4, layer), blob(5, layer), blob(4, layer))
	other := blob(5, layer)
	other.Digest = digest.SHA512.FromBytes(v.Blobs[5])
	three := v.image("three, of a layer by its sha512", nil, blob(1, config), other)
	v.image("artifact", one, blob(1, manifest.MediaTypeOCIEmpty), blob(0, "application/x-nothing"))
	wrong := blob(3, layer)
	wrong.Size++
	v.image("image that says a wrong size", nil, blob(1, config), wrong)

	inner := v.index("index", one, two)
	v.index("index of an index", inner, three)
	v.index("empty index")
	v.Documents = append(v.Documents, &Document{Name: "no manifest", Payload: []byte("{}"), Digest: digest.FromBytes([]byte("{}")), Invalid: true})
	return v
}

func (v *Vocabulary) image(name string, subject *Document, blobs ...storage.Descriptor) *Document {
	payload := imagePayload(blobs[0], blobs[1:]...)
	doc := &Document{Name: name, MediaType: manifest.MediaTypeOCIManifest, Blobs: blobs}
	if subject != nil {
		doc.Subject = subject.Digest
		about := encode(describe(subject.MediaType, subject.Payload))
		payload = append(bytes.TrimSuffix(payload, []byte("}")), `,"subject":`+string(about)+`}`...)
	}
	return v.add(doc, payload)
}

func (v *Vocabulary) index(name string, children ...*Document) *Document {
	doc := &Document{Name: name, MediaType: manifest.MediaTypeOCIIndex}
	var descs []storage.Descriptor
	for _, child := range children {
		doc.Children = append(doc.Children, child.Digest)
		descs = append(descs, describe(child.MediaType, child.Payload))
	}
	return v.add(doc, indexPayload(descs...))
}

func (v *Vocabulary) add(doc *Document, payload []byte) *Document {
	doc.Payload, doc.Digest = payload, digest.FromBytes(payload)
	v.Documents = append(v.Documents, doc)
	return doc
}
