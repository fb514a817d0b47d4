package storage

import (
	"context"
	"errors"
	"path"
	"strings"

	"registryfs/digest"
)

// linkSet is a set of links that is to be checked.
type linkSet struct {
	links
	repo    string
	history bool // of a tag: what it names need not be there any more
	signed  bool // of manifests: signatures may be beside the links
}

// linked is what is the matter with the links of a set, by the digest that they
// are named by; nil for nothing. A digest that has no link is not in it.
type linked map[digest.Digest]error

// checkLinks checks all links of a set.
func (c *checker) checkLinks(ctx context.Context, set linkSet) (linked, error) {
	found := linked{}
	return found, c.checkLinksBelow(ctx, set, "", found)
}

// checkLinksBelow looks for the directories of algorithms, which for tarsums
// are below others.
func (c *checker) checkLinksBelow(ctx context.Context, set linkSet, below string, found linked) error {
	entries, err := c.list(ctx, path.Join(set.dir, below), set.repo)
	if err != nil {
		return err
	}
	for _, e := range entries {
		rel := path.Join(below, e.name)
		alg, isAlgorithm, isAbove := algorithmAt(rel)
		switch {
		case !isAlgorithm && !isAbove:
			c.foreign(ctx, e, set.repo, false)
		case !e.isDir():
			c.notDir(ctx, e, set.repo)
		case isAbove:
			err = c.checkLinksBelow(ctx, set, rel, found)
		default:
			err = c.checkLinksOf(ctx, set, alg, e.path, found)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// algorithmAt says whether a directory of a set holds the links of an
// algorithm, or is above one that does.
func algorithmAt(rel string) (alg digest.Algorithm, isAlgorithm, isAbove bool) {
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512, digest.TarsumV1, digest.TarsumV0} {
		switch p := algorithmPath(alg); {
		case p == rel:
			return alg, true, false
		case strings.HasPrefix(p, rel+"/"):
			isAbove = true
		}
	}
	return "", false, isAbove
}

func (c *checker) checkLinksOf(ctx context.Context, set linkSet, alg digest.Algorithm, dir string, found linked) error {
	entries, err := c.list(ctx, dir, set.repo)
	if err != nil {
		return err
	}
	for _, e := range entries {
		d, err := digest.FromHex(alg.String(), e.name)
		switch {
		case err != nil:
			c.foreign(ctx, e, set.repo, false)
		case !e.isDir():
			c.notDir(ctx, e, set.repo)
		default:
			if err := c.checkDigestDir(ctx, set, d, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkDigestDir checks the directory of one digest. A registry that deletes a
// link may leave it without one.
func (c *checker) checkDigestDir(ctx context.Context, set linkSet, d digest.Digest, found linked) error {
	entries, err := c.list(ctx, path.Dir(linkPath(set.dir, d)), set.repo)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case e.name == "link":
			err = c.checkLink(ctx, set, d, e, found)
		case e.isTemp("link"):
			c.temporary(ctx, e, set.repo)
		case set.signed && e.name == "signatures" && e.isDir():
			_, err = c.checkLinks(ctx, linkSet{links: links{set.driver, e.path}, repo: set.repo})
		default:
			c.foreign(ctx, e, set.repo, false)
		}
		if err != nil {
			return err
		}
		if _, linked := found[d]; e.name == "link" && !linked && c.options.Repair {
			return nil // it has been put aside, with all that is beside it
		}
	}
	return nil
}

func (c *checker) checkLink(ctx context.Context, set linkSet, d digest.Digest, e entry, found linked) error {
	c.summary.Links++
	target, err := set.get(ctx, d)
	switch {
	case errors.Is(err, errNoLink):
		return nil
	case errors.Is(err, ErrCorrupt):
		c.badLink(ctx, set, d, e, err, found)
		return nil
	case err != nil:
		found[d] = err
		return c.unreadable(ctx, e.path, set.repo, d.String(), err)
	case set.history:
		found[d] = nil
		return nil
	}
	f := Finding{Kind: FindingDangling, Damage: true, Repository: set.repo, Name: d.String(), Path: e.path}
	why := c.content(ctx, target)
	isLost := errors.Is(why, ErrBlobUnknown)
	if f.Reason = contentReason(why); why == nil && d != target {
		if why = c.checkAlias(ctx, d, target); why != nil {
			f.Kind, f.Reason = FindingUnreadable, why.Error()
			if isLost = errors.Is(why, ErrCorrupt); isLost {
				f.Kind = FindingCorrupt
			}
		}
	}
	found[d] = why
	if why == nil {
		return ctx.Err()
	}
	switch gone, err := c.isGone(ctx, e.path); {
	case err != nil:
		return c.unreadable(ctx, e.path, set.repo, d.String(), err)
	case gone:
		delete(found, d)
	case isLost:
		if c.report(ctx, f, c.putLinkAside(set.links, d, target)) {
			delete(found, d)
		}
	default:
		f.Remedy = "its content comes first"
		c.report(ctx, f, nil)
	}
	return ctx.Err()
}

// contentReason says what is the matter with the content of a link.
func contentReason(err error) string {
	switch {
	case errors.Is(err, ErrBlobUnknown):
		return "its content is missing"
	case errors.Is(err, ErrCorrupt):
		return "its content is corrupt"
	}
	return "its content cannot be read"
}

// checkAlias verifies content, known to be good, against another name of it.
func (c *checker) checkAlias(ctx context.Context, d, canonical digest.Digest) error {
	blob, err := openAs(ctx, c.registry.blobs, d, canonical)
	if err != nil {
		return err
	}
	return blob.Close()
}

// badLink reports a link that holds no digest, or another than it is named by.
// What it should hold its name says, unless that is provisional.
func (c *checker) badLink(ctx context.Context, set linkSet, d digest.Digest, e entry, why error, found linked) {
	found[d] = why
	f := Finding{Kind: FindingCorrupt, Damage: true, Repository: set.repo, Name: d.String(), Path: e.path, Reason: why.Error()}
	if e.isFile() && e.info.Size == 0 {
		f.Kind, f.Reason = FindingHalfWritten, "the link is empty"
	}
	lost := error(ErrBlobUnknown)
	switch {
	case set.history:
		lost = nil
	case digest.IsCanonical(d):
		lost = c.content(ctx, d)
	}
	switch {
	case lost == nil:
		if c.report(ctx, f, c.rewriteLink(set.links, d, e)) {
			found[d] = nil
		}
	case e.special && !digest.IsCanonical(d): // it may lead to what the name does not tell
		c.mayHide(e, set.repo)
		c.report(ctx, f, byHand)
	case errors.Is(lost, ErrBlobUnknown), errors.Is(lost, ErrCorrupt):
		if c.report(ctx, f, c.putLinkAside(set.links, d, "")) {
			delete(found, d)
		}
	default:
		f.Remedy = "its content cannot be looked at: " + lost.Error()
		c.report(ctx, f, nil)
	}
}
