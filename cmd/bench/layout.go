package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// layout writes a store as docker/distribution lays it out, straight into its
// directory: 100,000 pushes would take longer than all that is measured.
// Methods that return a string return a digest in hex.
type layout struct{ store string }

func (l layout) path(elem ...string) string {
	return filepath.Join(append([]string{l.store, "docker/registry/v2"}, elem...)...)
}

// fresh empties a store.
func (l layout) fresh() error {
	return errors.Join(
		os.RemoveAll(l.store),
		os.MkdirAll(l.path("blobs"), 0o755),
		os.MkdirAll(l.path("repositories"), 0o755),
	)
}

// blobPath is where the content of a digest is.
func (l layout) blobPath(sum string) string { return l.path("blobs/sha256", sum[:2], sum, "data") }

// blob stores content.
func (l layout) blob(content []byte) (string, error) {
	sum := sha256.Sum256(content)
	name := hex.EncodeToString(sum[:])
	return name, write(l.blobPath(name), content)
}

// randomBlob stores size random bytes.
func (l layout) randomBlob(seed uint64, size int64) (string, error) {
	temp := filepath.Join(l.store, "new")
	sum, err := fill(temp, seed, size)
	if err != nil {
		return "", err
	}
	to := l.blobPath(sum)
	return sum, errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(temp, to))
}

// layer links a blob in a repository.
func (l layout) layer(repo, sum string) error {
	return l.link(sum, repo, "_layers/sha256", sum)
}

// revision makes a manifest a revision of a repository.
func (l layout) revision(repo, sum string) error {
	return l.link(sum, repo, "_manifests/revisions/sha256", sum)
}

// tag names a revision.
func (l layout) tag(repo, tag, sum string) error {
	return errors.Join(
		l.link(sum, repo, "_manifests/tags", tag, "index/sha256", sum),
		l.link(sum, repo, "_manifests/tags", tag, "current"),
	)
}

func (l layout) link(sum, repo string, elem ...string) error {
	dir := l.path(append([]string{"repositories", repo}, elem...)...)
	return write(filepath.Join(dir, "link"), []byte("sha256:"+sum))
}

// image stores a manifest of the length of manifestSize, for each number
// another, and makes it a revision. Its layers and its config, which is empty,
// are linked.
func (l layout) image(repo string, number int, layers ...string) (string, error) {
	config, err := l.blob([]byte("{}"))
	if err != nil {
		return "", err
	}
	content := manifest(number, config, layers, func(sum string) int64 {
		info, statErr := os.Stat(l.blobPath(sum))
		if statErr != nil {
			err = statErr
			return 0
		}
		return info.Size()
	})
	if err != nil {
		return "", err
	}
	sum, err := l.blob(content)
	if err != nil {
		return "", err
	}
	for _, layer := range append(layers, config) {
		if err := l.layer(repo, layer); err != nil {
			return "", err
		}
	}
	return sum, l.revision(repo, sum)
}

// manifestSize is the size in bytes of the manifests.
const manifestSize = 4096

const mediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"

func manifest(number int, config string, layers []string, size func(sum string) int64) []byte {
	content := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[`,
		mediaTypeManifest, config, size(config))
	for i, layer := range layers {
		if i > 0 {
			content = append(content, ',')
		}
		content = fmt.Appendf(content, `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d}`, layer, size(layer))
	}
	content = fmt.Appendf(content, `],"annotations":{"number":"%d","pad":"`, number)
	const end = `"}}`
	for len(content) < manifestSize-len(end) {
		content = append(content, '.')
	}
	return append(content, end...)
}

// write makes a file and the directories that it is in.
func write(name string, content []byte) error {
	err := os.WriteFile(name, content, 0o644)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		err = os.WriteFile(name, content, 0o644)
	}
	return err
}

// fill writes a file of size random bytes, for each seed others, and returns
// their digest in hex.
func fill(name string, seed uint64, size int64) (string, error) {
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<20)
	_, err = io.CopyN(w, source(seed), size)
	err = errors.Join(err, w.Flush(), f.Close())
	return hex.EncodeToString(sum.Sum(nil)), err
}

// source is random bytes.
func source(seed uint64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}
