package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
)

// givenStore is what is in the store of an interleaving before its user opens it,
// so that none of it is leased.
type givenStore struct {
	kept, old, part pushed
	multi           digest.Digest // an index of kept and part, without a tag
}

var known = []byte("content that no manifest needs")

func fillGivenStore(t *testing.T, d driver.Driver) givenStore {
	t.Helper()
	repo := repository(t, create(t, d), "app")
	s := givenStore{kept: push(t, repo, "kept", "v1"), old: push(t, repo, "old", ""), part: push(t, repo, "part", "")}
	s.multi = pushIndex(t, repo, s.kept, s.part)
	pushReferrer(t, repo, "signature of old", s.old.manifest)
	putBlob(t, repo, known)
	b := digest.FromBytes(known)
	put(t, d, layerLink("app", digest.SHA512.FromBytes(known)), b.String())
	return s
}

// use is something that a user does beside a collection. It returns what must be
// there when it has succeeded.
type use struct {
	name string
	do   func(ctx context.Context, reg storage.Registry, s givenStore) (holds []hold, err error)
}

// hold is a digest that a repository must have: a blob, or a manifest with all
// it needs.
type hold struct {
	repo     string
	digest   digest.Digest
	manifest bool
	tag      string // that names it
}

func uses() []use {
	open := func(reg storage.Registry, name string) storage.Repository {
		repo, err := reg.Repository(name)
		if err != nil {
			panic(err)
		}
		return repo
	}
	commit := func(ctx context.Context, reg storage.Registry, repo string, as digest.Digest) ([]hold, error) {
		u, err := open(reg, repo).Blobs().Create(ctx)
		if err != nil {
			return nil, err
		}
		defer u.Cancel(ctx)
		if _, err := u.Write(known); err != nil {
			return nil, err
		}
		_, err = u.Commit(ctx, storage.Descriptor{Digest: as})
		return []hold{{repo: repo, digest: as}}, err
	}
	tag := func(ctx context.Context, reg storage.Registry, repo, name string, d digest.Digest) ([]hold, error) {
		return []hold{{repo: repo, digest: d, manifest: true, tag: name}}, open(reg, repo).Tags().Tag(ctx, name, d)
	}
	return []use{
		{"push a known blob", func(ctx context.Context, reg storage.Registry, _ givenStore) ([]hold, error) {
			return commit(ctx, reg, "app", digest.FromBytes(known))
		}},
		{"push a known blob by another digest", func(ctx context.Context, reg storage.Registry, _ givenStore) ([]hold, error) {
			return commit(ctx, reg, "app", digest.SHA512.FromBytes(known))
		}},
		{"push a known blob elsewhere", func(ctx context.Context, reg storage.Registry, _ givenStore) ([]hold, error) {
			return commit(ctx, reg, "team/other", digest.FromBytes(known))
		}},
		{"resume", func(ctx context.Context, reg storage.Registry, _ givenStore) ([]hold, error) {
			repo := open(reg, "app")
			u, err := repo.Blobs().Create(ctx)
			if err != nil {
				return nil, err
			}
			_, err = u.Write(known[:5])
			if err = errors.Join(err, u.Close()); err != nil {
				return nil, err
			}
			if u, err = repo.Blobs().Resume(ctx, u.ID()); err != nil {
				return nil, err
			}
			defer u.Cancel(ctx)
			if _, err := u.Write(known[5:]); err != nil {
				return nil, err
			}
			_, err = u.Commit(ctx, storage.Descriptor{Digest: digest.FromBytes(known)})
			return []hold{{repo: "app", digest: digest.FromBytes(known)}}, err
		}},
		{"find a layer, put its manifest", func(ctx context.Context, reg storage.Registry, _ givenStore) ([]hold, error) {
			repo, b := open(reg, "app"), digest.FromBytes(known)
			_, err := repo.Blobs().Stat(ctx, b)
			if errors.Is(err, storage.ErrBlobUnknown) { // as any client does
				_, err = commit(ctx, reg, "app", b)
			}
			if err != nil {
				return nil, err
			}
			config, err := repo.Blobs().Put(ctx, "", []byte("{}"))
			if err != nil {
				return nil, err
			}
			desc, err := repo.Manifests().Put(ctx, "", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},`+
				`"layers":[{"mediaType":"text/plain","digest":"%s","size":%d}]}`, config.Digest, b, len(known)))
			if err != nil {
				return nil, fmt.Errorf("what was found has gone: %w", err)
			}
			return tag(ctx, reg, "app", "new", desc.Digest)
		}},
		{"put a known manifest", func(ctx context.Context, reg storage.Registry, s givenStore) ([]hold, error) {
			_, err := open(reg, "app").Manifests().Put(ctx, "", s.old.payload)
			return []hold{{repo: "app", digest: s.old.manifest, manifest: true}}, err
		}},
		{"tag", func(ctx context.Context, reg storage.Registry, s givenStore) ([]hold, error) {
			return tag(ctx, reg, "app", "old", s.old.manifest)
		}},
		{"tag an index", func(ctx context.Context, reg storage.Registry, s givenStore) ([]hold, error) {
			return tag(ctx, reg, "app", "multi", s.multi)
		}},
		{"promote an index", func(ctx context.Context, reg storage.Registry, s givenStore) ([]hold, error) {
			if _, err := open(reg, "prod/app").Manifests().Mount(ctx, open(reg, "app"), s.multi); err != nil {
				return nil, err
			}
			return tag(ctx, reg, "prod/app", "multi", s.multi)
		}},
		{"mount a blob", func(ctx context.Context, reg storage.Registry, _ givenStore) ([]hold, error) {
			b := digest.FromBytes(known)
			_, err := open(reg, "team/other").Blobs().Mount(ctx, open(reg, "app"), b)
			return []hold{{repo: "team/other", digest: b}}, err
		}},
		{"rename a tag", func(ctx context.Context, reg storage.Registry, s givenStore) ([]hold, error) {
			return []hold{{repo: "app", digest: s.kept.manifest, manifest: true, tag: "stable"}},
				open(reg, "app").Tags().Rename(ctx, "v1", "stable")
		}},
		{"retag and back", func(ctx context.Context, reg storage.Registry, s givenStore) ([]hold, error) {
			if _, err := tag(ctx, reg, "app", "v1", s.old.manifest); err != nil {
				return nil, err
			}
			return tag(ctx, reg, "app", "v1", s.kept.manifest)
		}},
		{"read", func(ctx context.Context, reg storage.Registry, s givenStore) ([]hold, error) {
			repo := open(reg, "app")
			m, err := repo.Manifests().Get(ctx, s.old.manifest)
			if err != nil {
				return nil, err
			}
			for _, desc := range m.References().Blobs {
				content, err := repo.Blobs().Get(ctx, desc.Digest)
				if err != nil {
					return nil, err
				}
				if digest.FromBytes(content) != desc.Digest {
					return nil, storage.ErrCorrupt
				}
			}
			return []hold{{repo: "app", digest: s.old.manifest, manifest: true}}, nil
		}},
		{"delete", func(ctx context.Context, reg storage.Registry, s givenStore) ([]hold, error) {
			err := open(reg, "app").Blobs().Delete(ctx, digest.FromBytes(known))
			if err == nil {
				err = open(reg, "app").Tags().Untag(ctx, "v1")
			}
			return nil, err
		}},
	}
}

// check reports what is not there of what must be.
func (h hold) check(ctx context.Context, reg storage.Registry) error {
	repo, err := reg.Repository(h.repo)
	if err != nil {
		return err
	}
	if h.tag != "" {
		if value, err := repo.Tags().Get(ctx, h.tag); err != nil || value.Digest != h.digest {
			return fmt.Errorf("tag %s is %s: %w", h.tag, value.Digest, err)
		}
	}
	if !h.manifest {
		_, err := repo.Blobs().Get(ctx, h.digest)
		return err
	}
	m, err := repo.Manifests().Get(ctx, h.digest)
	if err != nil {
		return err
	}
	for _, desc := range m.References().RequiredBlobs() {
		if err := (hold{repo: h.repo, digest: desc.Digest}).check(ctx, reg); err != nil {
			return err
		}
	}
	for _, desc := range m.References().Manifests {
		if err := (hold{repo: h.repo, digest: desc.Digest, manifest: true}).check(ctx, reg); err != nil {
			return err
		}
	}
	return nil
}

// interleaving is a store with a user and a collection beside it.
type interleaving struct {
	runs  int // of collections before
	d     driver.Driver
	clock *fakeClock
	old   givenStore
	user  storage.Registry
	gate  *gate // of the user
	end   func()
}

// newInterleaving makes a store, of which runs of collections have set things
// aside before. The user sees it anew.
func newInterleaving(t *testing.T, runs int) *interleaving {
	t.Helper()
	i := &interleaving{runs: runs, d: memdriver.New(), clock: newClock()}
	i.old = fillGivenStore(t, i.d)
	for range runs {
		_, end := claimed(t, i.d, i.clock)
		collectOnline(t, i.d, i.clock, onlineUntagged)
		end()
		i.clock.pass(time.Minute)
	}
	i.gate = &gate{Driver: i.d, before: func(string, string) error { return nil }}
	i.user, i.end = claimed(t, i.gate, i.clock)
	return i
}

// isTurn tells the calls of a collection before which another may come in: when
// it moves, deletes, or looks who is there. In a short test it is the moves, and
// what comes after them.
func isTurn(op, path string) bool {
	if testing.Short() {
		return op == "movedir" || op == "stat" && strings.HasSuffix(path, "/exclusive")
	}
	return op == "movedir" || op == "delete" || op == "lock" || op == "openat" && strings.Contains(path, "/leases/") ||
		op == "stat" && strings.HasSuffix(path, "/exclusive") || op == "list" && strings.HasSuffix(path, "/_manifests/tags")
}

// collection runs one in a goroutine, which stops before its kth turn, if there
// are so many, until resume is called. The result of resume is its error.
func (i *interleaving) collection(ctx context.Context, k int) (turns *int, resume func() error) {
	turns = new(int)
	reached, resumed, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	stopped := &gate{Driver: i.d, before: func(op, path string) error {
		if isTurn(op, path) {
			if *turns++; *turns == k {
				close(reached)
				<-resumed
			}
		}
		return nil
	}}
	go func() {
		reg, err := storage.Open(ctx, stopped, storage.Options{Clock: i.clock})
		if err == nil {
			_, err = reg.(storage.Collector).Collect(ctx, onlineUntagged, nil)
		}
		ended <- err
	}()
	var early *error
	select {
	case <-reached:
	case err := <-ended:
		early = &err
	}
	return turns, func() error {
		close(resumed)
		if early != nil {
			return *early
		}
		return <-ended
	}
}

// Whatever a user does, wherever he is when a collection begins, and wherever it
// is when he goes on: what he was told is there is there, and the store is whole.
func TestCollectOnlineInterleaved(t *testing.T) {
	stride, step, before := 7, 1, 2
	if testing.Short() {
		stride, step, before = 6, 17, 1
	}
	for _, u := range uses() {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			count, failed, turn := 0, 0, len(u.name)
			for runs := range before {
				for n := 1; ; n += step {
					met, turns := false, 0
					for k := 1 + turn%stride; k == 1+turn%stride || k <= turns+1; k += stride {
						i := newInterleaving(t, runs)
						var err error
						met, turns, err = i.run(t, u, n, k)
						if err != nil {
							failed++
						}
						count++
						turn++
					}
					if !met {
						break
					}
				}
			}
			t.Logf("%d interleavings; in %d it failed, as it may", count, failed)
		})
	}
}

// run lets a user do something, a collection begin before his nth call, and stop
// before its kth turn until the user has done it. met says that there was an nth
// call.
func (i *interleaving) run(t *testing.T, u use, n, k int) (met bool, turns int, err error) {
	t.Helper()
	at := func() string { return fmt.Sprintf("%s, call %d, turn %d", u.name, n, k) }
	calls := 0
	var made *int
	resume := func() error { return nil }
	i.gate.before = func(string, string) error {
		if calls++; calls == n {
			met = true
			made, resume = i.collection(t.Context(), k)
		}
		return nil
	}
	holds, err := u.do(t.Context(), i.user, i.old)
	i.gate.before = func(string, string) error { return nil }
	require.NoError(t, resume(), at())
	if made != nil {
		turns = *made
	}
	if err != nil {
		// Only because what it needs had been set aside by an earlier run, and
		// this one removed it.
		require.NotZero(t, i.runs, "%s: %v", at(), err)
		var missing *storage.MissingError
		require.True(t, errors.Is(err, fs.ErrNotExist) || errors.As(err, &missing), "%s: %v", at(), err)
		holds = nil
	}
	requireSound(t, i.d)
	asIs := openRegistry(t, i.d, storage.Options{ReadOnly: true}) // it brings nothing back
	check := func(when string) {
		t.Helper()
		for _, h := range holds {
			require.NoError(t, h.check(t.Context(), asIs), "%s: %s, for others", at(), when)
			require.NoError(t, h.check(t.Context(), i.user), "%s: %s", at(), when)
		}
	}
	check("at the end")
	for range 2 {
		collectOnline(t, i.d, i.clock, onlineUntagged)
		check("after another collection")
	}
	// What is leased no more, and has no tag, may go.
	holds = slices.DeleteFunc(holds, func(h hold) bool { return h.tag == "" })
	i.clock.pass(100 * time.Hour)
	for range 2 {
		collectOnline(t, i.d, i.clock, onlineUntagged)
		check("after another collection, much later")
	}
	requireSound(t, i.d)
	checkWhole(t, i.user)
	i.end()
	return met, turns, err
}

// Wherever a collection beside a user dies, the store is whole, the user goes on
// as if nothing had been, and the next collections come to the same end as if it
// had not died.
func TestCollectOnlineStoppedAnywhere(t *testing.T) {
	for runs := range 2 {
		collectTwice := func(i *interleaving) map[string]string {
			for range 3 {
				i.clock.pass(time.Minute)
				collectOnline(t, i.d, i.clock, onlineUntagged)
			}
			i.end()
			files := tree(t, i.d)
			for p := range files {
				require.False(t, strings.Contains(p, "/swept/") && !strings.HasSuffix(p, "/"), "%s is left over", p)
				if strings.HasPrefix(p, "/registryfs/") || isEmptyDir(files, p) {
					delete(files, p)
				}
			}
			return files
		}
		want := collectTwice(newInterleaving(t, runs))
		stride, stopped, calls := 1, 0, 0
		if testing.Short() {
			stride = 23
		}
		for n := 1; n == 1 || calls >= n-stride; n += stride {
			i := newInterleaving(t, runs)
			calls = 0
			dying := &gate{Driver: i.d, before: func(op, p string) error {
				if calls++; calls < n {
					return nil
				}
				if calls == n && op == "delete" { // it has deleted something of it
					_ = driver.Walk(t.Context(), i.d, p, func(info driver.FileInfo) error {
						if info.IsDir {
							return nil
						}
						_ = i.d.Delete(t.Context(), info.Path)
						return driver.SkipAll
					})
				}
				return errHalted
			}}
			reg, err := storage.Open(t.Context(), dying, storage.Options{Clock: i.clock})
			if err == nil {
				_, err = reg.(storage.Collector).Collect(t.Context(), onlineUntagged, nil)
			}
			if err != nil {
				require.ErrorIs(t, err, errHalted)
				stopped++
			}
			requireSound(t, i.d)
			require.NoError(t, (hold{repo: "app", digest: i.old.kept.manifest, manifest: true, tag: "v1"}).check(t.Context(), i.user))
			if runs == 0 {
				holds, err := uses()[n%len(uses())].do(t.Context(), i.user, i.old)
				require.NoError(t, err, "after a stop at call %d", n)
				for _, h := range holds {
					require.NoError(t, h.check(t.Context(), i.user), "after a stop at call %d", n)
				}
				i = newInterleaving(t, runs)
				calls = 0
				reg, err = storage.Open(t.Context(), &gate{Driver: i.d, before: dying.before}, storage.Options{Clock: i.clock})
				if err == nil {
					_, _ = reg.(storage.Collector).Collect(t.Context(), onlineUntagged, nil)
				}
			}
			require.Equal(t, want, collectTwice(i), "after a stop at call %d", n)
		}
		require.NotZero(t, stopped)
		t.Logf("stopped at %d of %d calls", stopped, calls)
	}
}

// isEmptyDir reports whether a path of a tree is a directory without files below.
func isEmptyDir(files map[string]string, p string) bool {
	if !strings.HasSuffix(p, "/") {
		return false
	}
	for other := range files {
		if strings.HasPrefix(other, p) && !strings.HasSuffix(other, "/") {
			return false
		}
	}
	return true
}
