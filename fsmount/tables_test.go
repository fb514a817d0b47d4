package fsmount

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"bazil.org/fuse"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/storage"
)

func header(tid uint32) *fuse.Header { return &fuse.Header{Pid: tid} }

func TestFailuresKeepsTheLast(t *testing.T) {
	var f failures
	when := time.Date(2024, 5, 6, 7, 8, 9, 10, time.FixedZone("", 3600))
	f.add(when, 12, "close", "/a", "first\nsecond\t third")
	require.Equal(t, "2024-05-06T06:08:09.00000001Z 12 close /a first second third\n", string(f.content()))
	for i := range maxFailures + 5 {
		f.add(when, 1, "open", "/x", fmt.Sprint("reason ", i))
	}
	lines := strings.Split(strings.TrimSpace(string(f.content())), "\n")
	require.Len(t, lines, maxFailures)
	require.True(t, strings.HasSuffix(lines[0], " reason 5"), lines[0])
	require.True(t, strings.HasSuffix(lines[maxFailures-1], fmt.Sprint(" reason ", maxFailures+4)))
}

func TestAFailureIsOneLineOfText(t *testing.T) {
	var f failures
	for _, c := range []struct{ path, reason, want string }{
		{"/bad\n2026-11-30T01:26:34Z 1 close forged", "no", `/bad\n2026-11-30T01:26:34Z 1 close forged no`},
		{"/a\rb\x00\x7f\x1b[2J", "\x1b[2J", `/a\rb\x00\x7f\x1b[2J \x1b[2J`},
		{"/\xff\xc3", "\xfe", `/\xff\xc3 \xfe`},
		{"/a\u2028b\u0085c\u202ed", "x", `/a\u2028b\u0085c\u202ed x`},
		{`/a\nb`, `"q"`, `/a\\nb "q"`},
		{"/läuft 'so' \"wie\" 名", "größer", `/läuft 'so' "wie" 名 größer`},
	} {
		f.add(time.Unix(0, 0), 1, "close", c.path, c.reason)
		require.True(t, strings.HasSuffix(string(f.content()), " 1 close "+c.want+"\n"), "%s", f.content())
	}
	require.Equal(t, 6, strings.Count(string(f.content()), "\n"))
	require.True(t, utf8.Valid(f.content()))
	require.Len(t, f.content(), f.length())
}

func TestAliasesAreKeptUpToALimit(t *testing.T) {
	n := newNames(func(string) {})
	p := place{repo: "app", view: viewBlobs}
	d := digest.FromBytes([]byte("x"))
	name := func(i int) string { return fmt.Sprint("alias", i) }
	for i := range maxAliases {
		n.putAlias(p, name(i), d)
	}
	n.putAlias(p, name(5), d) // the same again is no further one
	_, ok := n.get(p, name(0))
	require.True(t, ok)
	n.remove(p, name(1), local{alias: d})
	n.putAlias(p, "newest", d)
	_, ok = n.get(p, name(0))
	require.False(t, ok, "the oldest goes")
	for _, kept := range []string{name(2), name(maxAliases - 1), "newest"} {
		l, ok := n.get(p, kept)
		require.True(t, ok, kept)
		require.Equal(t, d, l.alias)
	}
	count := 0
	n.eachAlias(p, func(string) { count++ })
	require.LessOrEqual(t, count, maxAliases)
	for i := range 2 * maxAliases {
		n.putAlias(place{repo: "other", view: viewBlobs}, name(i), d)
	}
	require.Len(t, n.places, 1, "places without names go as well")
}

func TestNames(t *testing.T) {
	n := newNames(func(string) {})
	p, other := place{repo: "app", view: viewTags}, place{repo: "app", view: viewTags, gen: 1}
	n.put(p, ".a", local{link: "v1"})
	_, ok := n.get(other, ".a")
	require.False(t, ok, "a repository that was made again has no names")
	n.putNew(p, ".a", local{link: "v2"})
	l, ok := n.get(p, ".a")
	require.True(t, ok)
	require.Equal(t, "v1", l.link, "the name is taken")
	n.remove(p, ".a", local{link: "v2"})
	_, ok = n.get(p, ".a")
	require.True(t, ok, "it stands for something else")
	n.remove(p, ".a", local{link: "v1"})
	_, ok = n.get(p, ".a")
	require.False(t, ok)
	n.eachAlias(p, func(string) { t.Error("there is none") })
}

func TestPlaceholdersAreForgotten(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	p := place{repo: "app", view: viewTags}
	tg, err := p.targetOf("v1")
	require.NoError(t, err)
	file, err := f.newStagedFile(tg)
	require.NoError(t, err)
	f.names.put(p, "v1", local{file: file})
	_, ok := f.names.get(p, "v1")
	require.True(t, ok)
	require.Len(t, f.names.files(), 1)

	file.changed = time.Now().Add(-placeholderAge - time.Second)
	file.writers = 1
	_, ok = f.names.get(p, "v1")
	require.True(t, ok, "it is open")
	file.writers = 0
	_, ok = f.names.get(p, "v1")
	require.False(t, ok)
	require.Empty(t, f.names.files())

	f.names.put(p, "v1", local{file: file})
	file.isTouched = true
	_, ok = f.names.get(p, "v1")
	require.True(t, ok, "it holds something")
}

func TestReadlinksAreTakenOnce(t *testing.T) {
	r := newReadlinks()
	d := digest.FromBytes([]byte("x"))
	tag := followed{place: place{repo: "app", view: viewTags}, name: "v1", digest: d}
	for _, tc := range []struct {
		name string
		note func()
		repo string
		d    digest.Digest
		want bool
	}{
		{"nothing was read", func() {}, "app", d, false},
		{"by another thread", func() { r.note(2, tag) }, "app", d, false},
		{"of another repository", func() { r.note(1, tag) }, "other", d, false},
		{"to other content", func() { r.note(1, tag) }, "app", digest.FromBytes([]byte("y")), false},
		{"long ago", func() {
			r.note(1, tag)
			r.last[1] = followed{tag.place, tag.name, d, time.Now().Add(-readlinkAge - time.Second)}
		}, "app", d, false},
		{"just now", func() { r.note(1, tag) }, "app", d, true},
		{"taken already", func() {}, "app", d, false},
		{"the last of two", func() {
			r.note(1, followed{place: tag.place, name: "old", digest: d})
			r.note(1, tag)
		}, "app", d, true},
	} {
		tc.note()
		got, ok := r.take(1, tc.repo, tc.d)
		require.Equal(t, tc.want, ok, tc.name)
		if ok {
			require.Equal(t, "v1", got.name, tc.name)
		}
	}
	for tid := range uint32(2 * maxReadlinks) {
		r.note(tid, tag)
	}
	require.LessOrEqual(t, len(r.last), maxReadlinks)
	_, ok := r.take(2*maxReadlinks-1, "app", d)
	require.True(t, ok, "the last is remembered")
}

func TestRecentIsBounded(t *testing.T) {
	r := newRecent()
	p := place{repo: "app", view: viewBlobs}
	r.note(p, "a")
	r.note(place{repo: "app", view: viewTags}, "v1")
	require.Len(t, r.names, 1, "tags are not hidden")
	require.False(t, r.hides(p, "a", 0), "nobody creates it")
	r.names[placeName{p, "a"}] = time.Now().Add(-2 * recentAge)
	for i := range maxRecent - 1 {
		r.note(p, fmt.Sprint(i))
	}
	require.Len(t, r.names, maxRecent)
	r.note(p, "one more")
	require.NotContains(t, r.names, placeName{p, "a"}, "the old goes first")
	require.Len(t, r.names, maxRecent)
	r.note(p, "yet another")
	require.LessOrEqual(t, len(r.names), maxRecent)
	require.Contains(t, r.names, placeName{p, "yet another"})
}

func TestWaiting(t *testing.T) {
	w := newWaiting()
	for _, name := range []string{"a", "a/b", "ab"} {
		require.NoError(t, w.add(name))
	}
	require.ElementsMatch(t, []string{"a", "ab"}, w.below(""))
	require.Equal(t, []string{"a/b"}, w.below("a"))
	require.False(t, w.remove("a"), "others wait below")
	require.True(t, w.has("a"))
	require.True(t, w.remove("a/b"))
	require.True(t, w.remove("a"))
	require.False(t, w.has("a"))
	require.True(t, w.has("ab"))
	require.Zero(t, w.generation("a"))
	require.NotZero(t, w.generation("ab"))
}

func TestGenerationsAreBounded(t *testing.T) {
	w := newWaiting()
	made := map[uint64]bool{}
	for range 3 * maxGenerations { // what is removed is not remembered
		require.NoError(t, w.add("a"))
		gen := w.generation("a")
		require.False(t, made[gen], "it had another's")
		made[gen] = true
		require.NoError(t, w.add("a"), "it is there")
		require.Equal(t, gen, w.generation("a"))
		require.True(t, w.remove("a"))
	}
	require.Empty(t, w.generations.byName)

	const waits, lately, used, idle = "waits", "lately", "used", "idle"
	w.generations.many = 4
	for _, name := range []string{waits, lately, used, idle} {
		require.False(t, w.isFull())
		require.NoError(t, w.add(name))
	}
	require.True(t, w.isFull())
	w.prune(func(name string) bool { return name != waits })
	w.forget(func(madeDir) bool { return false })
	require.Len(t, w.generations.byName, 4, "all have been asked for")
	gens := map[string]uint64{}
	for _, name := range []string{waits, used, idle} {
		gens[name] = w.generation(name)
		w.generations.byName[name] = generation{gens[name], time.Now().Add(-2 * generationAge)}
	}
	w.forget(func(dir madeDir) bool {
		require.Equal(t, gens[dir.name], dir.number)
		require.NotEqual(t, waits, dir.name)
		require.NotEqual(t, lately, dir.name)
		return dir.name == used
	})
	require.Zero(t, w.generation(idle))
	for _, name := range []string{waits, lately, used} {
		require.NotZero(t, w.generation(name), name)
	}
	require.Equal(t, maxGenerations, w.generations.many)
}

// A directory that was made keeps its generation while the mount has names in
// it, and until then content that comes changes nothing.
func TestMadeDirectoriesAreForgotten(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	root, err := f.Root()
	require.NoError(t, err)
	mkdir := func(name string) repoDir {
		dir, err := root.(repoDir).Mkdir(t.Context(), &fuse.MkdirRequest{Header: *me(), Name: name})
		require.NoError(t, err)
		return dir.(repoDir)
	}
	one, two := mkdir("one"), mkdir("two")
	require.NotEqual(t, one.gen, two.gen)
	for _, dir := range []repoDir{one, two} {
		f.putImage(t, dir.name, "v1")
		found, err := f.lookup(t.Context(), dir.name)
		require.NoError(t, err)
		require.Equal(t, dir, found)
	}
	f.names.putAlias(place{repo: "one", gen: one.gen, view: viewBlobs}, "alias", digest.FromBytes(nil))
	for name, known := range f.waiting.generations.byName {
		known.asked = time.Now().Add(-2 * generationAge)
		f.waiting.generations.byName[name] = known
	}
	f.waiting.generations.many = 2
	mkdir("three")
	require.NotContains(t, f.waiting.generations.byName, "two")
	require.Equal(t, one.gen, f.waiting.generation("one"))
	require.NotZero(t, f.waiting.generation("three"))
}

func TestInodesAreBounded(t *testing.T) {
	i := newInodes()
	require.Equal(t, maxInodes, i.max)
	i.max = 4
	d := func(n int) digest.Digest { return digest.Digest(fmt.Sprint("sha256:", n)) }
	kept, seen := i.of(d(0)), map[uint64]bool{}
	for n := 1; n <= 100; n++ {
		require.Equal(t, kept, i.of(d(0)), "it is asked for all the time")
		number := i.of(d(n))
		require.False(t, seen[number] || number == kept, "no number is that of two")
		seen[number] = true
		require.Equal(t, number, i.of(d(n)))
		require.LessOrEqual(t, len(i.recent)+len(i.old), 2*i.max)
	}
	require.False(t, seen[i.of(d(1))], "it was forgotten")
	require.False(t, seen[i.next()])
}

func TestHiddenBlobsAreBounded(t *testing.T) {
	c := newContent()
	link := func(n int) storage.Link { return storage.Link{Digest: digest.Digest(fmt.Sprint("sha256:", n))} }
	for n := range maxHidden {
		require.True(t, c.hide("app", link(n)))
	}
	require.False(t, c.hide("app", link(maxHidden)))
	require.True(t, c.hide("app", link(0)), "it is hidden")
	c.unhide("app", link(0).Digest)
	require.True(t, c.hide("app", link(maxHidden)))
}
