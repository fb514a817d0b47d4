package main

import (
	"fmt"
	"path/filepath"
	"time"
)

// shelf is the store of the rows that read: one repository with a blob, many
// manifests and many tags.
type shelf struct {
	layout
	blob      string   // its digest in hex
	manifests []string // theirs
	tags      []string
}

// shelfRepo is the repository on the shelf.
const shelfRepo = "bench/shelf"

// shelfOf returns the shelf, which it makes the first time.
func (b *bench) shelfOf() (*shelf, error) {
	if b.shelf != nil {
		return b.shelf, nil
	}
	begun := time.Now()
	s := &shelf{layout: layout{filepath.Join(b.fast, "shelf")}}
	err := s.fresh()
	if err == nil {
		s.blob, err = s.randomBlob(1, b.sizes.blob)
	}
	for i := range b.sizes.manifests {
		if err != nil {
			return nil, err
		}
		var sum string
		if i == 0 {
			sum, err = s.image(shelfRepo, i, s.blob)
		} else {
			sum, err = s.image(shelfRepo, i)
		}
		s.manifests = append(s.manifests, sum)
	}
	for i := range b.sizes.tags {
		if err != nil {
			return nil, err
		}
		s.tags = append(s.tags, fmt.Sprintf("v%06d", i))
		err = s.tag(shelfRepo, s.tags[i], s.manifests[i%len(s.manifests)])
	}
	if err != nil {
		return nil, err
	}
	say("the shelf took %.1f s", time.Since(begun).Seconds())
	b.shelf = s
	return s, nil
}
