package fsmount_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
	"registryfs/storage/storagetest"
)

// Random operations on a mount, by system calls, leave the tree that a model
// says, and fail with the errno that it says.
func TestModel(t *testing.T) {
	t.Parallel()
	o := serveOptions{AllowDelete: true, AttrTimeout: time.Second}
	o.Store = t.TempDir()
	mount := newMount(t, o)
	agent := newAgent(t, mount.dir)
	runs := 0
	rapid.Check(t, func(t0 *rapid.T) {
		runs++
		m := &mountRun{
			T: t0, Vocabulary: storagetest.NewVocabulary(fmt.Sprint(runs)), want: storagetest.NewModel(), agent: agent,
			log:  t.Logf,
			root: filepath.Join(mount.dir, fmt.Sprintf("run%d", runs)), store: o.Store, remount: func() {
				mount.stop(t)
				mount = mount.again(t, o)
			},
		}
		m.want.AllowDelete = true
		m.forget()
		m.does(request{Op: "mkdir", Path: m.root}, nil)
		t0.Repeat(map[string]func(*rapid.T){
			"":                 m.compare,
			"blob":             m.putBlob,
			"blobs":            m.putBlobs,
			"blob alias":       m.putAlias,
			"blob in parts":    m.putParts,
			"blob by rename":   m.putScratch,
			"link blob":        m.linkBlob,
			"link blob again":  m.linkBlob,
			"symlink blob":     m.symlinkBlob,
			"rm alias":         m.removeAlias,
			"rm blob":          m.removeBlob,
			"rm blob again":    m.removeBlob,
			"manifest":         m.putManifest,
			"push":             m.push,
			"push again":       m.push,
			"push once more":   m.push,
			"write tag":        m.writeTag,
			"write tag again":  m.writeTag,
			"echo digest":      m.echoTag,
			"symlink tag":      m.symlinkTag,
			"retag":            m.retag,
			"promote":          m.retag,
			"link tag":         m.linkTag,
			"untag":            m.untag,
			"rename tag":       m.renameTag,
			"rm manifest":      m.removeManifest,
			"mkdir":            m.makeRepository,
			"mkdir again":      m.makeRepository,
			"rmdir":            m.removeRepository,
			"begin upload":     m.beginUpload,
			"append to upload": m.appendUpload,
			"finish upload":    m.finishUpload,
			"cancel upload":    m.cancelUpload,
			"refused":          m.refused,
			"mount again":      m.mountAgain,
		})
	})
	t.Logf("%d runs, those for making one shorter included", runs)
}

// mountRun is one sequence of operations on a mount, in directories of its own.
type mountRun struct {
	*rapid.T
	*storagetest.Vocabulary
	want        *storagetest.Model
	agent       *agent
	root, store string
	remount     func()
	log         func(format string, args ...any) // at once: what is flaky has no report

	// What lives as long as the mount.
	aliases map[string]map[string]digest.Digest // by directory and name
	waiting map[string]bool
	hidden  map[string]map[digest.Digest]bool // by repository
}

// forget is what the end of a mount does.
func (m *mountRun) forget() {
	m.aliases = map[string]map[string]digest.Digest{}
	m.waiting = map[string]bool{}
	m.hidden = map[string]map[digest.Digest]bool{}
}

func (m *mountRun) file(parts ...string) string {
	return filepath.Join(append([]string{m.root}, parts...)...)
}

func (m *mountRun) blobFile(repo string, d digest.Digest) string {
	return m.file(repo, "_blobs", d.Algorithm().String(), d.Encoded())
}

func (m *mountRun) manifestFile(repo string, d digest.Digest) string {
	return m.file(repo, "_manifests", d.Algorithm().String(), d.Encoded())
}

func (m *mountRun) tagFile(repo, tag string) string { return m.file(repo, "_tags", tag) }

const create = os.O_WRONLY | os.O_CREATE | os.O_TRUNC

func writing(file string, parts ...[]byte) request {
	return request{Op: "write", Path: file, Flags: create, Parts: parts}
}

// ask returns how it went.
func (m *mountRun) ask(q request) answer {
	m.Helper()
	got, err := m.agent.ask(q)
	require.NoError(m, err, "the agent is gone")
	return got
}

// does makes a request, which must end as the model says.
func (m *mountRun) does(q request, want error) {
	m.Helper()
	got := m.ask(q)
	if got.Errno != errnoOf(m, want) {
		m.log("%s %s %s: %v (%s), and should be %v", q.Op, q.Path, q.To, got.Errno, got.Fault, want)
		m.FailNow()
	}
}

// errnoOf is what the user sees of an error of the model.
func errnoOf(t require.TestingT, err error) syscall.Errno {
	var errno syscall.Errno
	var missing *storage.MissingError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	case errors.As(err, &missing):
		return syscall.ENODATA
	case errors.Is(err, storage.ErrReferenced):
		return syscall.EBUSY
	case errors.Is(err, storage.ErrDigestMismatch):
		return syscall.EBADMSG
	case errors.Is(err, manifest.ErrInvalid), errors.Is(err, storage.ErrTagInvalid):
		return syscall.EINVAL
	case errors.Is(err, os.ErrNotExist):
		return syscall.ENOENT
	}
	require.NoError(t, err, "the model has an error that no user can see")
	return 0
}

// The words that an operation is about.

func (m *mountRun) repository(t *rapid.T, label string) string {
	m.T = t
	return rapid.SampledFrom(m.Repositories).Draw(t, label)
}

func (m *mountRun) blob(label string) []byte {
	return m.Blobs[rapid.IntRange(0, len(m.Blobs)-1).Draw(m.T, label)]
}

// full is a blob that is not empty: under a name that promises nothing an
// empty file is a placeholder.
func (m *mountRun) full(label string) []byte {
	return m.Blobs[rapid.IntRange(1, len(m.Blobs)-1).Draw(m.T, label)]
}

func (m *mountRun) document() *storagetest.Document {
	return m.Documents[rapid.IntRange(0, len(m.Documents)-1).Draw(m.T, "document")]
}

func (m *mountRun) tagName(label string) string { return rapid.SampledFrom(m.Tags).Draw(m.T, label) }

func (m *mountRun) aliasName() string {
	return rapid.SampledFrom([]string{"layer.tar.gz", "other"}).Draw(m.T, "alias")
}

func (m *mountRun) maybe(label string) bool { return rapid.IntRange(0, 3).Draw(m.T, label) == 3 }

// What the model knows of the mount.

// exists reports whether a directory answers for a repository.
func (m *mountRun) exists(repo string) bool {
	for _, names := range []func(func(string) bool){maps.Keys(m.want.Repositories), maps.Keys(m.waiting)} {
		for name := range names {
			if name == repo || strings.HasPrefix(name, repo+"/") {
				return true
			}
		}
	}
	return false
}

func (m *mountRun) shows(repo string, d digest.Digest) bool {
	_, known := m.want.Repository(repo).Blobs[d]
	return known && !m.hidden[repo][d]
}

// published takes note of a blob that somebody has put.
func (m *mountRun) published(repo string, d digest.Digest) { delete(m.hidden[repo], d) }

// setAlias gives content another name in a directory.
func (m *mountRun) setAlias(dir, name string, d digest.Digest) {
	if m.aliases[dir] == nil {
		m.aliases[dir] = map[string]digest.Digest{}
	}
	m.aliases[dir][name] = d
}

// Blobs.

// putBlob writes a blob to a digest, sometimes to that of another.
func (m *mountRun) putBlob(t *rapid.T) {
	repo := m.repository(t, "repository")
	content := m.blob("blob")
	d := digest.FromBytes(content)
	if m.maybe("sha512") {
		d = digest.SHA512.FromBytes(content)
	}
	if len(content) > 0 && m.maybe("wrong") {
		d = digest.FromBytes([]byte("wrong"))
	}
	m.does(writing(m.blobFile(repo, d), content), m.put(repo, d, content))
}

func (m *mountRun) put(repo string, d digest.Digest, content []byte) error {
	if !m.exists(repo) {
		return syscall.ENOENT
	}
	m.stagedIn(repo)
	err := m.want.PutBlob(repo, d, content)
	if err == nil {
		m.published(repo, d)
	}
	return err
}

// putBlobs writes all blobs.
func (m *mountRun) putBlobs(t *rapid.T) {
	repo := m.repository(t, "repository")
	for _, content := range m.Blobs {
		d := digest.FromBytes(content)
		m.does(writing(m.blobFile(repo, d), content), m.put(repo, d, content))
	}
}

func blobs(repo string) string     { return path.Join(repo, "_blobs") }
func manifests(repo string) string { return path.Join(repo, "_manifests") }

// putAlias writes a blob to a name. Where that leads to what is gone the kernel
// creates what it leads to.
func (m *mountRun) putAlias(t *rapid.T) {
	repo := m.repository(t, "repository")
	name, content := m.aliasName(), m.full("blob")
	m.does(writing(m.file(blobs(repo), name), content), m.putAs(repo, name, content))
}

func (m *mountRun) putAs(repo, name string, content []byte) error {
	d := digest.FromBytes(content)
	if to, ok := m.aliases[blobs(repo)][name]; ok && !m.shows(repo, to) {
		return m.put(repo, to, content)
	}
	err := m.put(repo, d, content)
	if err == nil {
		m.setAlias(blobs(repo), name, d)
	}
	return err
}

// putParts writes a blob to a name in two parts, with a FLUSH between, which
// publishes the first for a moment.
func (m *mountRun) putParts(t *rapid.T) {
	repo := m.repository(t, "repository")
	name, first, second := m.aliasName(), m.full("first"), m.full("second")
	to, isLink := m.aliases[blobs(repo)][name]
	if isLink && !m.shows(repo, to) {
		t.Skip("it leads to what is gone")
	}
	got := writing(m.file(blobs(repo), name), first, second)
	part := digest.FromBytes(first)
	_, known := m.want.Repository(repo).Blobs[part]
	err := m.putAs(repo, name, first)
	if err == nil {
		err = m.putAs(repo, name, append(first[:len(first):len(first)], second...))
		if !known {
			_ = m.want.DeleteBlob(repo, part, true)
		}
	}
	m.does(got, err)
}

// putScratch writes a temporary and gives it a digest's name.
func (m *mountRun) putScratch(t *rapid.T) {
	repo := m.repository(t, "repository")
	content := m.full("blob")
	d := digest.FromBytes(content)
	if m.maybe("wrong") {
		d = digest.FromBytes([]byte("wrong"))
	}
	temp := m.file(blobs(repo), ".temporary")
	if !m.exists(repo) {
		m.does(writing(temp, content), syscall.ENOENT)
		return
	}
	m.does(writing(temp, content), nil)
	err := m.put(repo, d, content)
	m.does(request{Op: "rename", Path: temp, To: m.blobFile(repo, d)}, err)
	if err != nil {
		m.does(request{Op: "unlink", Path: temp}, nil)
	}
}

// linkBlob links a blob from one repository to another.
func (m *mountRun) linkBlob(t *rapid.T) {
	repo, from := m.repository(t, "repository"), m.repository(t, "from")
	d := digest.FromBytes(m.blob("blob"))
	var err error
	switch {
	case !m.shows(from, d), !m.exists(repo):
		err = syscall.ENOENT
	case m.shows(repo, d):
		err = syscall.EEXIST
	default:
		if err = m.want.MountBlob(repo, from, d); err == nil {
			m.published(repo, d)
		}
	}
	m.does(request{Op: "link", Path: m.blobFile(from, d), To: m.blobFile(repo, d)}, err)
}

// symlinkBlob makes a name for a blob, of this repository or another.
func (m *mountRun) symlinkBlob(t *rapid.T) {
	repo, from := m.repository(t, "repository"), m.repository(t, "from")
	name, d := m.aliasName(), digest.FromBytes(m.blob("blob"))
	target := m.blobFile(from, d)
	if from == repo {
		target = d.String()
	}
	_, taken := m.aliases[blobs(repo)][name]
	var err error
	switch {
	case !m.exists(repo):
		err = syscall.ENOENT
	case taken:
		err = syscall.EEXIST
	case !m.shows(from, d):
		err = syscall.ENOENT
	default:
		err = m.want.MountBlob(repo, from, d)
		m.published(repo, d)
		m.setAlias(blobs(repo), name, d)
	}
	m.does(request{Op: "symlink", To: target, Path: m.file(blobs(repo), name)}, err)
}

func (m *mountRun) removeAlias(t *rapid.T) {
	repo := m.repository(t, "repository")
	dir, name := rapid.SampledFrom([]string{blobs(repo), manifests(repo)}).Draw(t, "directory"), m.aliasName()
	var err error
	if _, ok := m.aliases[dir][name]; !ok {
		err = syscall.ENOENT
	}
	delete(m.aliases[dir], name)
	m.does(request{Op: "unlink", Path: m.file(dir, name)}, err)
}

// removeBlob removes a blob, or hides it until no manifest needs it.
func (m *mountRun) removeBlob(t *rapid.T) {
	repo := m.repository(t, "repository")
	content := m.blob("blob")
	d := digest.FromBytes(content)
	if m.maybe("sha512") {
		d = digest.SHA512.FromBytes(content)
	}
	err := error(syscall.ENOENT)
	if m.shows(repo, d) {
		if err = m.want.DeleteBlob(repo, d, false); errors.Is(err, storage.ErrReferenced) {
			err = nil
			if m.hidden[repo] == nil {
				m.hidden[repo] = map[digest.Digest]bool{}
			}
			m.hidden[repo][d] = true
		}
	}
	m.does(request{Op: "unlink", Path: m.blobFile(repo, d)}, err)
}

// Manifests and tags.

// putManifest writes a manifest to its digest, to that of another, or to a
// name.
func (m *mountRun) putManifest(t *rapid.T) {
	repo, doc := m.repository(t, "repository"), m.document()
	if !m.exists(repo) {
		m.does(writing(m.manifestFile(repo, doc.Digest), doc.Payload), syscall.ENOENT)
		return
	}
	d, name := doc.Digest, ""
	switch rapid.IntRange(0, 3).Draw(t, "name") {
	case 0:
		name = m.aliasName()
	case 1:
		d = digest.FromBytes([]byte("wrong"))
	}
	if to, ok := m.aliases[manifests(repo)][name]; ok && m.want.Repository(repo).Manifests[to] == nil {
		d, name = to, ""
	}
	var err error
	if d != doc.Digest {
		err = storage.ErrDigestMismatch
	} else if err = m.want.PutManifest(repo, doc); err == nil && name != "" {
		m.setAlias(manifests(repo), name, d)
	}
	file := m.manifestFile(repo, d)
	if name != "" {
		file = m.file(manifests(repo), name)
	}
	m.does(writing(file, doc.Payload), err)
	m.stagedIn(repo)
}

// stagedIn takes note that something was written in a repository, which begins
// with that.
func (m *mountRun) stagedIn(repo string) {
	m.want.Begin(repo, "")
	m.want.Cancel(repo, "")
}

// push writes a manifest with all that it needs.
func (m *mountRun) push(t *rapid.T) {
	repo, doc := m.repository(t, "repository"), m.document()
	m.pushTo(repo, doc)
}

func (m *mountRun) pushTo(repo string, doc *storagetest.Document) {
	for _, child := range doc.Children {
		for _, part := range m.Documents {
			if part.Digest == child {
				m.pushTo(repo, part)
			}
		}
	}
	for _, blob := range doc.Blobs {
		for _, content := range m.Blobs {
			if digest.Matches(blob.Digest, content) {
				m.does(writing(m.blobFile(repo, blob.Digest), content), m.put(repo, blob.Digest, content))
			}
		}
	}
	err := error(syscall.ENOENT)
	if m.exists(repo) {
		err = m.want.PutManifest(repo, doc)
		m.stagedIn(repo)
	}
	m.does(writing(m.manifestFile(repo, doc.Digest), doc.Payload), err)
}

// writeTag writes a manifest to a tag, or a temporary that becomes it.
func (m *mountRun) writeTag(t *rapid.T) {
	repo, doc, tag := m.repository(t, "repository"), m.document(), m.tagName("tag")
	file, isScratch := m.tagFile(repo, tag), rapid.Bool().Draw(t, "by rename")
	err := m.pushTag(repo, tag, doc)
	if !isScratch || !m.exists(repo) {
		m.does(writing(file, doc.Payload), err)
		return
	}
	temp := m.file(repo, "_tags", ".temporary")
	m.does(writing(temp, doc.Payload), nil)
	m.stagedIn(repo)
	m.does(request{Op: "rename", Path: temp, To: file}, err)
	if err != nil {
		m.does(request{Op: "unlink", Path: temp}, nil)
	}
}

func (m *mountRun) pushTag(repo, tag string, doc *storagetest.Document) error {
	if !m.exists(repo) {
		return syscall.ENOENT
	}
	if storage.CheckTag(tag) != nil {
		return syscall.EINVAL
	}
	m.stagedIn(repo)
	known := m.want.Repository(repo).Manifests[doc.Digest] != nil
	if err := m.want.PutManifest(repo, doc); err != nil {
		return err
	}
	err := m.want.Tag(repo, tag, doc.Digest)
	if err != nil && !known {
		_ = m.want.DeleteManifest(repo, doc.Digest, true)
	}
	return err
}

// echoTag writes the digest of a manifest to a tag.
func (m *mountRun) echoTag(t *rapid.T) {
	repo, doc, tag := m.repository(t, "repository"), m.document(), m.tagName("tag")
	err := error(syscall.ENOENT)
	switch {
	case !m.exists(repo):
	case storage.CheckTag(tag) != nil:
		err = syscall.EINVAL
	default:
		m.stagedIn(repo)
		err = m.want.Tag(repo, tag, doc.Digest)
	}
	m.does(writing(m.tagFile(repo, tag), []byte(doc.Digest.String()+"\n")), err)
}

// source draws what a tag is to name: a tag or a manifest, of this repository
// or another. It returns the text of a link that leads there.
func (m *mountRun) source(repo string) (text, from string, d digest.Digest) {
	from = m.repository(m.T, "from")
	if rapid.Bool().Draw(m.T, "from a tag") {
		tag := rapid.SampledFrom(m.Tags[:len(m.Tags)-1]).Draw(m.T, "tag to name")
		text, d = m.tagFile(from, tag), m.want.Repository(from).Tags[tag]
		if from == repo {
			text = tag
		}
		return text, from, d
	}
	d = m.document().Digest
	text = m.manifestFile(from, d)
	if from == repo {
		text = rapid.SampledFrom([]string{d.String(), "../_manifests/sha256/" + d.Encoded()}).Draw(m.T, "text")
	}
	return text, from, d
}

// name makes a tag what source has drawn.
func (m *mountRun) name(repo, tag, from string, d digest.Digest) error {
	if storage.CheckTag(tag) != nil {
		return syscall.EINVAL
	}
	if m.want.Repository(from).Manifests[d] == nil {
		return syscall.ENOENT
	}
	if from != repo {
		if err := m.want.MountManifest(repo, from, d); err != nil {
			return err
		}
	}
	return m.want.Tag(repo, tag, d)
}

func (m *mountRun) symlinkTag(t *rapid.T) {
	repo := m.repository(t, "repository")
	tag := m.tagName("tag")
	text, from, d := m.source(repo)
	_, taken := m.want.Repository(repo).Tags[tag]
	var err error
	switch {
	case !m.exists(repo):
		err = syscall.ENOENT
	case taken:
		err = syscall.EEXIST
	default:
		err = m.name(repo, tag, from, d)
	}
	m.does(request{Op: "symlink", To: text, Path: m.tagFile(repo, tag)}, err)
}

// retag sets a tag as ln -sfn does.
func (m *mountRun) retag(t *rapid.T) {
	repo := m.repository(t, "repository")
	tag := m.tagName("tag")
	text, from, d := m.source(repo)
	temp := m.tagFile(repo, ".temporary")
	if !m.exists(repo) {
		m.does(request{Op: "symlink", To: text, Path: temp}, syscall.ENOENT)
		return
	}
	m.does(request{Op: "symlink", To: text, Path: temp}, nil)
	err := m.name(repo, tag, from, d)
	m.does(request{Op: "rename", Path: temp, To: m.tagFile(repo, tag)}, err)
	if err != nil {
		m.does(request{Op: "unlink", Path: temp}, nil)
	}
}

// linkTag makes a tag by a hard link.
func (m *mountRun) linkTag(t *rapid.T) {
	repo, from := m.repository(t, "repository"), m.repository(t, "from")
	tag, d := m.tagName("tag"), m.document().Digest
	_, taken := m.want.Repository(repo).Tags[tag]
	var err error
	switch {
	case m.want.Repository(from).Manifests[d] == nil, !m.exists(repo):
		err = syscall.ENOENT
	case taken:
		err = syscall.EEXIST
	default:
		err = m.name(repo, tag, from, d)
	}
	m.does(request{Op: "link", Path: m.manifestFile(from, d), To: m.tagFile(repo, tag)}, err)
}

func (m *mountRun) untag(t *rapid.T) {
	repo := m.repository(t, "repository")
	tag := m.tagName("tag")
	err := m.want.Untag(repo, tag)
	if errors.Is(err, storage.ErrTagInvalid) {
		err = syscall.ENOENT // no such name was ever made
	}
	m.does(request{Op: "unlink", Path: m.tagFile(repo, tag)}, err)
}

// renameTag renames a tag, also into another repository.
func (m *mountRun) renameTag(t *rapid.T) {
	from, repo := m.repository(t, "from"), m.repository(t, "repository")
	old, tag := m.tagName("tag"), m.tagName("to")
	d, ok := m.want.Repository(from).Tags[old]
	var err error
	switch {
	case !ok, !m.exists(repo):
		err = syscall.ENOENT
	case from == repo:
		err = m.want.RenameTag(repo, old, tag)
	default:
		if err = m.name(repo, tag, from, d); err == nil {
			err = m.want.Untag(from, old)
		}
	}
	m.does(request{Op: "rename", Path: m.tagFile(from, old), To: m.tagFile(repo, tag)}, err)
}

func (m *mountRun) removeManifest(t *rapid.T) {
	repo, d := m.repository(t, "repository"), m.document().Digest
	// What is tagged is busy, as for a retraction.
	err := m.want.DeleteManifest(repo, d, true)
	m.does(request{Op: "unlink", Path: m.manifestFile(repo, d)}, err)
	if err != nil {
		return
	}
	for hidden := range m.hidden[repo] {
		if m.want.DeleteBlob(repo, hidden, false) == nil {
			m.published(repo, hidden)
		}
	}
}

// Repositories.

func (m *mountRun) makeRepository(t *rapid.T) {
	repo := m.repository(t, "repository")
	for dir := repo; dir != "."; dir = path.Dir(dir) {
		if !m.exists(dir) {
			defer func() { m.waiting[dir] = true }()
		}
	}
	m.does(request{Op: "mkdir", Path: m.file(repo)}, nil)
}

func (m *mountRun) removeRepository(t *rapid.T) {
	repo := m.repository(t, "repository")
	var err error
	if !m.exists(repo) {
		err = syscall.ENOENT
	}
	delete(m.waiting, repo)
	if err == nil && m.exists(repo) {
		m.waiting[repo] = true // no matter whether it was
		err = syscall.ENOTEMPTY
	}
	m.does(request{Op: "rmdir", Path: m.file(repo)}, err)
}

// Uploads.

// beginUpload leaves an upload as a stock registry does, before or after it has
// made the file for the data.
func (m *mountRun) beginUpload(t *rapid.T) {
	repo, id := m.repository(t, "repository"), uuid.NewString()
	dir := filepath.Join(m.store, "docker/registry/v2/repositories", filepath.Base(m.root), repo, "_uploads", id)
	require.NoError(m, os.MkdirAll(dir, 0o755))
	name := rapid.SampledFrom([]string{"startedat", "data"}).Draw(t, "file")
	require.NoError(m, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	time.Sleep(time.Second) // until then what others do may go unseen
	m.want.Begin(repo, id)
}

// upload draws one that there is.
func (m *mountRun) upload(t *rapid.T) (repo, id, file string) {
	repo = m.repository(t, "repository")
	uploads := m.want.Repository(repo).Uploads
	if len(uploads) == 0 {
		t.Skip("there is none")
	}
	// Ids are random, and what is drawn must not depend on them.
	ids := slices.SortedFunc(maps.Keys(uploads), func(a, b string) int { return len(uploads[a]) - len(uploads[b]) })
	id = ids[rapid.IntRange(0, len(ids)-1).Draw(t, "upload")]
	return repo, id, m.file(repo, "_uploads", id)
}

func (m *mountRun) appendUpload(t *rapid.T) {
	repo, id, file := m.upload(t)
	content := m.full("blob")
	m.want.Append(repo, id, content)
	m.does(request{Op: "write", Path: file, Flags: os.O_WRONLY | os.O_APPEND, Parts: [][]byte{content}}, nil)
}

func (m *mountRun) finishUpload(t *rapid.T) {
	repo, id, file := m.upload(t)
	content := m.want.Repository(repo).Uploads[id]
	d := digest.FromBytes(content)
	if m.maybe("as an alias") {
		name := m.aliasName()
		require.NoError(m, m.want.Commit(repo, id, d))
		m.published(repo, d)
		m.setAlias(blobs(repo), name, d)
		m.does(request{Op: "rename", Path: file, To: m.file(blobs(repo), name)}, nil)
		return
	}
	if m.maybe("wrong") {
		d = digest.FromBytes([]byte("wrong"))
	}
	err := m.want.Commit(repo, id, d)
	if err == nil {
		m.published(repo, d)
	}
	m.does(request{Op: "rename", Path: file, To: m.blobFile(repo, d)}, err)
}

func (m *mountRun) cancelUpload(t *rapid.T) {
	repo, id, file := m.upload(t)
	m.want.Cancel(repo, id)
	m.does(request{Op: "unlink", Path: file}, nil)
}

// refused tries what is never allowed.
func (m *mountRun) refused(t *rapid.T) {
	repo := m.repository(t, "repository")
	d := digest.FromBytes(m.full("blob"))
	if !m.shows(repo, d) {
		t.Skip("there is no such blob")
	}
	file := m.blobFile(repo, d)
	m.does(rapid.SampledFrom([]request{
		{Op: "write", Path: file, Flags: os.O_WRONLY | os.O_APPEND, Parts: [][]byte{{1}}},
		{Op: "truncate", Path: file},
		{Op: "rename", Path: file, To: m.file(blobs(repo), "name")},
		{Op: "rename", Path: m.file(blobs(repo), "sha256"), To: m.file(blobs(repo), "sha512")},
		{Op: "mkdir one", Path: m.file(blobs(repo), "directory")},
		{Op: "write", Path: m.file(repo, "_uploads", "mine"), Flags: create},
		{Op: "link", Path: file, To: m.file(repo, "name")},
		{Op: "symlink", To: file, Path: m.file(repo, "name")},
	}).Draw(t, "request"), syscall.EPERM)
}

func (m *mountRun) mountAgain(t *rapid.T) {
	m.T = t
	if rapid.IntRange(0, 9).Draw(t, "really") > 0 {
		t.Skip("it takes long")
	}
	m.remount()
	m.forget()
	m.does(request{Op: "mkdir", Path: m.root}, nil)
}

// compare reads the whole tree. The kernel tells of the end of a file some time
// after close(2) has returned, so the upload of one that was refused may still
// be there for a moment.
func (m *mountRun) compare(t *rapid.T) {
	m.T = t
	q := request{Op: "tree", Path: m.root}
	for _, repo := range m.Repositories {
		if m.exists(repo) {
			q.Uploads = append(q.Uploads, m.file(repo, "_uploads"))
		}
	}
	want := m.tree()
	for deadline := time.Now().Add(patience); ; {
		got := m.ask(q)
		require.Empty(m, got.Fault)
		var wrong []string
		isPassing := true
		for name := range maps.Keys(merged(want, got.Tree)) {
			if want[name] == got.Tree[name] || strings.HasPrefix(name, "_") {
				continue // above the repositories there are views only as long as there are none
			}
			wrong = append(wrong, fmt.Sprintf("%s: %q, and should be %q", name, got.Tree[name], want[name]))
			isPassing = isPassing && want[name] == "" && strings.Contains(name, "/_uploads/")
		}
		if len(wrong) == 0 {
			return
		}
		if !isPassing || time.Now().After(deadline) {
			m.log("%s", strings.Join(wrong, "\n"))
			m.FailNow()
		}
	}
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// tree is what there must be below the root.
func (m *mountRun) tree() map[string]string {
	const directory = "directory"
	tree := map[string]string{}
	dirs := map[string]bool{}
	for _, repo := range m.Repositories {
		for dir := repo; dir != "."; dir = path.Dir(dir) {
			if m.exists(dir) {
				dirs[dir] = true
			}
		}
	}
	for dir := range dirs {
		tree[dir] = directory
		isParent := false
		for other := range dirs {
			isParent = isParent || path.Dir(other) == dir
		}
		if isParent && m.want.Repositories[dir] == nil {
			continue
		}
		r := m.want.Repository(dir)
		for _, name := range []string{"_blobs", "_blobs/sha256", "_manifests", "_manifests/sha256", "_tags"} {
			tree[path.Join(dir, name)] = directory
		}
		for d, content := range r.Blobs {
			if d.Algorithm() == digest.SHA256 && !m.hidden[dir][d] {
				tree[path.Join(dir, "_blobs/sha256", d.Encoded())] = fileOf(content, int64(len(content)))
			}
		}
		for d, doc := range r.Manifests {
			tree[path.Join(dir, "_manifests/sha256", d.Encoded())] = fileOf(doc.Payload, int64(len(doc.Payload)))
		}
		for tag, d := range r.Tags {
			tree[path.Join(dir, "_tags", tag)] = "../_manifests/sha256/" + d.Encoded()
		}
		for id, content := range r.Uploads {
			tree[path.Join(dir, "_uploads", id)] = fileOf(content, int64(len(content)))
		}
		for _, view := range []string{blobs(dir), manifests(dir)} {
			for name, d := range m.aliases[view] {
				tree[path.Join(view, name)] = "sha256/" + d.Encoded()
			}
		}
	}
	return tree
}
