package fsmount_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"registryfs/digest"
)

// unseen is for how long what others do may go unseen: for the AttrTimeout of
// the mount, which the kernel counts in ticks of its clock, of at most 10 ms.
const unseen = time.Second + 3*10*time.Millisecond

// beginUpload leaves an upload as a stock registry does, before or after it has
// made the file for the data.
func (m *mountRun) beginUpload(t *rapid.T) {
	repo, id := m.repository(t, "repository"), uuid.NewString()
	dir := filepath.Join(m.store, "docker/registry/v2/repositories", filepath.Base(m.root), repo, "_uploads", id)
	require.NoError(m, os.MkdirAll(dir, 0o755))
	name := rapid.SampledFrom([]string{"startedat", "data"}).Draw(t, "file")
	require.NoError(m, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	time.Sleep(unseen)
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
	ids := slices.SortedFunc(maps.Keys(uploads), func(a, b string) int { return bytes.Compare(uploads[a], uploads[b]) })
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
