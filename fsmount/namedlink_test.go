package fsmount

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A link may be found once more just before the kernel has forgotten it: then
// the kernel knows it all the same.
func TestLinkIsRenamedThatWasForgottenWhileItWasFound(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	p := place{repo: "app", view: viewTags}
	first := f.namedLink(p, "first")
	first.Known()
	found := f.namedLink(p, "first")
	first.Forget()
	found.Known()
	f.links.rename(placeName{p, "first"}, placeName{p, "second"})
	require.Equal(t, "second", found.name().name)
	require.Same(t, found, f.namedLink(p, "second"))
}

// Where one link has replaced another, the kernel knows both for a while.
func TestLinksThatReplaceOthers(t *testing.T) {
	f := newTestFileSystem(t, Options{})
	p := place{repo: "app", view: viewTags}
	old, temporary := f.namedLink(p, "v1"), f.namedLink(p, ".v1")
	old.Known()
	temporary.Known()
	f.links.rename(temporary.name(), old.name())
	require.Same(t, temporary, f.namedLink(p, "v1"))
	old.Forget()
	require.Same(t, temporary, f.namedLink(p, "v1"))
	temporary.Forget()
	require.NotSame(t, temporary, f.namedLink(p, "v1"))
	require.Empty(t, f.links.byName, "nothing is left of what was forgotten, or never known")
}
