package fsmount_test

import (
	"errors"
	"path"
	"syscall"

	"pgregory.net/rapid"

	"registryfs/digest"
	"registryfs/storage"
)

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
			delete(m.claimed[repo], d)
		}
	}
	m.does(request{Op: "unlink", Path: m.blobFile(repo, d)}, err)
}

// Manifests and tags.
