package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Each of the tools pushes, moves, pulls and removes what it can, in a
// repository of its own, and a stock registry on the same store serves what
// they pushed.
func TestToolsOnImageLayouts(t *testing.T) {
	box := newToolbox(t)
	store, mnt := newPeerStore(t), mountPoint(t)
	stock := startPeer(t, store)
	startServer(t, store, mnt)
	images := newToolImages(t)
	for _, tool := range ociTools {
		t.Run(tool.name, func(t *testing.T) {
			require.Contains(t, box.run(t, tool.says), tool.version)
			if !testing.Short() { // what the tools do by themselves
				t.Run("on files", func(t *testing.T) { images.use(t, box.onFiles(t), tool) })
			}
			repo := "tools/" + tool.name
			images.use(t, box.inMount(t, mnt, repo), tool)
			for tag, want := range images.tagged(tool) {
				stock.checkServes(t, repo, tag, want.image)
			}
		})
	}
}

// toolImages is what is pushed.
type toolImages struct{ a, b, index, docker, dockerList, artifact, subject *layout }

func newToolImages(t *testing.T) toolImages {
	artifact, subject := makeArtifact(t, "artifact")
	return toolImages{
		a:          makeImage(t, "a", ociFormats),
		b:          makeImage(t, "b", ociFormats),
		index:      makeIndex(t, "index", ociFormats),
		docker:     makeImage(t, "docker", dockerFormats),
		dockerList: makeIndex(t, "docker list", dockerFormats),
		artifact:   artifact,
		subject:    subject,
	}
}

// tagged is what a tool leaves.
func (i toolImages) tagged(tool ociTool) map[string]*layout {
	tagged := map[string]*layout{"v1": i.b, "multi": i.index, "note": i.artifact}
	if tool.docker {
		tagged["docker"], tagged["dockers"] = i.docker, i.dockerList
	}
	return tagged
}

// use does with a tool what it can do.
func (i toolImages) use(t *testing.T, d *ociDir, tool ociTool) {
	d.push(t, tool, i.a, "v1")
	d.check(t, "v1", i.a.image)
	d.push(t, tool, i.a, "v1")
	d.check(t, "v1", i.a.image)
	d.push(t, tool, i.b, "v2")
	d.check(t, "v1", i.a.image)
	d.check(t, "v2", i.b.image)
	d.push(t, tool, i.b, "v1") // moves it
	for tag, want := range i.tagged(tool) {
		if tag != "v1" {
			d.push(t, tool, want, tag)
		}
	}
	for tag, want := range i.tagged(tool) {
		d.check(t, tag, want.image)
		d.checkPulled(t, tool, tag, want)
	}
	if tool.subject {
		d.checkFiles(t, i.subject.image)
	}
	if tool.untag != "" {
		d.box.run(t, tool.untag, d.dir, "v2")
		require.NotContains(t, d.tags(t), "v2")
		d.check(t, "v1", i.b.image)
	}
}
