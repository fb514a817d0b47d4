package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ociTool is a program that knows the OCI image layout, as scripts. REG in
// their environment is a registry, empty at first, for who copies only from
// and to those.
type ociTool struct {
	name    string
	version string // as the README has it
	says    string // prints something that has the version in it
	push    string // copies "v1" of the layout $1 to the layout $2 as $3
	pull    string // copies $2 of the layout $1 to the layout $3
	untag   string // removes the tag $2 from the layout $1, if the tool can do that
	docker  bool   // it copies images in Docker's formats
	subject bool   // it copies what an artifact is about along with it
	gradual bool   // it writes an index for each manifest, and only then the tag
}

var ociTools = []ociTool{
	{
		name:    "skopeo",
		version: "1.9.3",
		says:    `skopeo --version`,
		push:    `skopeo --insecure-policy copy -q --all "oci:$1:v1" "oci:$2:$3"`,
		pull:    `skopeo --insecure-policy copy -q --all "oci:$1:$2" "oci:$3:$2"`,
	},
	{
		name:    "crane",
		version: "0.22.1",
		says:    `crane version`,
		push: `regctl --host "reg=$REG,tls=disabled" image copy "ocidir://$1:v1" "$REG/pushed:$3"
			crane pull --insecure --format oci --annotate-ref "$REG/pushed:$3" "$2"`,
		// It pushes a layout as a whole.
		pull: `crane push --insecure --index "$1" "$REG/pulled:$2"
			regctl --host "reg=$REG,tls=disabled" image copy "$REG/pulled:$2" "ocidir://$3:$2"`,
		docker: true,
	},
	{
		name:    "regctl",
		version: "0.11.7",
		says:    `regctl version`,
		push:    `regctl image copy "ocidir://$1:v1" "ocidir://$2:$3"`,
		pull:    `regctl image copy "ocidir://$1:$2" "ocidir://$3:$2"`,
		untag:   `regctl tag rm "ocidir://$1:$2"`,
		docker:  true,
	},
	{
		name:    "oras-go",
		version: "2.6.4",
		says:    `oras version`,
		push:    `oras copy "$1" v1 "$2" "$3"`,
		pull:    `oras copy "$1" "$2" "$3" "$2"`,
		untag:   `oras untag "$1" "$2"`,
		docker:  true,
		subject: true,
		gradual: true,
	},
}

// binTools is where make installs the tools that Debian does not have.
const binTools = "../../bin/tools"

// toolbox runs the scripts of tools.
type toolbox struct{ reg *peer }

func newToolbox(t *testing.T) *toolbox {
	t.Helper()
	for _, program := range []string{"crane", "regctl", "oras"} {
		_, err := os.Stat(filepath.Join(binTools, program))
		require.NoError(t, err, "make tools")
	}
	for _, program := range []string{"skopeo", "umoci", "buildah", "podman", "strace"} {
		needProgram(t, program, program)
	}
	return &toolbox{startPeer(t, newPeerStore(t))}
}

func (b *toolbox) script(t *testing.T, script string) string {
	t.Helper()
	bin, err := filepath.Abs(binTools)
	require.NoError(t, err)
	return "export PATH=" + bin + ":$PATH REG=" + b.reg.addr + "\n" + script
}

// run runs a script that succeeds, and returns what it prints.
func (b *toolbox) run(t *testing.T, script string, args ...string) string {
	t.Helper()
	return shell(t, b.script(t, script), args...)
}

// ociDir is an image layout that tools write to: _oci of a repository, or for
// comparison a directory of files.
type ociDir struct {
	dir  string
	mnt  string // "" where it is a directory of files
	repo string
	box  *toolbox
}

// onFiles is a layout of files, not there yet.
func (b *toolbox) onFiles(t *testing.T) *ociDir {
	t.Helper()
	return &ociDir{dir: filepath.Join(publicDir(t), "layout"), box: b}
}

// inMount is a repository of a mount, not there yet.
func (b *toolbox) inMount(t *testing.T, mnt, repo string) *ociDir {
	t.Helper()
	shell(t, `mkdir -p "$1/$2"`, mnt, repo)
	return &ociDir{filepath.Join(mnt, repo, "_oci"), mnt, repo, b}
}

// push copies an image into the layout.
func (d *ociDir) push(t *testing.T, tool ociTool, from *layout, tag string) {
	t.Helper()
	d.box.run(t, tool.push, from.dir, d.dir, tag)
}

// check requires that a tag names an image, and that all of it is there.
func (d *ociDir) check(t *testing.T, tag string, want image) {
	t.Helper()
	d.checkFiles(t, want)
	require.Equal(t, "sha256:"+want.root, d.tags(t)[tag], tag)
	if d.mnt != "" {
		checkMounted(t, d.mnt, d.repo, tag, want)
	}
}

// checkFiles reads all of an image through the layout.
func (d *ociDir) checkFiles(t *testing.T, want image) {
	t.Helper()
	var sums strings.Builder
	for _, hex := range append(want.manifests, want.blobs...) {
		sums.WriteString(hex + "  " + hex + "\n")
	}
	shell(t, `cd "$1/blobs/sha256"; sha256sum --quiet --strict -c "$2"`, d.dir, writeFile(t, sums.String()))
}

// tags are those of index.json; of a name with a registry in it, the tag.
func (d *ociDir) tags(t *testing.T) map[string]string {
	t.Helper()
	out := shell(t, `jq -r '.manifests[] | "\(.annotations["org.opencontainers.image.ref.name"] // "") \(.digest)"' "$1/index.json"`, d.dir)
	tags := map[string]string{}
	for line := range strings.Lines(out) {
		name, digest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if digest != "" {
			tags[name[strings.LastIndexByte(name, ':')+1:]] = digest
		}
	}
	return tags
}

// checkPulled copies a tag out with a tool and compares it with what it was.
func (d *ociDir) checkPulled(t *testing.T, tool ociTool, tag string, want *layout) {
	t.Helper()
	got := filepath.Join(t.TempDir(), "pulled")
	d.box.run(t, tool.pull, d.dir, tag, got)
	parts := append(want.manifests, want.blobs...)
	shell(t, `for hex in $3; do cmp "$1/$hex" "$2/$hex"; done`, filepath.Join(want.dir, "blobs/sha256"),
		filepath.Join(got, "blobs/sha256"), strings.Join(parts, " "))
}
