package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ranks order the module's folders: a package imports only its own folder and
// folders of lower rank.
var ranks = map[string]int{"cmd": 4, "fsmount": 3, "storage": 2, "manifest": 1, "driver": 1, "digest": 0}

// owners are the only folders that may import certain packages, and what lies
// below these.
var owners = map[string][]string{
	"bazil.org/fuse":          {"fsmount"},
	"github.com/urfave":       {"cmd"},
	"net/http":                {"cmd", "storage/notify"},
	"os/signal":               {"cmd"},
	"registryfs/driver":       {"cmd", "storage", "driver"},
	"github.com/docker":       {"manifest", "storage/storagetest"},
	"github.com/moby":         {"cmd", "fsmount"},
	"registryfs/testdata":     {},
	"github.com/distribution": {"storage"},
}

// outsiders see of the module only what its users do, and import none of it.
var outsiders = []string{"cmd/bench"}

type goPackage struct {
	ImportPath string
	Imports    []string // without those of tests
}

// violations lists the imports that point up, or that belong to others.
func violations(pkgs []goPackage) []string {
	var found []string
	for _, pkg := range pkgs {
		path := strings.TrimPrefix(pkg.ImportPath, "registryfs/")
		folder, _, _ := strings.Cut(path, "/")
		rank, known := ranks[folder]
		if !known {
			found = append(found, fmt.Sprintf("%s is in no layer", pkg.ImportPath))
			continue
		}
		for _, imported := range pkg.Imports {
			for owned, folders := range owners {
				if within(imported, owned) && !slices.ContainsFunc(folders, func(f string) bool { return within(path, f) }) {
					found = append(found, fmt.Sprintf("%s imports %s", pkg.ImportPath, imported))
				}
			}
			inner, ok := strings.CutPrefix(imported, "registryfs/")
			if !ok {
				continue
			}
			target, _, _ := strings.Cut(inner, "/")
			r, known := ranks[target]
			if target != folder && (!known || r >= rank) || slices.Contains(outsiders, path) {
				found = append(found, fmt.Sprintf("%s imports %s", pkg.ImportPath, imported))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "registryfs/...").Output()
	require.NoError(t, err)
	var pkgs []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg goPackage
		err := d.Decode(&pkg)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		pkgs = append(pkgs, pkg)
	}
	for folder := range ranks {
		require.True(t, slices.ContainsFunc(pkgs, func(p goPackage) bool { return within(p.ImportPath, "registryfs/"+folder) }), folder)
	}
	require.Empty(t, violations(pkgs))
}

func TestViolationsAreFound(t *testing.T) {
	for _, tc := range []struct {
		pkg, imported string
		bad           bool
	}{
		{"cmd/registryfs", "registryfs/driver/memdriver", false},
		{"cmd/registryfs", "github.com/urfave/cli/v2", false},
		{"fsmount", "registryfs/storage", false},
		{"fsmount", "registryfs/digest", false},
		{"fsmount", "bazil.org/fuse/fs", false},
		{"storage", "registryfs/driver", false},
		{"storage/storagetest", "registryfs/storage", false},
		{"storage/notify", "net/http", false},
		{"fsmount", "registryfs/driver", true},
		{"fsmount", "registryfs/driver/memdriver", true},
		{"storage", "registryfs/fsmount", true},
		{"storage", "bazil.org/fuse", true},
		{"storage", "net/http", true},
		{"fsmount", "net/http/httptest", true},
		{"driver", "registryfs/manifest", true},
		{"manifest", "registryfs/driver", true},
		{"digest", "registryfs/manifest", true},
		{"cmd/registryfs", "bazil.org/fuse", true},
		{"fsmount", "github.com/urfave/cli/v2", true},
		{"digest", "registryfs/testdata", true},
		{"cmd/bench", "net/http", false},
		{"cmd/bench", "registryfs/digest", true},
		{"util", "fmt", true},
	} {
		got := violations([]goPackage{{ImportPath: "registryfs/" + tc.pkg, Imports: []string{tc.imported}}})
		require.Equal(t, tc.bad, len(got) > 0, "%s imports %s: %v", tc.pkg, tc.imported, got)
	}
}
