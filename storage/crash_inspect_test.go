package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"strings"
	"time"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// The files that a store may have, whatever happened to it.
var (
	dataFile    = regexp.MustCompile(`^docker/registry/v2/blobs/sha256/([0-9a-f]{2})/([0-9a-f]{64})/data$`)
	setFile     = regexp.MustCompile(`^docker/registry/v2/repositories/([a-z/]+)/(_layers|_manifests/revisions)/(sha256|sha512)/([0-9a-f]+)/link$`)
	tagDir      = regexp.MustCompile(`^docker/registry/v2/repositories/([a-z/]+)/_manifests/tags/([^/]+)$`)
	currentFile = regexp.MustCompile(`^docker/registry/v2/repositories/([a-z/]+)/_manifests/tags/([^/]+)/current/link$`)
	indexFile   = regexp.MustCompile(`^docker/registry/v2/repositories/([a-z/]+)/_manifests/tags/([^/]+)/index/(sha256)/([0-9a-f]+)/link$`)
	startedFile = regexp.MustCompile(`/_uploads/[0-9a-f-]{36}/startedat$`)
	leftOver    = regexp.MustCompile(`/_uploads/[0-9a-f-]{36}/(data|hashstates/sha256/\d+)$|^registryfs/(staging|trash|quarantine|uploads)/`)
	temporary   = regexp.MustCompile(`/(link|startedat|hashstates/sha256/\d+)\.[A-Z2-7]{26}\.tmp$`)
)

const (
	layerSet    = "/_layers"
	revisionSet = "/_manifests/revisions"
)

// digests is a set of links: what each is named, and holds.
type digests map[digest.Digest]digest.Digest

// raw is a store as its files say.
type raw struct {
	content map[digest.Digest]string
	sets    map[string]digests                  // by "repo/_layers"
	history map[string]digests                  // by "repo:tag"
	tags    map[string]map[string]digest.Digest // by repository
	tagDirs []string
	uploads int // files of uploads
}

// inspect reads the files of a store and reports what no crash may leave:
// content that is not its name's, a link that is not whole or names nothing, a
// tag without a value or a history, a manifest without its blobs, a tagged
// index without its children, a file that nobody will ever collect. The content
// of damaged may be anything, or missing.
func inspect(root string, damaged digest.Digest) (*raw, error) {
	store := &raw{
		content: map[digest.Digest]string{},
		sets:    map[string]digests{},
		history: map[string]digests{},
		tags:    map[string]map[string]digest.Digest{},
	}
	fsys := os.DirFS(root)
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if tagDir.MatchString(name) {
				store.tagDirs = append(store.tagDirs, name)
			}
			return nil
		}
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		return store.take(name, string(content), damaged)
	})
	if err != nil {
		return nil, err
	}
	return store, errors.Join(store.taggedWhole(), store.linkedWhole(damaged))
}

// take takes note of a file.
func (s *raw) take(name, content string, damaged digest.Digest) error {
	if m := dataFile.FindStringSubmatch(name); m != nil {
		d := digest.Digest("sha256:" + m[2])
		if d != damaged && (digest.FromBytes([]byte(content)) != d || m[1] != m[2][:2]) {
			return fmt.Errorf("%s has other content: %d bytes", name, len(content))
		}
		s.content[d] = content
		return nil
	}
	if m := setFile.FindStringSubmatch(name); m != nil {
		return takeLink(s.sets, m[1]+"/"+m[2], m[3]+":"+m[4], content)
	}
	if m := indexFile.FindStringSubmatch(name); m != nil {
		return takeLink(s.history, m[1]+":"+m[2], m[3]+":"+m[4], content)
	}
	if m := currentFile.FindStringSubmatch(name); m != nil {
		d, err := digest.Parse(content)
		if s.tags[m[1]] == nil {
			s.tags[m[1]] = map[string]digest.Digest{}
		}
		s.tags[m[1]][m[2]] = d
		return err
	}
	if startedFile.MatchString(name) {
		s.uploads++
		_, err := time.Parse(time.RFC3339, content)
		return err
	}
	if strings.HasSuffix(name, "/data") {
		s.uploads++
	}
	if !leftOver.MatchString(name) && !temporary.MatchString(name) {
		return fmt.Errorf("%s will never be collected", name)
	}
	return nil
}

// takeLink takes note of a link file, which must hold a digest: its own, unless
// the name is provisional.
func takeLink(sets map[string]digests, set, name, content string) error {
	d, err := digest.Parse(content)
	if err != nil {
		return fmt.Errorf("the link %s in %s: %w", name, set, err)
	}
	if strings.HasPrefix(name, "sha256:") && content != name {
		return fmt.Errorf("the link %s in %s names %s", name, set, content)
	}
	if sets[set] == nil {
		sets[set] = digests{}
	}
	sets[set][digest.Digest(name)] = d
	return nil
}

// taggedWhole reports tags that are not whole, or name what is not there.
func (s *raw) taggedWhole() error {
	for _, dir := range s.tagDirs {
		m := tagDir.FindStringSubmatch(dir)
		d := s.tags[m[1]][m[2]]
		switch {
		case d == "":
			return fmt.Errorf("%s is a tag without a value", dir)
		case s.history[m[1]+":"+m[2]][d] != d:
			return fmt.Errorf("%s is a tag that never named %s", dir, d)
		}
		revisions := s.sets[m[1]+revisionSet]
		if revisions[d] == "" {
			return fmt.Errorf("%s names a manifest that is not there", dir)
		}
		refs, err := s.references(revisions[d])
		if err != nil {
			return err
		}
		for _, child := range refs.Manifests {
			if revisions[child.Digest] == "" {
				return fmt.Errorf("%s names an index without its child %s", dir, child.Digest)
			}
		}
	}
	return nil
}

// linkedWhole reports links and references to what is not there.
func (s *raw) linkedWhole(damaged digest.Digest) error {
	for set, links := range s.sets {
		repo, isRevisions := strings.CutSuffix(set, revisionSet)
		for d, canonical := range links {
			if _, ok := s.content[canonical]; !ok && canonical != damaged {
				return fmt.Errorf("%s in %s has no content", d, set)
			}
			if !isRevisions {
				continue
			}
			refs, err := s.references(canonical)
			if err != nil {
				return fmt.Errorf("manifest %s: %w", d, err)
			}
			for _, blob := range refs.RequiredBlobs() {
				if s.sets[repo+layerSet][blob.Digest] == "" {
					return fmt.Errorf("manifest %s in %s references %s, which is not there", d, repo, blob.Digest)
				}
			}
		}
	}
	return nil
}

func (s *raw) references(d digest.Digest) (manifest.References, error) {
	parsed, err := manifest.Parse("", []byte(s.content[d]))
	if err != nil {
		return manifest.References{}, err
	}
	return parsed.References(), nil
}

// sight is all that a registry shows but its uploads: "app tag v1" with the
// digest, "app blob sha256:…" and "app manifest sha256:…" with the content.
type sight map[string]string

// damagedContent is what shows of content that is corrupt or missing.
const damagedContent = "(damaged)"

// see reads all of a registry.
func see(ctx context.Context, reg storage.Registry) (sight, error) {
	seen := sight{}
	err := storage.Walk(ctx, reg, func(name string) error {
		repo, err := reg.Repository(name)
		if err != nil {
			return err
		}
		tags, err := repo.Tags().All(ctx)
		if err != nil {
			return err
		}
		for _, tag := range tags {
			value, err := repo.Tags().Get(ctx, tag)
			seen[name+" tag "+tag] = value.Digest.String()
			if isDamage(err) {
				seen[name+" tag "+tag] = damagedContent
			} else if err != nil {
				return err
			}
		}
		err = repo.Manifests().Enumerate(ctx, func(d digest.Digest) error {
			parsed, err := repo.Manifests().Get(ctx, d)
			if isDamage(err) {
				seen[name+" manifest "+d.String()] = damagedContent
			} else if err == nil {
				seen[name+" manifest "+d.String()] = string(parsed.Payload())
			}
			return ignoreDamage(err)
		})
		if err != nil {
			return err
		}
		return repo.Blobs().Enumerate(ctx, func(d digest.Digest) error {
			content, err := repo.Blobs().Get(ctx, d)
			if isDamage(err) {
				content = []byte(damagedContent)
			}
			seen[name+" blob "+d.String()] = string(content)
			return ignoreDamage(err)
		})
	})
	return seen, err
}

// isDamage reports whether content, or a link to it, is corrupt or missing.
func isDamage(err error) bool {
	return errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrBlobUnknown) || errors.Is(err, storage.ErrManifestUnknown)
}

func ignoreDamage(err error) error {
	if isDamage(err) {
		return nil
	}
	return err
}

// between reports what is neither as it was nor as it was to become.
func (s sight) between(before, after sight) error {
	all := maps.Clone(before)
	maps.Copy(all, after)
	maps.Copy(all, s)
	for key := range all {
		if s[key] != before[key] && s[key] != after[key] {
			return fmt.Errorf("%s is %q; it was %q and was to be %q", key, s[key], before[key], after[key])
		}
	}
	return nil
}
