package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"registryfs/digest"
)

// Deeds that the audit knows. What is moved must never be under neither name.
const (
	moveTag      = "move a tag"
	finishUpload = "finish an upload"
	cancelUpload = "cancel an upload"
)

const (
	sharedRepo  = "team/shared" // where all writers set the same tags
	sharedBlobs = 8             // blobs that all writers write
	largeBlob   = 200 << 10     // bytes
)

// errDeed ends a writer: what went wrong it has told.
var errDeed = errors.New("a deed failed")

// order is what a writer is told to do.
type order struct {
	Mount      string
	Name, Repo string
	Promoted   string   // the repository that it promotes to
	Uploads    []string // of Repo, empty, its own
	Seed       uint64
	Deeds      int // it ends after so many; 0 means never
}

// writer is a program that changes a mount in every way there is, by system
// calls, one after the other, until it is ended or one fails.
type writer struct {
	order
	rnd *rand.Rand
	out *json.Encoder
	n   int

	blobs   []string // that nothing references
	images  []oneLayer
	tags    map[string]oneLayer
	uploads map[string]int // bytes
}

// oneLayer is an image of one layer.
type oneLayer struct {
	config, layer, manifest []byte
}

func write(in io.Reader, out io.Writer) error {
	w := &writer{out: json.NewEncoder(out), tags: map[string]oneLayer{}, uploads: map[string]int{}}
	if err := json.NewDecoder(in).Decode(&w.order); err != nil {
		return err
	}
	w.rnd = rand.New(rand.NewPCG(w.Seed, 0))
	for _, id := range w.Uploads {
		w.uploads[id] = 0
	}
	for w.Deeds == 0 || w.n < w.Deeds {
		if err := w.step(); errors.Is(err, errDeed) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// do does a deed and tells of it.
func (w *writer) do(what string, makes map[string]string, deedItself func() error) error {
	w.n++
	if err := w.out.Encode(deed{N: w.n, What: what, Makes: makes, At: time.Now().UnixNano()}); err != nil {
		return err
	}
	err := deedItself()
	done := deed{N: w.n, Done: true, At: time.Now().UnixNano()}
	if err != nil {
		done.Fault = err.Error()
		if !errors.As(err, &done.Errno) {
			done.Errno = syscall.EIO
		}
	}
	if err := w.out.Encode(done); err != nil {
		return err
	}
	if err != nil {
		return errDeed
	}
	return nil
}

func (w *writer) step() error {
	steps := []struct {
		weight int
		run    func() error
	}{
		{4, w.putBlob}, {2, w.putAlias}, {2, w.putScratch}, {2, w.putShared}, {1, w.removeBlob},
		{3, w.pushImage}, {3, w.pushToTag}, {3, w.linkTag}, {3, w.retag}, {2, w.untag}, {2, w.moveTag},
		{2, w.promote}, {2, w.shareTag}, {4, w.appendUpload}, {2, w.endUpload},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	at := w.rnd.IntN(total)
	for _, s := range steps {
		if at -= s.weight; at < 0 {
			return s.run()
		}
	}
	return nil
}

func (w *writer) file(p string) string { return filepath.Join(w.Mount, p) }

func blobPath(repo, hex string) string     { return path.Join(repo, "_blobs/sha256", hex) }
func manifestPath(repo, hex string) string { return path.Join(repo, "_manifests/sha256", hex) }
func tagPath(repo, tag string) string      { return path.Join(repo, "_tags", tag) }
func uploadPath(repo, id string) string    { return path.Join(repo, "_uploads", id) }

// fresh is content that nobody has stored.
func (w *writer) fresh() []byte {
	size := w.rnd.IntN(4000)
	if w.rnd.IntN(4) == 0 {
		size = w.rnd.IntN(largeBlob)
	}
	return append(fmt.Appendf(nil, "%s of %d: %d\n", w.Name, w.Seed, w.n), uploadBytes(strconv.Itoa(w.n), size)...)
}

// create writes a file, perhaps in pieces, perhaps with an fsync.
func (w *writer) create(p string, content []byte) error {
	f, err := os.OpenFile(w.file(p), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	return w.fill(f, content)
}

// fill writes to a file and closes it.
func (w *writer) fill(f *os.File, content []byte) error {
	piece := max(1, len(content)/(1+w.rnd.IntN(3)))
	for part := range slices.Chunk(content, piece) {
		if _, err := f.Write(part); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if w.rnd.IntN(4) == 0 {
		if err := f.Sync(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

func (w *writer) putBlob() error {
	content := w.fresh()
	hex := hexOf(content)
	err := w.do("blob", map[string]string{blobPath(w.Repo, hex): hex}, func() error {
		return w.create(blobPath(w.Repo, hex), content)
	})
	w.blobs = append(w.blobs, hex)
	return err
}

func (w *writer) putAlias() error {
	content := w.fresh()
	return w.do("blob under another name", map[string]string{blobPath(w.Repo, hexOf(content)): hexOf(content)}, func() error {
		return w.create(path.Join(w.Repo, "_blobs", fmt.Sprintf("%s-%d", w.Name, w.n)), content)
	})
}

func (w *writer) putScratch() error {
	content := w.fresh()
	hex := hexOf(content)
	return w.do("blob by a rename", map[string]string{blobPath(w.Repo, hex): hex}, func() error {
		temp := path.Join(w.Repo, "_blobs", fmt.Sprintf(".%s-%d", w.Name, w.n))
		if err := w.create(temp, content); err != nil {
			return err
		}
		return os.Rename(w.file(temp), w.file(blobPath(w.Repo, hex)))
	})
}

func (w *writer) putShared() error {
	content := uploadBytes(fmt.Sprintf("shared %d", w.rnd.IntN(sharedBlobs)), largeBlob)
	return w.put(sharedRepo, content)
}

// put writes a blob that may be there already.
func (w *writer) put(repo string, content []byte) error {
	hex := hexOf(content)
	return w.do("blob", map[string]string{blobPath(repo, hex): hex}, func() error {
		return w.create(blobPath(repo, hex), content)
	})
}

func (w *writer) removeBlob() error {
	if len(w.blobs) == 0 {
		return nil
	}
	hex := w.blobs[0]
	w.blobs = w.blobs[1:]
	return w.do("remove a blob", map[string]string{blobPath(w.Repo, hex): gone}, func() error {
		return syscall.Unlink(w.file(blobPath(w.Repo, hex)))
	})
}

// newImage makes an image and writes its blobs.
func (w *writer) newImage(repo string) (oneLayer, error) {
	i := oneLayer{config: fmt.Appendf(nil, `{"made":"by %s of %d, %d"}`, w.Name, w.Seed, w.n), layer: w.fresh()}
	describe := func(mediaType string, content []byte) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	}
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    describe(ocispec.MediaTypeImageConfig, i.config),
		Layers:    []ocispec.Descriptor{describe(ocispec.MediaTypeImageLayerGzip, i.layer)},
	}
	m.SchemaVersion = 2
	var err error
	if i.manifest, err = json.Marshal(m); err != nil {
		return i, err
	}
	return i, w.putBlobs(repo, i)
}

func (w *writer) putBlobs(repo string, i oneLayer) error {
	if err := w.put(repo, i.config); err != nil {
		return err
	}
	return w.put(repo, i.layer)
}

// makes is what a repository has that has the image.
func (i oneLayer) makes(repo string) map[string]string {
	m := map[string]string{manifestPath(repo, i.hex()): i.hex()}
	for _, blob := range [][]byte{i.config, i.layer} {
		m[blobPath(repo, hexOf(blob))] = hexOf(blob)
	}
	return m
}

func (i oneLayer) hex() string { return hexOf(i.manifest) }

func (w *writer) pushImage() error {
	i, err := w.newImage(w.Repo)
	if err != nil {
		return err
	}
	w.images = append(w.images, i)
	return w.do("manifest", i.makes(w.Repo), func() error {
		return w.create(manifestPath(w.Repo, i.hex()), i.manifest)
	})
}

// pushToTag writes a manifest to a tag, new or not.
func (w *writer) pushToTag() error {
	i, err := w.newImage(w.Repo)
	if err != nil {
		return err
	}
	w.images = append(w.images, i)
	name := w.newTag()
	if old := w.anyTag(); old != "" && w.rnd.IntN(2) == 0 {
		name = old
	}
	w.tags[name] = i
	makes := i.makes(w.Repo)
	makes[tagPath(w.Repo, name)] = i.hex()
	return w.do("manifest to a tag", makes, func() error { return w.create(tagPath(w.Repo, name), i.manifest) })
}

func (w *writer) newTag() string { return fmt.Sprintf("%s-%d", w.Name, w.n) }

// anyTag is one of the writer's tags, or "".
func (w *writer) anyTag() string {
	if len(w.tags) == 0 {
		return ""
	}
	names := slices.Sorted(maps.Keys(w.tags))
	return names[w.rnd.IntN(len(names))]
}

// setTag gives a tag to one of the writer's images, by a deed.
func (w *writer) setTag(what, name string, deedItself func(target string) error) error {
	if len(w.images) == 0 || name == "" {
		return nil
	}
	i := w.images[w.rnd.IntN(len(w.images))]
	w.tags[name] = i
	return w.do(what, map[string]string{tagPath(w.Repo, name): i.hex()}, func() error {
		return deedItself("../_manifests/sha256/" + i.hex())
	})
}

func (w *writer) linkTag() error {
	name := w.newTag()
	return w.setTag("tag", name, func(target string) error {
		return os.Symlink(target, w.file(tagPath(w.Repo, name)))
	})
}

func (w *writer) retag() error {
	name := w.anyTag()
	return w.setTag("move a tag's value", name, func(target string) error { return w.replace(w.Repo, name, target) })
}

// replace sets a tag as ln -sfn does.
func (w *writer) replace(repo, name, target string) error {
	temp := w.file(tagPath(repo, fmt.Sprintf(".%s-%d", w.Name, w.n)))
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	return os.Rename(temp, w.file(tagPath(repo, name)))
}

func (w *writer) untag() error {
	name := w.anyTag()
	if name == "" {
		return nil
	}
	delete(w.tags, name)
	return w.do("untag", map[string]string{tagPath(w.Repo, name): gone}, func() error {
		return syscall.Unlink(w.file(tagPath(w.Repo, name)))
	})
}

func (w *writer) moveTag() error {
	from := w.anyTag()
	if from == "" {
		return nil
	}
	to, i := w.newTag(), w.tags[from]
	if old := w.anyTag(); old != from && w.rnd.IntN(2) == 0 {
		to = old
	}
	delete(w.tags, from)
	w.tags[to] = i
	return w.do(moveTag, map[string]string{tagPath(w.Repo, from): gone, tagPath(w.Repo, to): i.hex()}, func() error {
		return os.Rename(w.file(tagPath(w.Repo, from)), w.file(tagPath(w.Repo, to)))
	})
}

func (w *writer) promote() error {
	from := w.anyTag()
	if from == "" {
		return nil
	}
	i, name := w.tags[from], w.Name
	makes := i.makes(w.Promoted)
	makes[tagPath(w.Promoted, name)] = i.hex()
	return w.do("promote", makes, func() error { return w.replace(w.Promoted, name, w.file(tagPath(w.Repo, from))) })
}

// shareTag moves a tag that all writers move.
func (w *writer) shareTag() error {
	i, err := w.newImage(sharedRepo)
	if err != nil {
		return err
	}
	makes := i.makes(sharedRepo)
	if err := w.do("manifest", makes, func() error {
		return w.create(manifestPath(sharedRepo, i.hex()), i.manifest)
	}); err != nil {
		return err
	}
	return w.do("move a shared tag", map[string]string{tagPath(sharedRepo, "latest"): i.hex()}, func() error {
		return w.replace(sharedRepo, "latest", "../_manifests/sha256/"+i.hex())
	})
}

func (w *writer) anyUpload() string {
	ids := slices.Sorted(maps.Keys(w.uploads))
	if len(ids) == 0 {
		return ""
	}
	return ids[w.rnd.IntN(len(ids))]
}

func (w *writer) appendUpload() error {
	id := w.anyUpload()
	if id == "" {
		return nil
	}
	before := w.uploads[id]
	after := before + 1 + w.rnd.IntN(20_000)
	w.uploads[id] = after
	return w.do("append to an upload", map[string]string{uploadPath(w.Repo, id): strconv.Itoa(after)}, func() error {
		f, err := os.OpenFile(w.file(uploadPath(w.Repo, id)), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		return w.fill(f, uploadBytes(id, after)[before:])
	})
}

// endUpload finishes an upload, or cancels it.
func (w *writer) endUpload() error {
	id := w.anyUpload()
	if id == "" || w.uploads[id] == 0 {
		return nil
	}
	hex := hexOf(uploadBytes(id, w.uploads[id]))
	delete(w.uploads, id)
	file := w.file(uploadPath(w.Repo, id))
	if w.rnd.IntN(3) == 0 {
		return w.do(cancelUpload, map[string]string{uploadPath(w.Repo, id): gone}, func() error { return syscall.Unlink(file) })
	}
	makes := map[string]string{uploadPath(w.Repo, id): gone, blobPath(w.Repo, hex): hex}
	return w.do(finishUpload, makes, func() error { return os.Rename(file, w.file(blobPath(w.Repo, hex))) })
}
