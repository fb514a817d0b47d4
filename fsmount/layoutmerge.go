package fsmount

import (
	"maps"
	"slices"

	"registryfs/digest"
	"registryfs/manifest"
)

// lists reports whether a manifest is in the index, under whatever name.
func (v *layoutVersion) lists(d digest.Digest) bool {
	if v.nameless[d] {
		return true
	}
	for _, tagged := range v.tags {
		if tagged == d {
			return true
		}
	}
	return false
}

// layoutBase is what a writer of an index.json began with, so far as that is
// known: the tags of one index or, where it has read several, of each.
type layoutBase struct {
	versions []*layoutVersion
	// isForgotten says that it began with one that is not remembered.
	isForgotten bool
}

// layoutVersion is an index as somebody read or wrote it.
type layoutVersion struct {
	generation string
	tags       map[string]digest.Digest
	nameless   map[digest.Digest]bool
}

func newVersion(generation string, l *manifest.Layout) *layoutVersion {
	v := &layoutVersion{generation: generation, tags: map[string]digest.Digest{}, nameless: map[digest.Digest]bool{}}
	for _, e := range l.Entries {
		if e.Tag != "" {
			v.tags[e.Tag] = e.Digest
		} else {
			v.nameless[e.Digest] = true
		}
	}
	return v
}

// had reports whether the writer found the tag as it now gives it.
func (b layoutBase) had(tag string, d digest.Digest) bool {
	return slices.ContainsFunc(b.versions, func(v *layoutVersion) bool { return v.tags[tag] == d })
}

// knew reports whether the writer found a manifest, under whatever name.
func (b layoutBase) knew(d digest.Digest) bool {
	return slices.ContainsFunc(b.versions, func(v *layoutVersion) bool { return v.lists(d) })
}

// layoutChanges is what the writer of an index means to change.
type layoutChanges struct {
	set      []manifest.LayoutEntry // tags that are new or moved
	remove   []string               // tags
	nameless []manifest.Descriptor  // manifests that are to be there without a tag
}

// mergeLayout finds what a writer changed from its base, whatever others have
// done since: their changes to other tags stay, and of two changes of one tag
// the later wins. current is the tags as they are.
//
// A tag counts as removed only if the writer found it in every index that it
// may have begun with. Where nothing is known of that, everything in the index
// is meant, and nothing was removed. A tag that stands more than once is what
// the writer did not find; of several such, the last.
func mergeLayout(written *manifest.Layout, base layoutBase, current map[string]digest.Digest) layoutChanges {
	var changes layoutChanges
	listed := map[string]bool{}
	meant := map[string]manifest.LayoutEntry{}
	for _, e := range written.Entries {
		listed[e.Tag] = true
		switch {
		case e.Tag == "":
			changes.nameless = append(changes.nameless, e.Descriptor)
		case !base.had(e.Tag, e.Digest):
			meant[e.Tag] = e
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(meant)) {
		if e := meant[tag]; current[tag] != e.Digest {
			changes.set = append(changes.set, e)
		}
	}
	if len(base.versions) == 0 || base.isForgotten {
		return changes
	}
	for _, tag := range slices.Sorted(maps.Keys(base.versions[0].tags)) {
		isRemoved := !listed[tag] && current[tag] != ""
		for _, v := range base.versions {
			isRemoved = isRemoved && v.tags[tag] != ""
		}
		if isRemoved {
			changes.remove = append(changes.remove, tag)
		}
	}
	return changes
}
