package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"registryfs/digest"
	"registryfs/driver"
)

// blobFile is content that is to be hashed.
type blobFile struct {
	digest digest.Digest
	size   int64
}

// checkBlobs hashes all content, and notes what is bad.
func (c *checker) checkBlobs(ctx context.Context) error {
	files, err := c.listBlobs(ctx)
	if err != nil {
		return err
	}
	if err := c.hashBlobs(ctx, files); err != nil {
		return err
	}
	for _, f := range files {
		switch why := c.badNow(ctx, f.digest); {
		case why == nil:
		case errors.Is(why, ErrCorrupt):
			c.corruptBlob(ctx, f.digest, why)
		default:
			if err := c.unreadable(ctx, blobPath(f.digest), "", f.digest.String(), why); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) corruptBlob(ctx context.Context, d digest.Digest, why error) {
	if c.report(ctx, Finding{
		Kind: FindingCorrupt, Damage: true, Name: d.String(), Path: blobPath(d), Reason: why.Error(),
		Remedy: "push it again",
	}, c.quarantineBlob(d)) {
		delete(c.bad, d) // it is good by now, or gone, which shows by itself
	}
}

// content is nil for good content, [ErrBlobUnknown] for missing content, and
// what is the matter with other.
func (c *checker) content(ctx context.Context, d digest.Digest) error {
	if err := c.badNow(ctx, d); err != nil {
		return err
	}
	_, err := c.registry.blobs.stat(ctx, d)
	if !errors.Is(err, ErrBlobUnknown) {
		return err
	}
	switch aside, asideErr := c.isAside(ctx, blobPath(d)); {
	case asideErr != nil:
		return asideErr
	case aside:
		return c.asideContent(ctx, d)
	}
	_, err = c.registry.blobs.stat(ctx, d) // it may just have been brought back
	return err
}

// isAside reports whether a link or content that is missing at its place comes
// back as soon as anybody asks for it: a collection that was interrupted may
// have left it so. A repair brings it back.
func (c *checker) isAside(ctx context.Context, p string) (bool, error) {
	runs, err := c.registry.sweptRuns(ctx)
	if err != nil {
		return false, err
	}
	run, err := c.registry.findSwept(ctx, runs, p)
	if err != nil || run == "" {
		return false, err
	}
	if c.options.Repair {
		err = c.registry.bringBack(ctx, run, p)
	}
	return err == nil, err
}

// asideContent verifies content that was aside, wherever it is now.
func (c *checker) asideContent(ctx context.Context, d digest.Digest) error {
	runs, err := c.registry.sweptRuns(ctx)
	if err != nil {
		return err
	}
	for _, run := range append(runs, layoutRoot) {
		r, err := c.registry.driver.Reader(ctx, sweptPath(run, blobPath(d)), 0)
		if err != nil {
			continue
		}
		defer r.Close()
		got, err := digest.Of(d.Algorithm(), &contextReader{ctx, r})
		if err == nil && got != d {
			err = fmt.Errorf("%w: %s holds %s", ErrCorrupt, sweptPath(run, blobPath(d)), got)
		}
		return err
	}
	return ErrBlobUnknown
}

// listBlobs is all content, in the order of its paths.
func (c *checker) listBlobs(ctx context.Context) ([]blobFile, error) {
	var files []blobFile
	err := c.descend(ctx, layoutBlobs, isBlobAlgorithm, func(alg entry) error {
		return c.descend(ctx, alg.path, isShard, func(shard entry) error {
			isBlob := func(name string) bool {
				d, err := digest.FromHex(alg.name, name)
				return err == nil && path.Dir(path.Dir(blobPath(d))) == shard.path
			}
			return c.descend(ctx, shard.path, isBlob, func(dir entry) error {
				d, _ := digest.FromHex(alg.name, dir.name)
				found, err := c.findBlob(ctx, d)
				files = append(files, found...)
				return err
			})
		})
	})
	return files, err
}

// descend calls fn for the directories of a directory among blobs. All else
// there is foreign, and a stock registry may fail on it.
func (c *checker) descend(ctx context.Context, dir string, isKnown func(string) bool, fn func(entry) error) error {
	entries, err := c.list(ctx, dir, "")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.isDir() || !isKnown(e.name) {
			c.foreign(ctx, e, "", true)
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// isBlobAlgorithm leaves tarsums out: content is never kept by them.
func isBlobAlgorithm(name string) bool {
	return name == digest.SHA256.String() || name == digest.SHA512.String()
}

// isShard reports the first two digits of a digest.
func isShard(name string) bool {
	return len(name) == 2 && strings.Trim(name, "0123456789abcdef") == ""
}

// findBlob is the content in the directory of a digest: none or one.
func (c *checker) findBlob(ctx context.Context, d digest.Digest) ([]blobFile, error) {
	entries, err := c.list(ctx, path.Dir(blobPath(d)), "")
	if err != nil {
		return nil, err
	}
	var files []blobFile
	for _, e := range entries {
		switch {
		case e.path == blobPath(d) && e.isFile():
			files = append(files, blobFile{d, e.info.Size})
			c.summary.Blobs++
			c.summary.Bytes += e.info.Size
		case e.path == blobPath(d):
			why := fmt.Errorf("%w: %s in the place of a file", ErrCorrupt, e.kind())
			c.bad[d] = badContent{why: why}
			c.corruptBlob(ctx, d, why)
			return nil, ctx.Err() // a repair has taken all of it
		case e.isTemp("data"):
			c.temporary(ctx, e, "")
		default:
			c.foreign(ctx, e, "", true)
		}
	}
	return files, nil
}

// hashBlobs hashes content on all processors. The error is that of ctx.
func (c *checker) hashBlobs(ctx context.Context, files []blobFile) error {
	var (
		next atomic.Int64
		mu   sync.Mutex // of c.bad
		wg   sync.WaitGroup
	)
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		wg.Go(func() {
			buf := make([]byte, pieceSize)
			for i := next.Add(1) - 1; i < int64(len(files)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if version, err := c.hashBlob(ctx, buf, files[i].digest); err != nil {
					mu.Lock()
					c.bad[files[i].digest] = badContent{err, version}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// hashBlob verifies content. Where that fails it looks once more: somebody may
// have replaced it meanwhile, and what has gone is not bad. version is that of
// what is.
func (c *checker) hashBlob(ctx context.Context, buf []byte, d digest.Digest) (version string, err error) {
	if c.hashOnce(ctx, buf, d) == nil {
		return "", nil
	}
	info, _ := c.registry.driver.Stat(ctx, blobPath(d)) // no version is none to go by
	blob, err := c.registry.blobs.open(ctx, d)
	switch {
	case errors.Is(err, ErrBlobUnknown):
		return "", nil
	case err != nil:
		return info.Version, err
	}
	return "", blob.Close()
}

func (c *checker) hashOnce(ctx context.Context, buf []byte, d digest.Digest) error {
	f, err := c.registry.blobs.openFile(ctx, d)
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return err
	}
	got, err := c.hashAll(ctx, buf, d.Algorithm(), f, before.Size)
	if err != nil {
		return err
	}
	if got != d {
		return ErrCorrupt
	}
	after, err := f.Stat()
	if err == nil && after.Version != before.Version {
		err = errChanged
	}
	if err == nil {
		c.registry.blobs.verify.setGood(d, before.Version)
	}
	return err
}

// hashAll is the digest of the first size bytes of f.
func (c *checker) hashAll(ctx context.Context, buf []byte, alg digest.Algorithm, f driver.File, size int64) (digest.Digest, error) {
	digester, err := digest.NewDigester(alg)
	if err != nil {
		return "", err
	}
	for off := int64(0); off < size; off = digester.Offset() {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if n == 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		digester.Write(buf[:n])
		if c.options.Progress != nil {
			c.options.Progress(int64(n), c.summary.Bytes)
		}
	}
	return digester.Digest(), nil
}
