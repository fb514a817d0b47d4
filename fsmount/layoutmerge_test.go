package fsmount

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/storage"
)

// tagsIn reads "v1=a v2=b =c": tags with manifests, which are called by what
// their content is; those without a tag have no name.
func tagsIn(text string) *manifest.Layout {
	l := &manifest.Layout{}
	for _, field := range strings.Fields(text) {
		tag, content, _ := strings.Cut(field, "=")
		l.Entries = append(l.Entries, manifest.LayoutEntry{Tag: tag, Descriptor: manifest.Descriptor{Digest: named(content)}})
	}
	return l
}

func named(content string) digest.Digest { return digest.FromBytes([]byte(content)) }

// versionOf is an index as somebody read it.
func versionOf(text string) *layoutVersion { return newVersion("", tagsIn(text)) }

func TestMergeLayout(t *testing.T) {
	const (
		nothing   = "nothing"   // is known of what the writer began with
		forgotten = "forgotten" // it is known that it began with something
	)
	for name, tc := range map[string]struct {
		bases   []string // that the writer has read
		written string
		current string // as it has become
		want    string // what changes: v1=a, -v1
	}{
		"nothing changes":                    {[]string{"v1=a"}, "v1=a", "v1=a", ""},
		"a tag is added":                     {[]string{"v1=a"}, "v1=a v2=b", "v1=a", "v2=b"},
		"a tag is moved":                     {[]string{"v1=a"}, "v1=b", "v1=a", "v1=b"},
		"a tag is removed":                   {[]string{"v1=a v2=b"}, "v1=a", "v1=a v2=b", "-v2"},
		"all of them are":                    {[]string{"v1=a v2=b"}, "", "v1=a v2=b", "-v1 -v2"},
		"a tag is renamed":                   {[]string{"v1=a"}, "v2=a", "v1=a", "v2=a -v1"},
		"the order does not matter":          {[]string{"v1=a v2=b v3=c"}, "v3=c v1=a v2=b", "v1=a v2=b v3=c", ""},
		"others add a tag":                   {[]string{"v1=a"}, "v1=a v2=b", "v1=a v3=c", "v2=b"},
		"others move another tag":            {[]string{"v1=a v2=b"}, "v1=a v2=x", "v1=y v2=b", "v2=x"},
		"others remove another tag":          {[]string{"v1=a v2=b"}, "v1=a v2=x", "v2=b", "v2=x"},
		"others move the same tag":           {[]string{"v1=a"}, "v1=b", "v1=c", "v1=b"},
		"others move it to the same":         {[]string{"v1=a"}, "v1=b", "v1=b", ""},
		"others remove the tag that moves":   {[]string{"v1=a"}, "v1=b", "", "v1=b"},
		"others move the tag that goes":      {[]string{"v1=a"}, "", "v1=b", "-v1"},
		"others have removed it already":     {[]string{"v1=a"}, "", "", ""},
		"others add the same tag":            {[]string{""}, "v1=b", "v1=a", "v1=b"},
		"the base was empty":                 {[]string{""}, "v1=a", "v2=b", "v1=a"},
		"nothing is known: all is meant":     {[]string{nothing}, "v1=b", "v1=a v2=c", "v1=b"},
		"nothing is known: nothing goes":     {[]string{nothing}, "", "v1=a", ""},
		"forgotten: nothing goes":            {[]string{forgotten}, "v2=b", "v1=a", "v2=b"},
		"one of two is forgotten":            {[]string{"v1=a", forgotten}, "", "v1=a", ""},
		"two were read, a tag in both":       {[]string{"v1=a v2=b", "v1=a v2=b v3=c"}, "v1=a", "v1=a v2=b v3=c", "-v2"},
		"two were read, a tag as in one":     {[]string{"v1=a", "v1=b"}, "v1=a v2=x", "v1=b", "v2=x"},
		"two were read, a tag as in neither": {[]string{"v1=a", "v1=b"}, "v1=c", "v1=b", "v1=c"},
		"without a name":                     {[]string{"v1=a"}, "v1=a =b", "v1=a", "=b"},
		"a tag moves, what it was stays":     {[]string{"v1=a"}, "v1=b =a", "v1=a", "v1=b =a"},
		"twice the same":                     {[]string{""}, "v1=a v1=a", "", "v1=a"},
		"twice, the old one and the new":     {[]string{"v1=a"}, "v1=a v1=b", "v1=a", "v1=b"},
		"twice, the new one and the old":     {[]string{"v1=a"}, "v1=b v1=a", "v1=a", "v1=b"},
		"twice, both new":                    {[]string{""}, "v1=a v1=b", "", "v1=b"},
	} {
		t.Run(name, func(t *testing.T) {
			var base layoutBase
			for _, text := range tc.bases {
				switch text {
				case nothing:
				case forgotten:
					base.isForgotten = true
				default:
					base.versions = append(base.versions, versionOf(text))
				}
			}
			changes := mergeLayout(tagsIn(tc.written), base, versionOf(tc.current).tags)
			require.Equal(t, tc.want, changes.text())
		})
	}
}

// text is the changes as the table has them.
func (c layoutChanges) text() string {
	contents := map[digest.Digest]string{}
	for _, content := range []string{"a", "b", "c", "x", "y"} {
		contents[named(content)] = content
	}
	var fields []string
	for _, e := range c.set {
		fields = append(fields, e.Tag+"="+contents[e.Digest])
	}
	for _, desc := range c.nameless {
		fields = append(fields, "="+contents[desc.Digest])
	}
	for _, tag := range c.remove {
		fields = append(fields, "-"+tag)
	}
	return strings.Join(fields, " ")
}

func TestLayoutBases(t *testing.T) {
	a, b := process{1, "1"}, process{2, "1"}
	version := func(generation, text string) *layoutVersion { return newVersion(generation, tagsIn(text)) }
	bases := newIndexBases()
	require.Equal(t, layoutBase{}, bases.of("app", a, ""), "who has read nothing began with nothing")
	require.Equal(t, layoutBase{isForgotten: true}, bases.of("app", a, "g0"))

	first, second := version("g1", "v1=a"), version("g2", "v1=a v2=b")
	bases.read("app", a, first)
	bases.read("app", a, version("g1", "v1=a"))
	bases.read("app", b, second)
	require.Equal(t, []*layoutVersion{first}, bases.of("app", a, "").versions)
	require.Equal(t, []*layoutVersion{second}, bases.of("app", a, "g2").versions, "the document knows better")
	require.Empty(t, bases.of("other", a, "").versions, "repositories have nothing to do with each other")
	require.True(t, bases.of("other", a, "g1").isForgotten)
	require.Empty(t, bases.of("app", process{1, "2"}, "").versions, "another process had the number before")

	bases.read("app", a, second)
	require.Len(t, bases.of("app", a, "").versions, 2)

	// What a process has written is what it goes on from, be it without reading
	// again.
	written := version("g2", "v1=a v2=b v3=c")
	bases.wrote("app", a, written)
	require.Equal(t, []*layoutVersion{written}, bases.of("app", a, "g2").versions)
	require.Equal(t, []*layoutVersion{written}, bases.of("app", a, "").versions)
	require.Equal(t, []*layoutVersion{second}, bases.of("app", b, "g2").versions)
	third := version("g3", "v3=c")
	bases.read("app", a, third)
	require.Equal(t, []*layoutVersion{third}, bases.of("app", a, "").versions)
	require.Equal(t, []*layoutVersion{third}, bases.of("app", a, "g3").versions)

	// A process that is not known has no base.
	bases.wrote("app", process{}, written)
	require.Equal(t, layoutBase{}, bases.of("app", process{}, ""))
}

func TestLayoutBasesAreBounded(t *testing.T) {
	bases := newIndexBases()
	big := func(generation string) *layoutVersion {
		v := newVersion(generation, tagsIn("v1=a"))
		for i := range maxVersionEntries / 4 {
			v.nameless[digest.Digest(fmt.Sprint(i))] = true
		}
		return v
	}
	by := process{1, "1"}
	for i := range 6 {
		bases.read("app", by, big(fmt.Sprint("g", i)))
		require.LessOrEqual(t, bases.entries, maxVersionEntries)
	}
	require.True(t, bases.of("app", by, "g0").isForgotten)
	require.Len(t, bases.of("app", by, "g5").versions, 1)
	require.True(t, bases.of("app", by, "").isForgotten, "so nothing that it leaves out counts as removed")

	for i := range maxReaders + 10 {
		bases.read("app", process{10 + i, "1"}, versionOf("v1=a"))
	}
	require.LessOrEqual(t, len(bases.readers), maxReaders)

	many := process{2, "1"}
	for i := range maxReadVersions + 1 {
		bases.read("app", many, newVersion(fmt.Sprint("m", i), tagsIn("v1=a")))
	}
	require.Len(t, bases.readers[indexReader{"app", many}].seen, maxReadVersions)
	require.True(t, bases.of("app", many, "").isForgotten)

	old := process{3, "1"}
	bases.read("app", old, versionOf("v1=a"))
	bases.readers[indexReader{"app", old}].when = time.Now().Add(-2 * baseAge)
	require.Equal(t, layoutBase{}, bases.of("app", old, ""))
	for range maxRemoved + 1 {
		bases.removed("app", many, leftContent{link: storage.Link{Digest: named("a")}})
	}
	require.Len(t, bases.takeRemoved("app", many), maxRemoved)
	require.Empty(t, bases.takeRemoved("app", many))
}
