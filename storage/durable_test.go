package storage_test

import (
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver/filedriver"
)

// Content that is there already is as durable, once it has been pushed again,
// as if it had not been: who put it there may have died before it was.
func TestKnownContentIsMadeDurable(t *testing.T) {
	content := []byte("known")
	d := digest.FromBytes(content)
	dir := t.TempDir()
	fill := openDir(t, dir, filedriver.Options{})
	putBlob(t, repository(t, create(t, fill), "app"), content)

	var mu sync.Mutex
	var synced []string
	sys := &hooked{hook: func(c *sysCall, do func() error) error {
		if c.op == "sync" || c.op == "syncdir" {
			mu.Lock()
			defer mu.Unlock()
			synced = append(synced, c.String())
		}
		return do()
	}}
	repo := repository(t, again(t, openDir(t, dir, filedriver.Options{Sys: sys})), "app")
	push := func(content []byte) []string {
		synced = nil
		putBlob(t, repo, content)
		return slices.DeleteFunc(slices.Clone(synced), func(call string) bool {
			return !strings.Contains(call, path.Dir(path.Dir(dataPath(d))))
		})
	}
	blob := path.Dir(dataPath(d))
	require.Equal(t, []string{"sync " + dataPath(d), "syncdir " + blob, "syncdir " + path.Dir(blob)}, push(content))
	require.Empty(t, push(content), "that is known now")

	// Another process puts a file of its own in its place.
	require.NoError(t, os.WriteFile(dir+"/new", content, 0o644))
	require.NoError(t, os.Rename(dir+"/new", dir+dataPath(d)))
	require.Len(t, push(content), 3)

	// What this process published is not made durable twice.
	ours := []byte("ours")
	d = digest.FromBytes(ours)
	require.NotEmpty(t, push(ours))
	require.Empty(t, push(ours))
}
