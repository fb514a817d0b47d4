package fsmount_test

import (
	"errors"
	"syscall"

	"pgregory.net/rapid"

	"registryfs/digest"
	"registryfs/storage"
	"registryfs/storage/storagetest"
)

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
		m.brought(repo, d)
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
		if !m.claimed[repo][hidden] && m.want.DeleteBlob(repo, hidden, false) == nil {
			m.published(repo, hidden)
		}
	}
}

// Repositories.
