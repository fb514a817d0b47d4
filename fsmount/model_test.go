package fsmount_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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
	o.Store = storagetest.MemoryDir(t)
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
	log         func(format string, args ...any)

	// What lives as long as the mount.
	aliases map[string]map[string]digest.Digest // by directory and name
	waiting map[string]bool
	hidden  map[string]map[digest.Digest]bool // by repository
	claimed map[string]map[digest.Digest]bool // hidden, and brought again with an image: they stay
}

// forget is what the end of a mount does.
func (m *mountRun) forget() {
	m.aliases = map[string]map[string]digest.Digest{}
	m.waiting = map[string]bool{}
	m.hidden = map[string]map[digest.Digest]bool{}
	m.claimed = map[string]map[digest.Digest]bool{}
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

// fails ends the run, and says why at once: what is flaky has no report.
func (m *mountRun) fails(format string, args ...any) {
	m.log(format, args...)
	m.FailNow()
}

// does makes a request, which must end as the model says.
func (m *mountRun) does(q request, want error) {
	m.Helper()
	got := m.ask(q)
	if got.Errno != errnoOf(m, want) {
		m.fails("%s %s %s: %v (%s), and should be %v", q.Op, q.Path, q.To, got.Errno, got.Fault, want)
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
func (m *mountRun) published(repo string, d digest.Digest) {
	delete(m.hidden[repo], d)
	delete(m.claimed[repo], d)
}

// brought takes note of the blobs of an image that came from elsewhere.
func (m *mountRun) brought(repo string, d digest.Digest) {
	for _, doc := range m.Documents {
		if doc.Digest != d {
			continue
		}
		for _, blob := range doc.Blobs {
			if !m.hidden[repo][blob.Digest] {
				continue
			}
			if m.claimed[repo] == nil {
				m.claimed[repo] = map[digest.Digest]bool{}
			}
			m.claimed[repo][blob.Digest] = true
		}
		for _, child := range doc.Children {
			m.brought(repo, child)
		}
	}
}

// setAlias gives content another name in a directory.
func (m *mountRun) setAlias(dir, name string, d digest.Digest) {
	if m.aliases[dir] == nil {
		m.aliases[dir] = map[string]digest.Digest{}
	}
	m.aliases[dir][name] = d
}

// Blobs.

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
		if got.Fault != "" {
			m.fails("the tree cannot be read: %s", got.Fault)
		}
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
			m.fails("%s", strings.Join(wrong, "\n"))
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
