package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"registryfs/digest"
	"registryfs/manifest"
)

// linkedBlobs is the BlobStore of a repository: the layers among all blobs.
type linkedBlobs struct {
	repo  *repository
	links links
}

var _ BlobStore = (*linkedBlobs)(nil)

func (b *linkedBlobs) Stat(ctx context.Context, d digest.Digest) (Descriptor, error) {
	canonical, err := b.resolve(ctx, d)
	if err != nil {
		return Descriptor{}, b.repo.fail("stat", d.String(), err)
	}
	desc, err := b.repo.registry.statContent(ctx, canonical)
	return desc, b.repo.fail("stat", d.String(), err)
}

func (b *linkedBlobs) Open(ctx context.Context, d digest.Digest, options ...OpenOption) (Blob, error) {
	canonical, err := b.resolve(ctx, d)
	if err != nil {
		return nil, b.repo.fail("open", d.String(), err)
	}
	blob, err := b.repo.registry.openContent(ctx, d, canonical, options...)
	return blob, b.repo.fail("open", d.String(), err)
}

func (b *linkedBlobs) Get(ctx context.Context, d digest.Digest) ([]byte, error) {
	blob, err := b.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	content, err := readBlob(blob, MaxGet)
	return content, b.repo.fail("get", d.String(), err)
}

func (b *linkedBlobs) Put(ctx context.Context, mediaType string, content []byte) (Descriptor, error) {
	desc, _, err := putContent(ctx, b.repo, b.links, content)
	if mediaType != "" {
		desc.MediaType = mediaType
	}
	return desc, err
}

func (b *linkedBlobs) Create(ctx context.Context) (Upload, error) {
	u, err := createUpload(ctx, b.repo, b.links)
	if err != nil {
		return nil, b.repo.fail("create upload", "", err)
	}
	return u, nil
}

func (b *linkedBlobs) Resume(ctx context.Context, id string) (Upload, error) {
	u, err := resumeUpload(ctx, b.repo, b.links, id)
	if err != nil {
		return nil, b.repo.fail("resume upload", id, err)
	}
	return u, nil
}

func (b *linkedBlobs) Uploads(ctx context.Context) ([]UploadInfo, error) {
	infos, err := listUploads(ctx, b.repo)
	return infos, b.repo.fail("list uploads", "", err)
}

func (b *linkedBlobs) Upload(ctx context.Context, id string) (UploadInfo, error) {
	info, err := statUpload(ctx, b.repo, id)
	return info, b.repo.fail("stat upload", id, err)
}

func (b *linkedBlobs) OpenUpload(ctx context.Context, id string) (UploadContent, error) {
	content, err := openUpload(ctx, b.repo, id)
	if err != nil {
		return nil, b.repo.fail("open upload", id, err)
	}
	return content, nil
}

func (b *linkedBlobs) Mount(ctx context.Context, from Repository, d digest.Digest) (Descriptor, error) {
	desc, err := b.mount(ctx, from, d)
	return desc, b.repo.fail("mount", d.String(), err)
}

func (b *linkedBlobs) mount(ctx context.Context, from Repository, d digest.Digest) (Descriptor, error) {
	source, ok := unwrap(from)
	if !ok || source.registry != b.repo.registry {
		return Descriptor{}, fmt.Errorf("%w: mount from another registry", ErrUnsupported)
	}
	if err := b.repo.registry.lease(ctx, leaseNamed, d); err != nil {
		return Descriptor{}, err
	}
	desc, err := source.Blobs().Stat(ctx, d)
	if err != nil {
		return Descriptor{}, err
	}
	if err := b.repo.registry.writable(); err != nil {
		return Descriptor{}, err
	}
	if err := b.repo.registry.settleContent(ctx, desc.Digest); err != nil {
		return Descriptor{}, err
	}
	if err := b.link(ctx, d, desc.Digest); err != nil {
		return Descriptor{}, err
	}
	// Between the look and the link a collection may have taken it away.
	_, err = b.repo.registry.statContent(ctx, desc.Digest)
	return desc, err
}

// link makes content a blob of the repository.
func (b *linkedBlobs) link(ctx context.Context, d, canonical digest.Digest) error {
	if err := b.repo.prepare(ctx); err != nil {
		return err
	}
	if d != canonical {
		if err := b.repo.registry.putLink(ctx, b.links, canonical, canonical); err != nil {
			return err
		}
	}
	return b.repo.registry.putLink(ctx, b.links, d, canonical)
}

func (b *linkedBlobs) Delete(ctx context.Context, d digest.Digest) error {
	err := b.repo.registry.deletable()
	if err == nil {
		err = b.remove(ctx, d, func(unreferenced check) error {
			return b.repo.registry.removeLink(ctx, b.links, d, unreferenced)
		})
	}
	return b.repo.fail("delete", d.String(), err)
}

func (b *linkedBlobs) Retract(ctx context.Context, made Link) error {
	err := b.repo.registry.writable()
	if err == nil {
		err = b.remove(ctx, made.Digest, func(unreferenced check) error {
			return b.repo.registry.retractLink(ctx, b.links, made, unreferenced)
		})
	}
	return b.repo.fail("retract", made.Digest.String(), err)
}

func (b *linkedBlobs) Keep(ctx context.Context, d digest.Digest) (Link, error) {
	made, err := b.keep(ctx, d)
	return made, b.repo.fail("keep", d.String(), err)
}

func (b *linkedBlobs) keep(ctx context.Context, d digest.Digest) (Link, error) {
	if err := b.repo.registry.writable(); err != nil {
		return Link{}, err
	}
	lock := b.repo.registry.refsLock(b.repo.name)
	lock.RLock()
	defer lock.RUnlock()
	canonical, err := b.resolve(ctx, d)
	if err != nil {
		return Link{}, err
	}
	return b.repo.registry.makeLink(ctx, b.links, d, canonical)
}

// remove removes a blob that no manifest references, by unlink, which looks for
// one again.
func (b *linkedBlobs) remove(ctx context.Context, d digest.Digest, unlink func(check) error) error {
	lock := b.repo.registry.refsLock(b.repo.name)
	lock.Lock()
	defer lock.Unlock()
	if _, err := b.resolve(ctx, d); err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	known := map[digest.Digest]bool{}
	unreferenced := func(ctx context.Context) error {
		by, err := b.repo.manifests().referrer(ctx, d, known)
		if err == nil && by != "" {
			err = fmt.Errorf("%w: by manifest %s", ErrReferenced, by)
		}
		return err
	}
	if err := unreferenced(ctx); err != nil {
		return err
	}
	return unlink(unreferenced)
}

func (b *linkedBlobs) Enumerate(ctx context.Context, fn func(digest.Digest) error) error {
	return b.repo.fail("enumerate blobs", "", b.links.enumerate(ctx, fn))
}

func (b *linkedBlobs) resolve(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	r := b.repo.registry
	if err := r.lease(ctx, leaseSeen, d); err != nil {
		return "", err
	}
	canonical, err := b.links.get(ctx, d)
	if errors.Is(err, errNoLink) {
		canonical, err = r.findAgain(ctx, b.links, d, r.reviveLink)
	}
	if errors.Is(err, errNoLink) {
		err = ErrBlobUnknown
	}
	return canonical, err
}

// openAs opens canonical content for somebody who knows it as d.
func openAs(ctx context.Context, content *blobs, d, canonical digest.Digest, options ...OpenOption) (Blob, error) {
	names := []digest.Digest{canonical}
	if d != canonical {
		names = append(names, d)
	}
	return content.openObserved(ctx, openOptionsOf(options).observer, names)
}

// readBlob returns the whole of a blob of at most limit bytes. It is verified
// once more: decisions hang on what is so small, such as what is garbage, and
// the bytes may have come by another way than when the blob was opened.
func readBlob(blob Blob, limit int64) ([]byte, error) {
	size := blob.Descriptor().Size
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, limit)
	}
	p := make([]byte, size)
	n, err := blob.ReadAt(p, 0)
	if int64(n) == size {
		err = nil
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if d := blob.Descriptor().Digest; err == nil && digest.IsCanonical(d) && digest.FromBytes(p) != d {
		err = fmt.Errorf("%w: %s was read as something else", ErrCorrupt, d)
	}
	return p[:n], err
}

// putContent stores small content and links it in one set of a repository.
func putContent(ctx context.Context, repo *repository, set links, content []byte) (Descriptor, Link, error) {
	u, err := createUpload(ctx, repo, set)
	if err != nil {
		return Descriptor{}, Link{}, repo.fail("put", "", err)
	}
	defer u.Cancel(context.WithoutCancel(ctx))
	if _, err := u.Write(content); err != nil {
		return Descriptor{}, Link{}, repo.fail("put", u.id, err)
	}
	desc, err := u.Commit(ctx, manifest.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))})
	return desc, u.link, err
}
