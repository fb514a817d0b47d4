package storage

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"registryfs/digest"
)

// FindingKind says what is the matter with something in a store.
type FindingKind string

const (
	// FindingCorrupt is content, or a link, that is not what its name says, or
	// no file at all.
	FindingCorrupt FindingKind = "corrupt"
	// FindingUnreadable is what could not be looked at: nothing is known
	// about it, and it is never repaired.
	FindingUnreadable FindingKind = "unreadable"
	// FindingMissing is a manifest without blobs that it needs.
	FindingMissing FindingKind = "missing"
	// FindingDangling is a link whose content, or a tag whose manifest, is
	// not there or is corrupt.
	FindingDangling FindingKind = "dangling"
	// FindingForeign is what no registry puts where it is. It is damage in
	// blobs/ and tags/, where stock registries fail on it, and where it hides
	// what should be there.
	FindingForeign FindingKind = "foreign"
	// FindingHalfWritten is what a registry began to write and did not end.
	FindingHalfWritten FindingKind = "half-written"
	// FindingLeftover is what may be there, and is of no use to the
	// registry: uploads, temporaries, trash, quarantine. It is never damage.
	FindingLeftover FindingKind = "leftover"
)

// Finding is one thing that a check found.
type Finding struct {
	Kind       FindingKind `json:"kind"`
	Damage     bool        `json:"damage"`
	Repository string      `json:"repository,omitempty"`
	Name       string      `json:"name,omitempty"` // digest, tag or upload id
	Path       string      `json:"path"`           // in the store
	Reason     string      `json:"reason"`
	// Repaired says that a repair was asked for and has dealt with it.
	Repaired bool `json:"repaired"`
	// Remedy is what the repair has done, or what remains to be done.
	Remedy string `json:"remedy,omitempty"`
}

// CheckOptions say how a registry is checked.
type CheckOptions struct {
	// Repair puts aside what is damaged, and ends what was half done. Nothing
	// is deleted: content goes to the quarantine, tags to the trash.
	Repair bool
	// Progress, unless nil, is called for each n bytes of total that have
	// been hashed, by several goroutines at once.
	Progress func(n, total int64)
}

// CheckSummary counts what a check looked at, and what it found.
type CheckSummary struct {
	Repositories int   `json:"repositories"`
	Manifests    int   `json:"manifests"`
	Tags         int   `json:"tags"`
	Links        int   `json:"links"`
	Blobs        int   `json:"blobs"`
	Bytes        int64 `json:"bytes"` // of all blobs

	Found    map[FindingKind]int `json:"found"`
	Damaged  int                 `json:"damaged"`  // findings that are damage
	Repaired int                 `json:"repaired"` // of those
	// Repairable is how many of those a repair deals with, where none was asked
	// for.
	Repairable int `json:"repairable"`
	Leftovers  int `json:"leftovers"`
}

// Checker is implemented by registries that can be checked.
type Checker interface {
	// Check verifies all content, links, manifests and tags, and calls fn for
	// what it finds, in an order that depends on the store only. Damage is
	// found, not an error: an error says that the check did not come to its
	// end. Memory is bounded by the number of blobs, not by their size.
	// What others put there or remove meanwhile is no damage and may be left
	// out, and a repair wants to be the only writer. Errors: [ErrReadOnly] and
	// [ErrInUse] for a repair.
	//
	// No damage are: digests that a tag once had, subjects and children of
	// indexes that are not there, foreign layers, manifests without a tag,
	// manifests that cannot be parsed, blobs that nobody links, empty
	// directories.
	Check(ctx context.Context, o CheckOptions, fn func(Finding)) (CheckSummary, error)
}

var _ Checker = (*registry)(nil)

func (r *registry) Check(ctx context.Context, o CheckOptions, fn func(Finding)) (CheckSummary, error) {
	c := &checker{
		registry: r,
		options:  o,
		found:    fn,
		run:      strconv.FormatInt(time.Now().Unix(), 10) + "-" + uuid.NewString(),
		bad:      map[digest.Digest]badContent{},
		unread:   map[string]bool{},
		uploads:  map[string]bool{},
		summary:  CheckSummary{Found: map[FindingKind]int{}},
	}
	if o.Repair {
		if err := r.writable(); err != nil {
			return c.summary, err
		}
		held, err := r.lockAll(ctx)
		if err != nil {
			return c.summary, err
		}
		defer held.Close()
	}
	for _, part := range []func(context.Context) error{c.checkTop, c.checkBlobs, c.checkRepositories, c.checkOurs} {
		if err := part(ctx); err != nil {
			return c.summary, err
		}
	}
	// A store that went away looks like one full of damage.
	_, err := r.driver.Stat(ctx, layoutRoot)
	return c.summary, err
}

// checker is one check. All but hashing is done by one goroutine.
type checker struct {
	registry *registry
	options  CheckOptions
	found    func(Finding)
	run      string // names this check in the quarantine

	bad     map[digest.Digest]badContent // corrupt or unreadable
	unread  map[string]bool              // repositories of which something could not be read
	uploads map[string]bool              // ids of all repositories
	summary CheckSummary
}

// report counts and passes on a finding, once fix, if there is one and it is
// wanted, has tried to repair it. fix says what it has done. The result is
// whether it succeeded.
func (c *checker) report(ctx context.Context, f Finding, fix func(context.Context) (string, error)) bool {
	if c.options.Repair && fix != nil {
		done, err := fix(ctx)
		if err == nil {
			f.Repaired, f.Remedy = true, done
		} else {
			f.Remedy = "cannot be repaired: " + err.Error()
		}
	}
	c.summary.Found[f.Kind]++
	switch {
	case f.Damage && f.Repaired:
		c.summary.Damaged++
		c.summary.Repaired++
	case f.Damage:
		c.summary.Damaged++
		if !c.options.Repair && fix != nil {
			c.summary.Repairable++
		}
	case f.Kind == FindingLeftover:
		c.summary.Leftovers++
	}
	c.found(f)
	return f.Repaired
}
