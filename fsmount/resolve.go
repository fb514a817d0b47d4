package fsmount

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"registryfs/digest"
	"registryfs/storage"
)

// source is stored content that a path or a node leads to.
type source struct {
	repo   string
	view   view
	digest digest.Digest
}

// resolve finds the content that the text of a symlink in a place leads to:
// another tag, an alias, a digest, or any of those by a path inside the mount.
func (f *fileSystem) resolve(ctx context.Context, p place, text string) (source, error) {
	if d, err := digest.Parse(text); err == nil {
		return f.locate(ctx, p.repo, p.view, d)
	}
	to, err := f.clean(p.path(), text)
	if err != nil {
		return source{}, err
	}
	repo, v, rest, ok := splitPath(to)
	if !ok || storage.CheckName(repo) != nil {
		return source{}, refuse(errInvalid, "it leads to nothing that can be named: "+text)
	}
	at := f.placeOf(repo, v, "")
	if alg, hex, ok := strings.Cut(rest, "/"); ok {
		at.alg, rest = alg, hex
	}
	if v == viewTags && at.alg == "" {
		tag, err := f.tag(ctx, repo, rest)
		return source{repo, viewManifests, tag.Digest}, err
	}
	if d, ok := at.digestOf(rest); ok {
		return f.locate(ctx, repo, v, d)
	}
	if l, ok := f.names.get(at, rest); ok && l.alias != "" {
		return source{repo, v, l.alias}, nil
	}
	return source{}, refuse(errInvalid, "it leads to nothing that can be named: "+text)
}

// leadsTo finds the content that a link leads to.
func (f *fileSystem) leadsTo(ctx context.Context, at placeName) (source, error) {
	tag, err := f.linkedTag(ctx, at)
	if err == nil {
		return source{at.place.repo, viewManifests, tag.Digest}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return source{}, err
	}
	l, ok := f.names.get(at.place, at.name)
	if !ok || l.alias == "" {
		return source{}, err
	}
	return source{at.place.repo, at.place.view, l.alias}, nil
}

// locate finds content by its digest in a view of a repository; a tag's digest
// is looked for among the manifests.
func (f *fileSystem) locate(ctx context.Context, repo string, v view, d digest.Digest) (source, error) {
	if v == viewTags {
		v = viewManifests
	}
	return source{repo, v, d}, f.stat(ctx, repo, v, d)
}

// clean is the path in the mount that a symlink in dir leads to.
func (f *fileSystem) clean(dir, text string) (string, error) {
	if !path.IsAbs(text) {
		return path.Join(dir, text), nil
	}
	text = path.Clean(text)
	if rest, ok := strings.CutPrefix(text, strings.TrimSuffix(f.at, "/")+"/"); ok {
		return "/" + rest, nil
	}
	return "", refuse(errInvalid, "it leads out of the mount: "+text)
}

// splitPath splits a path in the mount at the view.
func splitPath(p string) (repo string, v view, rest string, ok bool) {
	parts := strings.Split(strings.TrimPrefix(p, "/"), "/")
	for i, part := range parts {
		for v, name := range viewNames {
			if part == name && i > 0 && i+1 < len(parts) {
				return strings.Join(parts[:i], "/"), v, strings.Join(parts[i+1:], "/"), true
			}
		}
	}
	return "", 0, "", false
}
