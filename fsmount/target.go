package fsmount

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// target is what a file becomes when it is published.
type target struct {
	place  place
	name   string
	means  meaning
	digest digest.Digest // that the name promises; may be empty
	by     process       // who writes; known where the file is one of a layout
}

// targetOf is what a file of that name in that place becomes.
func (p place) targetOf(name string) (target, error) {
	m, err := p.meaningOf(name)
	if err != nil {
		return target{}, err
	}
	d, ok := p.digestOf(name)
	if !ok {
		d, _ = p.signedDigestOf(name)
	}
	return target{place: p, name: name, means: m, digest: d}, nil
}

func (t target) path() string { return t.place.join(t.name) }

// tag is the tag that the file becomes, or "".
func (t target) tag() string {
	if t.means == aTag {
		return t.name
	}
	return ""
}

// isCommitted reports whether closing the file publishes it.
func (t target) isCommitted() bool {
	return t.means != aScratch && t.means != anUpload
}

// isLayoutFile reports whether the file is one that every layout has.
func (t target) isLayoutFile() bool { return t.means == anIndex || t.means == aLayoutVersion }

// publication is something that publishing a file made visible.
type publication struct {
	means  meaning
	digest digest.Digest
	link   storage.Link // to take it back by; zero where it was there before
}

// publish makes the content of a file what it is to become.
func (f *fileSystem) publish(ctx context.Context, t target, s *staging) (publication, error) {
	d, err := s.digest(ctx)
	if err != nil {
		return publication{}, err
	}
	// From here on a signal to the writer no longer counts: it has closed the
	// file.
	ctx = context.WithoutCancel(ctx)
	// Before the name can be found, and again below, when it surely is.
	f.recent.note(t.place, t.name)
	var made publication
	switch t.means {
	case aBlob, aBlobAlias:
		if t.digest != "" {
			d = t.digest
		}
		if t.place.view == viewLayoutBlobs {
			made, err = f.publishLayoutBlob(ctx, s, d)
		} else {
			made, err = f.publishBlob(ctx, s, d)
		}
	case anIndex:
		made.means, err = t.means, f.commitIndex(ctx, t, s)
	case aLayoutVersion:
		made.means, err = t.means, checkLayoutVersion(ctx, s)
	case aManifest, aManifestAlias, aTag:
		made, err = f.publishManifest(ctx, t, s)
	default:
		return publication{}, refuse(errPerm, "this is not a name that content can have")
	}
	if err != nil {
		return publication{}, err
	}
	switch t.means {
	case aBlobAlias, aManifestAlias:
		f.names.putAlias(t.place, t.name, made.digest)
	default:
		if l, ok := f.names.get(t.place, t.name); ok && l.file != nil {
			f.names.remove(t.place, t.name, l)
		}
	}
	f.recent.note(t.place, t.name)
	return made, nil
}

func (f *fileSystem) publishBlob(ctx context.Context, s *staging, d digest.Digest) (publication, error) {
	made, err := s.commit(ctx, d)
	if err != nil {
		return publication{}, err
	}
	size, _ := s.length()
	f.content.published(s.repo.Name(), d, size)
	return publication{means: aBlob, digest: d, link: made}, nil
}

func (f *fileSystem) publishManifest(ctx context.Context, t target, s *staging) (publication, error) {
	payload, err := s.payload(ctx, manifest.MaxSize)
	if err != nil {
		return publication{}, err
	}
	if t.means == aTag {
		if d, err := digest.Parse(strings.TrimSpace(string(payload))); err == nil {
			err := s.repo.Tags().Tag(ctx, t.name, d)
			if err == nil {
				s.published()
			}
			return publication{means: aManifest, digest: d}, err
		}
	}
	// A signed manifest of schema 1 is known by the digest of what is signed.
	content := payload
	if signed, err := manifest.ParseSigned(payload); err == nil {
		content = signed.Manifest().Payload()
	}
	d := digest.FromBytes(content)
	options := []storage.PutOption{storage.ForTag(t.tag())}
	switch {
	case t.digest == "":
	case !digest.Matches(t.digest, content):
		return publication{}, fmt.Errorf("%w: it is %s", storage.ErrDigestMismatch, d)
	case t.digest != d:
		return publication{}, refuse(syscall.EINVAL, "a manifest has no other digest than "+d.String())
	default:
		options = append(options, storage.AcceptUnsigned())
	}
	made := publication{means: aManifest, digest: d}
	options = append(options, storage.Made(&made.link))
	if _, err := s.repo.Manifests().Put(ctx, "", payload, options...); err != nil {
		return publication{}, err
	}
	f.arrived(ctx, s.repo.Name(), d)
	f.content.published(s.repo.Name(), d, int64(len(content)))
	if t.means == aTag {
		if err := s.repo.Tags().Tag(ctx, t.name, d); err != nil {
			f.retract(ctx, s.repo, made)
			return publication{}, err
		}
	}
	s.published()
	return made, nil
}

// retract takes back what a file published before more was written to it,
// unless it was there before, something has come to reference it, or somebody
// else has been told that it is there.
func (f *fileSystem) retract(ctx context.Context, repo storage.Repository, made publication) {
	if !made.link.IsNew {
		return
	}
	v := viewManifests
	if made.means == aBlob {
		v = viewBlobs
	}
	err := retractLink(ctx, repo, v, made.link)
	if err != nil && !errors.Is(err, storage.ErrReferenced) {
		f.log.Warn("cannot take back what a file was before", "repository", repo.Name(), "digest", made.digest, "error", err)
	}
}
