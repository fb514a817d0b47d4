package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"registryfs/digest"
	"registryfs/storage"
)

// maxHeld is how many uploads a run has open at a time.
const maxHeld = 3

// RunModel does random operations and compares the registry with a [Model]
// after each. open returns an empty registry that allows deletion, or several
// that share one store and take turns. How many runs there are, and of how many
// steps, the flags -rapid.checks and -rapid.steps say; a run that fails is made
// short, told step by step, and can be repeated with the seed that it prints.
func RunModel(t *testing.T, open func(t *rapid.T) []storage.Registry) {
	words := NewVocabulary("")
	rapid.Check(t, func(t *rapid.T) {
		m := &modelRun{T: t, Vocabulary: words, want: NewModel(), registries: open(t), changed: map[string]bool{}}
		m.want.AllowDelete = true
		t.Cleanup(m.end)
		t.Repeat(map[string]func(*rapid.T){
			"":              m.compare,
			"put blob":      m.putBlob,
			"put blobs":     m.putBlobs,
			"mount blob":    m.mountBlob,
			"delete blob":   m.deleteBlob,
			"retract blob":  m.retractBlob,
			"put manifest":  m.putManifest,
			"push":          m.push,
			"push again":    m.push,
			"push more":     m.push,
			"promote":       m.mountManifest,
			"delete":        m.deleteManifest,
			"retract":       m.retractManifest,
			"tag":           m.tag,
			"tag again":     m.tag,
			"untag":         m.untag,
			"rename tag":    m.renameTag,
			"begin upload":  m.beginUpload,
			"write upload":  m.writeUpload,
			"close upload":  m.closeUpload,
			"resume upload": m.resumeUpload,
			"commit upload": m.commitUpload,
			"cancel upload": m.cancelUpload,
		})
	})
}

// modelRun is one sequence of operations.
type modelRun struct {
	*rapid.T
	*Vocabulary
	want       *Model
	registries []storage.Registry
	held       []heldUpload
	changed    map[string]bool // the repositories that the last operation was about
}

// heldUpload is an upload that is open.
type heldUpload struct {
	storage.Upload
	repo string
}

func (m *modelRun) end() {
	for _, u := range m.held {
		_ = u.Close()
	}
}

// step begins an operation: it draws the registry that is to do it, and a
// repository.
func (m *modelRun) step(t *rapid.T) (reg storage.Registry, name string, repo storage.Repository) {
	m.T = t
	clear(m.changed)
	reg = m.registries[rapid.IntRange(0, len(m.registries)-1).Draw(t, "registry")]
	name, repo = m.repository(reg, "repository")
	return reg, name, repo
}

func (m *modelRun) repository(reg storage.Registry, label string) (string, storage.Repository) {
	name := rapid.SampledFrom(m.Repositories).Draw(m.T, label)
	m.changed[name] = true
	repo, err := reg.Repository(name)
	require.NoError(m, err)
	return name, repo
}

// words that an operation is about.

func (m *modelRun) blob() []byte {
	i := rapid.IntRange(0, len(m.Blobs)-1).Draw(m.T, "blob")
	return m.Blobs[i]
}

// digestOf is a digest of content, mostly the canonical one.
func (m *modelRun) digestOf(content []byte) digest.Digest {
	if rapid.IntRange(0, 4).Draw(m.T, "sha512") == 4 {
		return digest.SHA512.FromBytes(content)
	}
	return digest.FromBytes(content)
}

func (m *modelRun) document() *Document {
	i := rapid.IntRange(0, len(m.Documents)-1).Draw(m.T, "document")
	return m.Documents[i]
}

func (m *modelRun) tagName(label string) string { return rapid.SampledFrom(m.Tags).Draw(m.T, label) }

// same requires the outcome that the model has.
func (m *modelRun) same(want, got error) {
	m.Helper()
	var missing, found *storage.MissingError
	switch {
	case want == nil:
		require.NoError(m, got)
	case errors.As(want, &missing):
		require.ErrorAs(m, got, &found)
		require.Equal(m, missing.Blobs, slices.Compact(sorted(found.Blobs...)))
		require.Equal(m, missing.Manifests, slices.Compact(sorted(found.Manifests...)))
	default:
		require.ErrorIs(m, got, want)
	}
}

func (m *modelRun) putBlob(t *rapid.T) {
	_, name, repo := m.step(t)
	m.put(name, repo, m.blob())
}

func (m *modelRun) put(name string, repo storage.Repository, content []byte) {
	_, err := repo.Blobs().Put(m.Context(), "", content)
	m.same(m.want.PutBlob(name, digest.FromBytes(content), content), err)
}

// putBlobs puts all that a manifest needs.
func (m *modelRun) putBlobs(t *rapid.T) {
	_, name, repo := m.step(t)
	for _, content := range m.Blobs {
		m.put(name, repo, content)
	}
}

func (m *modelRun) mountBlob(t *rapid.T) {
	reg, name, repo := m.step(t)
	fromName, from := m.repository(reg, "from")
	d := m.digestOf(m.blob())
	_, err := repo.Blobs().Mount(t.Context(), from, d)
	m.same(m.want.MountBlob(name, fromName, d), err)
}

func (m *modelRun) deleteBlob(t *rapid.T) {
	_, name, repo := m.step(t)
	d := m.digestOf(m.blob())
	m.same(m.want.DeleteBlob(name, d, false), repo.Blobs().Delete(t.Context(), d))
}

// retractBlob puts a blob and takes it back, where it was not there.
func (m *modelRun) retractBlob(t *rapid.T) {
	_, name, repo := m.step(t)
	content := m.blob()
	d := digest.FromBytes(content)
	_, wasThere := m.want.Repository(name).Blobs[d]
	u, err := repo.Blobs().Create(t.Context())
	require.NoError(m, err)
	write(m, u, content)
	_, err = u.Commit(t.Context(), storage.Descriptor{Digest: d})
	m.same(m.want.PutBlob(name, d, content), err)
	want := storage.ErrReferenced
	if !wasThere && u.Link().Version != "" {
		want = m.want.DeleteBlob(name, d, true)
	}
	m.same(want, repo.Blobs().Retract(t.Context(), u.Link()))
}

func (m *modelRun) putManifest(t *rapid.T) {
	_, name, repo := m.step(t)
	doc := m.document()
	desc, err := repo.Manifests().Put(t.Context(), "", doc.Payload)
	m.same(m.want.PutManifest(name, doc), err)
	if err == nil {
		require.Equal(m, describe(doc.MediaType, doc.Payload), desc)
	}
}

// push puts a manifest with all that it needs.
func (m *modelRun) push(t *rapid.T) {
	_, name, repo := m.step(t)
	doc := m.document()
	for _, part := range append(m.parts(doc), doc) {
		for _, blob := range part.Blobs {
			for _, content := range m.Blobs {
				if digest.Matches(blob.Digest, content) {
					m.put(name, repo, content)
					if u, err := repo.Blobs().Create(t.Context()); blob.Digest.Algorithm() == digest.SHA512 && err == nil {
						write(m, u, content)
						_, err := u.Commit(t.Context(), storage.Descriptor{Digest: blob.Digest})
						m.same(m.want.PutBlob(name, blob.Digest, content), err)
					} else if err == nil {
						require.NoError(m, u.Cancel(t.Context()))
					}
				}
			}
		}
		_, err := repo.Manifests().Put(t.Context(), "", part.Payload)
		m.same(m.want.PutManifest(name, part), err)
	}
}

// parts is what an index leads to.
func (m *modelRun) parts(doc *Document) []*Document {
	var parts []*Document
	for _, child := range doc.Children {
		i := slices.IndexFunc(m.Documents, func(d *Document) bool { return d.Digest == child })
		parts = append(append(parts, m.parts(m.Documents[i])...), m.Documents[i])
	}
	return parts
}

func (m *modelRun) mountManifest(t *rapid.T) {
	reg, name, repo := m.step(t)
	fromName, from := m.repository(reg, "from")
	d := m.document().Digest
	_, err := repo.Manifests().Mount(t.Context(), from, d)
	m.same(m.want.MountManifest(name, fromName, d), err)
}

func (m *modelRun) deleteManifest(t *rapid.T) {
	_, name, repo := m.step(t)
	d := m.document().Digest
	m.same(m.want.DeleteManifest(name, d, false), repo.Manifests().Delete(t.Context(), d))
}

// retractManifest puts a manifest and takes it back, where it was not there.
func (m *modelRun) retractManifest(t *rapid.T) {
	_, name, repo := m.step(t)
	doc := m.document()
	wasThere := m.want.Repository(name).Manifests[doc.Digest] != nil
	var made storage.Link
	_, err := repo.Manifests().Put(t.Context(), "", doc.Payload, storage.Made(&made))
	put := m.want.PutManifest(name, doc)
	m.same(put, err)
	if put != nil {
		return
	}
	want := storage.ErrReferenced
	if !wasThere && made.Version != "" {
		want = m.want.DeleteManifest(name, doc.Digest, true)
	}
	m.same(want, repo.Manifests().Retract(t.Context(), made))
}

func (m *modelRun) tag(t *rapid.T) {
	_, name, repo := m.step(t)
	tag, d := m.tagName("tag"), m.document().Digest
	m.same(m.want.Tag(name, tag, d), repo.Tags().Tag(t.Context(), tag, d))
}

func (m *modelRun) untag(t *rapid.T) {
	_, name, repo := m.step(t)
	tag := m.tagName("tag")
	m.same(m.want.Untag(name, tag), repo.Tags().Untag(t.Context(), tag))
}

func (m *modelRun) renameTag(t *rapid.T) {
	_, name, repo := m.step(t)
	from, to := m.tagName("tag"), m.tagName("to")
	m.same(m.want.RenameTag(name, from, to), repo.Tags().Rename(t.Context(), from, to))
}

func (m *modelRun) beginUpload(t *rapid.T) {
	if len(m.held) == maxHeld {
		t.Skip("enough are open")
	}
	_, name, repo := m.step(t)
	u, err := repo.Blobs().Create(t.Context())
	require.NoError(m, err)
	m.want.Begin(name, u.ID())
	m.held = append(m.held, heldUpload{u, name})
}

// open draws one of the uploads that are open.
func (m *modelRun) open(t *rapid.T) (int, heldUpload) {
	m.T = t
	if len(m.held) == 0 {
		t.Skip("none is open")
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(t, "upload")
	clear(m.changed)
	m.changed[m.held[i].repo] = true
	return i, m.held[i]
}

func (m *modelRun) writeUpload(t *rapid.T) {
	_, u := m.open(t)
	rnd := rand.New(rand.NewPCG(rapid.Uint64Range(0, 1000).Draw(t, "content"), 0))
	content := noise(rnd.Uint64(), rnd.IntN(3000))
	if rapid.Bool().Draw(t, "a word") {
		content = m.blob()
	}
	write(m, u, content)
	m.want.Append(u.repo, u.ID(), content)
	require.Equal(m, int64(len(m.want.Repository(u.repo).Uploads[u.ID()])), u.Size())
}

func (m *modelRun) closeUpload(t *rapid.T) {
	i, u := m.open(t)
	require.NoError(m, u.Close())
	m.held = slices.Delete(m.held, i, i+1)
}

// resumeUpload goes on with an upload, unless it is open.
func (m *modelRun) resumeUpload(t *rapid.T) {
	_, name, repo := m.step(t)
	ids := slices.Sorted(maps.Keys(m.want.Repository(name).Uploads))
	if len(ids) == 0 || len(m.held) == maxHeld {
		t.Skip("there is none, or enough are open")
	}
	// Ids are random, so what is drawn is not which of them.
	slices.SortFunc(ids, func(a, b string) int {
		return len(m.want.Repository(name).Uploads[a]) - len(m.want.Repository(name).Uploads[b])
	})
	id := ids[rapid.IntRange(0, len(ids)-1).Draw(t, "upload")]
	u, err := repo.Blobs().Resume(t.Context(), id)
	if slices.ContainsFunc(m.held, func(u heldUpload) bool { return u.ID() == id }) {
		require.ErrorIs(m, err, storage.ErrUploadBusy)
		return
	}
	require.NoError(m, err)
	require.Equal(m, int64(len(m.want.Repository(name).Uploads[id])), u.Size())
	m.held = append(m.held, heldUpload{u, name})
}

// commitUpload commits one, sometimes under a digest that it has not.
func (m *modelRun) commitUpload(t *rapid.T) {
	i, u := m.open(t)
	d := m.digestOf(m.want.Repository(u.repo).Uploads[u.ID()])
	if rapid.IntRange(0, 3).Draw(t, "wrong") == 3 {
		d = absent
	}
	desc, err := u.Commit(t.Context(), storage.Descriptor{Digest: d})
	content := m.want.Repository(u.repo).Uploads[u.ID()]
	m.same(m.want.Commit(u.repo, u.ID(), d), err)
	if err == nil {
		require.Equal(m, digest.FromBytes(content), desc.Digest)
		m.held = slices.Delete(m.held, i, i+1)
	}
}

func (m *modelRun) cancelUpload(t *rapid.T) {
	i, u := m.open(t)
	require.NoError(m, u.Cancel(t.Context()))
	m.want.Cancel(u.repo, u.ID())
	m.held = slices.Delete(m.held, i, i+1)
}

// compare looks at all that the registry holds, and reads what is in the
// repositories that the last operation was about.
func (m *modelRun) compare(t *rapid.T) {
	m.T = t
	for i, reg := range m.registries {
		for _, namespace := range []string{"", "app", "team", "nothing"} {
			want, ok := m.want.List(namespace)
			got, err := reg.List(t.Context(), namespace)
			if !ok {
				require.ErrorIs(m, err, storage.ErrRepositoryUnknown)
				continue
			}
			require.NoError(m, err)
			require.True(m, slices.Equal(want, got), "below %q: %q, and should be %q", namespace, got, want)
		}
		for _, name := range m.Repositories {
			repo, err := reg.Repository(name)
			require.NoError(m, err)
			where := fmt.Sprintf("%s of registry %d", name, i)
			m.compareLists(where, repo, m.want.Repository(name))
			if m.changed[name] {
				m.compareContent(where, repo, m.want.Repository(name))
			}
		}
	}
}

func (m *modelRun) compareLists(where string, repo storage.Repository, want *ModelRepository) {
	sameKeys(m, want.Blobs, allBlobs(m, repo), "blobs of "+where)
	sameKeys(m, want.Manifests, allManifests(m, repo), "manifests of "+where)
	tags, err := repo.Tags().All(m.Context())
	require.NoError(m, err)
	sameKeys(m, want.Tags, tags, "tags of "+where)
	for name, d := range want.Tags {
		got, err := repo.Tags().Get(m.Context(), name)
		require.NoError(m, err, where)
		require.Equal(m, d, got.Digest, "tag %s of %s", name, where)
	}
	uploads, err := repo.Blobs().Uploads(m.Context())
	require.NoError(m, err)
	require.Len(m, uploads, len(want.Uploads), "uploads of %s", where)
	for _, u := range uploads {
		content, ok := want.Uploads[u.ID]
		require.True(m, ok, "upload %s of %s", u.ID, where)
		m.compareUpload(repo, u, content)
	}
}

func (m *modelRun) compareContent(where string, repo storage.Repository, want *ModelRepository) {
	for d, content := range want.Blobs {
		got, err := repo.Blobs().Get(m.Context(), d)
		require.NoError(m, err, where)
		require.True(m, bytes.Equal(content, got), "blob %s of %s", d, where)
	}
	for _, doc := range m.Documents {
		got, err := repo.Manifests().Get(m.Context(), doc.Digest)
		if want.Manifests[doc.Digest] == nil {
			require.ErrorIs(m, err, storage.ErrManifestUnknown, where)
			continue
		}
		require.NoError(m, err, "%s of %s", doc.Name, where)
		require.True(m, bytes.Equal(doc.Payload, got.Payload()), "%s of %s", doc.Name, where)
		tags, err := repo.Tags().Lookup(m.Context(), doc.Digest)
		require.NoError(m, err, where)
		require.True(m, slices.Equal(want.TagsOf(doc.Digest), tags), "tags of %s: %q", doc.Name, tags)
		if doc.Subject != "" {
			m.compareReferrers(where, repo, want, doc.Subject)
		}
	}
	for _, name := range m.Tags {
		if _, ok := want.Tags[name]; !ok {
			_, err := repo.Tags().Get(m.Context(), name)
			require.ErrorIs(m, err, unknownTag(name), where)
			continue
		}
		history, err := repo.Tags().History(m.Context(), name)
		require.NoError(m, err, where)
		sameKeys(m, want.History[name], sorted(history...), "history of tag "+name+" of "+where)
	}
}

func (m *modelRun) compareReferrers(where string, repo storage.Repository, want *ModelRepository, subject digest.Digest) {
	found, err := repo.Manifests().Referrers(m.Context(), subject)
	require.NoError(m, err)
	var got []digest.Digest
	for _, desc := range found {
		got = append(got, desc.Digest)
	}
	require.True(m, slices.Equal(want.Referrers(subject), got), "referrers of %s in %s: %q", subject, where, got)
}

// compareUpload reads what an upload has so far. What an open one has in
// memory, others need not see yet.
func (m *modelRun) compareUpload(repo storage.Repository, u storage.UploadInfo, want []byte) {
	if slices.ContainsFunc(m.held, func(held heldUpload) bool { return held.ID() == u.ID }) {
		return
	}
	require.Equal(m, int64(len(want)), u.Size)
	if len(want) == 0 {
		return
	}
	content, err := repo.Blobs().OpenUpload(m.Context(), u.ID)
	require.NoError(m, err)
	defer content.Close()
	got, err := io.ReadAll(io.NewSectionReader(content, 0, int64(len(want))+1))
	require.NoError(m, err)
	require.True(m, bytes.Equal(want, got), "upload %s", u.ID)
}

// sameKeys requires a list, in order, of what a map has.
func sameKeys[K ~string, V any](t tester, want map[K]V, got []K, what string) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	require.True(t, slices.Equal(keys, got), "%s: %q, and should be %q", what, got, keys)
}
