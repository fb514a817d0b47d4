package fsmount_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// replay makes the calls of a trace in a layout, each process of it in one of
// its own, and checks what the layout has then.
func (r *repo) replay(t *testing.T, tr *trace, dir, how string) {
	t.Helper()
	script := `FSMOUNT_TEST_ROLE=replay "$SELF" "$1" "$2" "$3"`
	if len(tr.given) > 0 {
		r.ok(t, script, dir, tr.name, "given")
	}
	r.ok(t, script, dir, tr.name, how)
	require.Equal(t, strings.Join(tr.left(), "\n"), r.ok(t, `cd "$1/blobs/sha256"; ls -A`, dir))
	require.Equal(t, strings.Join(tr.left(), "\n"), r.ok(t, `cd "$1/blobs/sha256"; for hex in $(ls); do sha256sum <"$hex"; done | cut -c-64`, dir))
}

// Traces replay on a disk as they were recorded: what they want of a mount is
// what they had.
func TestTracesOnADisk(t *testing.T) {
	t.Parallel()
	r := &repo{mount: &mounted{}, work: t.TempDir()}
	for _, tr := range traces(t) {
		t.Run(tr.name, func(t *testing.T) { r.replay(t, tr, r.work+"/"+tr.name, "calls") })
	}
}

// What tools did to a layout of files they do to _oci, and the registry has it.
func TestTraces(t *testing.T) {
	var cases []mountCase
	for _, tr := range traces(t) {
		cases = append(cases, mountCase{tr.name, func(t *testing.T, r *repo) {
			r.replay(t, tr, r.dir()+"/_oci", "mounted")
			r.requireTraced(t, tr)
			r.replay(t, tr, r.work+"/disk", "calls")
			require.Equal(t, r.ok(t, `ls -A "$W/disk"`), r.ok(t, `ls -A "$R/_oci"`), "no other temporaries are left")
		}})
	}
	onEach(t, serveOptions{AllowDelete: true}, cases)
}

// requireTraced checks that a repository has what a trace leaves, and nothing
// unfinished.
func (r *repo) requireTraced(t *testing.T, tr *trace) {
	t.Helper()
	manifests := slices.Clone(tr.untagged)
	var tags []string
	for _, e := range tr.after {
		tag := e.tag[strings.LastIndexByte(e.tag, ':')+1:]
		tags = append(tags, tag)
		manifests = append(manifests, e.manifest)
		r.requireTag(t, tag, file{hex: tr.hex(e.manifest)})
	}
	require.Equal(t, strings.Join(tags, "\n"), r.ok(t, `ls "$R/_tags"`))
	var digests []string
	for _, manifest := range manifests {
		digests = append(digests, tr.hex(manifest))
	}
	slices.Sort(digests)
	require.Equal(t, strings.Join(slices.Compact(digests), "\n"), r.ok(t, `ls "$R/_manifests/sha256"`))
	require.Empty(t, r.ok(t, `ls -A "$R/_uploads"`))
	require.NotContains(t, r.ok(t, `cat "$M/.registryfs/errors"`), "/"+r.name+"/")
}

// Where deletion is not allowed, a collector of garbage succeeds and takes
// nothing.
func TestTraceOfACollectorWithoutDeletion(t *testing.T) {
	onEach(t, serveOptions{}, []mountCase{{"umoci gc", func(t *testing.T, r *repo) {
		tr, err := readTrace("umoci-0.4.7-gc")
		require.NoError(t, err)
		tr.untagged = []string{"base"}
		r.replay(t, tr, r.dir()+"/_oci", "mounted")
		r.requireTraced(t, tr)
	}}})
}

func traces(t *testing.T) []*trace {
	t.Helper()
	var all []*trace
	for _, name := range traceNames() {
		tr, err := readTrace(name)
		require.NoError(t, err)
		require.NotEmpty(t, tr.calls, name)
		all = append(all, tr)
	}
	require.Len(t, all, 15)
	return all
}
