package manifest_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/manifest"
	"registryfs/testdata"
)

var update = flag.Bool("update", false, "write the .expect files anew")

func TestGolden(t *testing.T) {
	names, err := fs.Glob(testdata.Manifests, "manifest/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(path.Base(name), func(t *testing.T) {
			payload, err := testdata.Manifests.ReadFile(name)
			require.NoError(t, err)
			got := reading(payload)
			expect := strings.TrimSuffix(name, ".json") + ".expect"
			if *update {
				require.NoError(t, os.WriteFile(filepath.Join("../testdata", expect), []byte(got), 0o644))
				return
			}
			want, err := testdata.Manifests.ReadFile(expect)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// reading is everything this package says of a payload, as lines of text.
func reading(payload []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "detect: %s\n", manifest.DetectMediaType(payload))
	if _, err := manifest.ParseStrict("", payload); err != nil {
		fmt.Fprintf(&b, "strict: %v\n", err)
	} else {
		fmt.Fprintf(&b, "strict: ok\n")
	}
	m, err := manifest.Parse("", payload)
	if err != nil {
		fmt.Fprintf(&b, "parse: %v\n", err)
		return b.String()
	}
	fmt.Fprintf(&b, "parse: %s\n", m.MediaType())
	refs := m.References()
	for _, d := range refs.Blobs {
		foreign := ""
		if manifest.IsForeign(d) {
			foreign = " foreign"
		}
		fmt.Fprintf(&b, "blob: %s %d %s%s\n", d.Digest, d.Size, d.MediaType, foreign)
	}
	for _, d := range refs.Manifests {
		fmt.Fprintf(&b, "manifest: %s %d %s", d.Digest, d.Size, d.MediaType)
		if p := d.Platform; p != nil {
			fmt.Fprintf(&b, " %s/%s/%s", p.OS, p.Architecture, p.Variant)
		}
		fmt.Fprintln(&b)
	}
	if d := refs.Subject; d != nil {
		fmt.Fprintf(&b, "subject: %s %d %s\n", d.Digest, d.Size, d.MediaType)
	}
	return b.String()
}
