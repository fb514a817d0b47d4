package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// sizes are how much work the rows are.
type sizes struct {
	name      string
	rounds    int   // in which the contenders take turns
	blob      int64 // bytes
	tags      int
	manifests int // different ones, of manifestSize bytes
	heads     int // requests that stand for one per tag
	repos     int
	walked    int   // repositories below one directory
	small     int   // blobs of 4 KiB
	retags    int   //
	upload    int64 // bytes of each of the uploads at once
	layer     int64 // bytes of each layer of the image that is promoted
	huge      int64 // bytes of the blob that streams in and out
}

var sizesByName = map[string]sizes{
	"full": {
		name: "full", rounds: 5, blob: 1 << 30, tags: 100_000, manifests: 10_000, heads: 2000,
		repos: 10_000, walked: 1000, small: 1000, retags: 100, upload: 16 << 20, layer: 100 << 20, huge: 10 << 30,
	},
	"quick": {
		name: "quick", rounds: 3, blob: 128 << 20, tags: 5000, manifests: 1000, heads: 500,
		repos: 1000, walked: 100, small: 200, retags: 20, upload: 2 << 20, layer: 10 << 20, huge: 512 << 20,
	},
	"tiny": {
		name: "tiny", rounds: 1, blob: 1 << 20, tags: 40, manifests: 20, heads: 10,
		repos: 20, walked: 10, small: 8, retags: 4, upload: 64 << 10, layer: 64 << 10, huge: 4 << 20,
	},
}

// bench is what the rows share.
type bench struct {
	options
	scratch string
	fast    string // a tmpfs
	mnt     string // where registryfs is mounted

	shelf   *shelf       // nil before it is needed
	streets map[int]bool // by length: those that are there
	daemon  *daemon      // that serves mnt, or nil
	stock   *stock       // that serves at address, or nil
}

func newBench(scratch string, o options) (*bench, error) {
	if err := furnish(scratch); err != nil {
		return nil, err
	}
	b := &bench{
		options: o,
		scratch: scratch,
		fast:    filepath.Join(scratch, "fast"),
		mnt:     filepath.Join(scratch, "mnt"),
		streets: map[int]bool{},
	}
	return b, os.Mkdir(b.in(""), 0o755)
}

// in is the path of a file to upload.
func (b *bench) in(name string) string { return filepath.Join(b.fast, "in", name) }

// wants reports whether a row of the group is to be measured.
func (b *bench) wants(g group) bool {
	return len(b.rows) == 0 || slices.ContainsFunc(g.rows, func(id string) bool { return slices.Contains(b.rows, id) })
}

// say tells how the run goes.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// group is rows that are measured together.
type group struct {
	rows    []string
	measure func(context.Context, *bench) ([]line, error)
}

// groups are all rows, in the order of measuring.
var groups = []group{
	{[]string{"1", "1b", "2"}, measureReads},
	{[]string{"7"}, measureRandomReads},
	{[]string{"4"}, measureTagNames},
	{[]string{"5"}, measureTagDigests},
	{[]string{"5b"}, measureTagsAgain},
	{[]string{"6"}, measureManifests},
	{[]string{"3", "3b"}, measureUpload},
	{[]string{"8"}, measureUploads},
	{[]string{"11"}, measurePromotion},
	{[]string{"10"}, measureScale},
	{[]string{"3c"}, measureDurable},
	{[]string{"9"}, measureMemory},
}

// rowOrder is that of the table.
var rowOrder = []string{"1", "1b", "2", "3", "3b", "3c", "4", "5", "5b", "6", "7", "8", "9", "10", "11"}
