package storage

import (
	"context"
	"errors"
	"path"

	"registryfs/digest"
)

// checkTags checks all that is in the directory of the tags, where nothing
// else may be.
func (r *repoCheck) checkTags(ctx context.Context) error {
	entries, err := r.list(ctx, tagsPath(r.repo.name), r.repo.name)
	if err != nil {
		return err
	}
	old := map[digest.Digest]bool{}
	for _, e := range entries {
		if !e.isDir() || CheckTag(e.name) != nil {
			r.foreign(ctx, e, r.repo.name, true)
			continue
		}
		r.summary.Tags++
		if err := r.checkTag(ctx, e, old); err != nil {
			return err
		}
	}
	return nil
}

// checkTag checks the history of a tag, and its value. old is the manifests of
// registry 2.1.0 that were seen.
func (r *repoCheck) checkTag(ctx context.Context, tag entry, old map[digest.Digest]bool) error {
	entries, err := r.list(ctx, tag.path, r.repo.name)
	if err != nil {
		return err
	}
	history, value := linked{}, entry{}
	for _, e := range entries {
		switch {
		case e.path == path.Dir(currentPath(tag.path)):
			value = e
		case e.path == indexPath(tag.path) && e.isDir():
			set := linkSet{links: links{r.registry.driver, e.path}, repo: r.repo.name, history: true}
			if history, err = r.checkLinks(ctx, set); err != nil {
				return err
			}
		case e.path == indexPath(tag.path):
			r.notDir(ctx, e, r.repo.name)
		default:
			r.foreign(ctx, e, r.repo.name, false)
		}
	}
	var current *entry
	switch {
	case value.special: // the tag may have a value that cannot be seen
		r.notDir(ctx, value, r.repo.name)
		return ctx.Err()
	case value.isDir():
		if current, err = r.findCurrent(ctx, tag); err != nil {
			return err
		}
	}
	for range moveTries {
		if err = r.checkCurrent(ctx, tag, current, history, old); !errors.Is(err, errMoved) {
			return err
		}
	}
	return nil
}

// findCurrent is the file that holds the value of a tag, or nil.
func (r *repoCheck) findCurrent(ctx context.Context, tag entry) (*entry, error) {
	entries, err := r.list(ctx, path.Dir(currentPath(tag.path)), r.repo.name)
	var current *entry
	for _, e := range entries {
		switch {
		case e.path == currentPath(tag.path):
			current = &e
		case e.isTemp("link"):
			r.temporary(ctx, e, r.repo.name)
		default:
			r.foreign(ctx, e, r.repo.name, false)
		}
	}
	return current, err
}

// checkCurrent checks the value of a tag. Where that changes meanwhile it is
// errMoved.
func (r *repoCheck) checkCurrent(ctx context.Context, tag entry, current *entry, history linked, old map[digest.Digest]bool) error {
	f := Finding{Damage: true, Repository: r.repo.name, Name: tag.name, Path: currentPath(tag.path)}
	d, err := r.value(ctx, tag)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrTagUnknown):
		return nil
	case err != nil && !errors.Is(err, errNoLink) && !errors.Is(err, ErrCorrupt):
		return r.unreadable(ctx, f.Path, r.repo.name, tag.name, err)
	case err != nil && current == nil, errors.Is(err, errNoLink):
		f.Kind, f.Reason = FindingHalfWritten, "the tag has no value"
		r.report(ctx, f, r.trashTag(tag, ""))
		return nil
	case errors.Is(err, ErrCorrupt):
		f.Kind, f.Reason = FindingCorrupt, err.Error()
		if current.isFile() && current.info.Size == 0 {
			f.Kind, f.Reason = FindingHalfWritten, "the value of the tag is empty"
		}
		fix := r.trashTag(tag, "")
		if current.special {
			fix = byHand
		}
		if only, ok := r.onlyValue(history); ok && !current.info.IsDir {
			fix = r.restoreTag(tag, only)
		}
		r.report(ctx, f, fix)
		return nil
	}
	why, ok := r.revisions[d]
	if !ok || why != nil {
		if why, ok, err = r.linkNow(ctx, r.repo.manifests().links, d, r.revisions); err != nil {
			return r.unreadable(ctx, f.Path, r.repo.name, tag.name, err)
		}
	}
	switch {
	case ok && why == nil:
		return ctx.Err()
	case ok:
		f.Reason, f.Remedy = "it names "+d.String()+", which is damaged", "the manifest comes first"
		return r.dangles(ctx, tag, d, f, nil)
	}
	return r.checkUnlinked(ctx, tag, d, f, old)
}

// checkUnlinked checks a tag whose manifest is not linked as one.
func (r *repoCheck) checkUnlinked(ctx context.Context, tag entry, d digest.Digest, f Finding, old map[digest.Digest]bool) error {
	isOld, err := r.isOldManifest(ctx, d)
	if err == nil && isOld {
		if old[d] {
			return ctx.Err()
		}
		old[d] = true
		return r.checkManifest(ctx, d, linkPath(layersPath(r.repo.name), d))
	}
	if err != nil {
		return r.unreadable(ctx, f.Path, r.repo.name, tag.name, err)
	}
	f.Reason = "it names " + d.String() + ", which the repository does not have"
	return r.dangles(ctx, tag, d, f, r.trashTag(tag, d))
}

// onlyValue is the one manifest that a tag has ever named.
func (r *repoCheck) onlyValue(history linked) (only digest.Digest, ok bool) {
	if len(history) != 1 {
		return "", false
	}
	for d, why := range history {
		revision, has := r.revisions[d]
		only, ok = d, why == nil && has && revision == nil
	}
	return only, ok
}
