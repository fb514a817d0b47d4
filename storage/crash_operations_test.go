package storage_test

import (
	"errors"
	"fmt"
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
)

// operation is something done to a store, in steps. A step that returns nil has
// been acknowledged.
type operation struct {
	name    string
	isFirst bool // there is no registry yet
	prepare func(t *testing.T, d driver.Driver, repo storage.Repository)
	steps   []func(w *world) error
	index   digest.Digest // of one and two; newScene sets it
	// damaged is content that is corrupt until the operation is done.
	damaged digest.Digest
	// repairs says that much else is damaged until then.
	repairs bool
	// holds reports what else is lost after so many steps; it may be nil.
	holds func(w *world, seen sight, done int) error
}

// The content that operations work with.
var (
	fresh  = []byte("a blob that nobody has pushed before")
	loose  = []byte("a blob that no manifest references")
	halves = [2][]byte{[]byte("what was written before the close, "), []byte("and what came after it")}
	both   = append(halves[0][:len(halves[0]):len(halves[0])], halves[1]...)
)

// image is what push pushes.
func image(word string) (config, layer, payload []byte) {
	config, layer = []byte(`{"config":"`+word+`"}`), []byte("layer of "+word)
	payload = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"%s","size":%d}]}`,
		digest.FromBytes(config), len(config), digest.FromBytes(layer), len(layer))
	return config, layer, payload
}

func imageDigest(word string) digest.Digest {
	_, _, payload := image(word)
	return digest.FromBytes(payload)
}

// operations is all that changes a store. The store has, in the repository app,
// the images one and two with the tags v1 and v2, an index of both, and a loose
// blob.
func operations() []*operation {
	tag := func(name, word string) func(w *world) error {
		return func(w *world) error { return w.repo("app").Tags().Tag(w.ctx, name, imageDigest(word)) }
	}
	untag := func(name string) func(w *world) error {
		return func(w *world) error { return w.gone(w.repo("app").Tags().Untag(w.ctx, name)) }
	}
	rename := func(from, to string) func(w *world) error {
		return func(w *world) error { return w.gone(w.repo("app").Tags().Rename(w.ctx, from, to)) }
	}
	put := func(repo string, content []byte) func(w *world) error {
		return func(w *world) error { return w.put(repo, content) }
	}
	config, layer, payload := image("three")

	return []*operation{
		{
			name:    "new registry",
			isFirst: true,
			steps: []func(w *world) error{
				(*world).open,
				func(w *world) error {
					if err := w.open(); err != nil {
						return err
					}
					return w.put("team/app", fresh)
				},
			},
		},
		{name: "new blob", steps: []func(w *world) error{put("app", fresh)}},
		{name: "known blob, new repository", steps: []func(w *world) error{put("team/other", loose)}},
		{
			name: "provisional digest",
			steps: []func(w *world) error{func(w *world) error {
				if err := w.begin(fresh); err != nil {
					return errors.Join(err, w.letGo())
				}
				_, err := w.held.Commit(w.ctx, storage.Descriptor{Digest: digest.SHA512.FromBytes(fresh)})
				return errors.Join(err, w.letGo())
			}},
		},
		{
			name: "heal a blob",
			prepare: func(t *testing.T, d driver.Driver, _ storage.Repository) {
				overwrite(t, d, dataPath(digest.FromBytes(loose)), 0, []byte("WRONG"))
			},
			damaged: digest.FromBytes(loose),
			steps:   []func(w *world) error{put("app", loose)},
		},
		{
			name: "upload, closed and resumed",
			steps: []func(w *world) error{
				func(w *world) error { return errors.Join(w.begin(halves[0]), w.letGo()) },
				func(w *world) error {
					u, err := w.repo("app").Blobs().Resume(w.ctx, w.upload)
					if err != nil {
						return err
					}
					if err := u.Truncate(int64(len(halves[0]))); err != nil {
						return errors.Join(err, u.Close())
					}
					return errors.Join(writeParts(u, halves[1]), u.Close())
				},
				func(w *world) error { return w.finish(len(both)) },
			},
			holds: uploadHolds,
		},
		{
			name: "upload, synced and finished",
			steps: []func(w *world) error{
				func(w *world) error {
					err := w.begin(halves[0])
					if err == nil {
						err = w.held.Sync(w.ctx)
					}
					if err != nil {
						err = errors.Join(err, w.letGo())
					}
					return err
				},
				func(w *world) error { return w.finish(len(halves[0])) },
			},
			holds: uploadHolds,
		},
		{
			name: "upload, closed and cancelled",
			steps: []func(w *world) error{
				func(w *world) error { return errors.Join(w.begin(both), w.letGo()) },
				func(w *world) error {
					u, err := w.repo("app").Blobs().Resume(w.ctx, w.upload)
					if err != nil {
						return w.gone(err)
					}
					return u.Cancel(w.ctx)
				},
			},
			holds: func(w *world, _ sight, done int) error {
				_, err := w.repo("app").Blobs().Upload(w.ctx, w.upload)
				switch {
				case done < 2 || errors.Is(err, storage.ErrUploadUnknown):
					return nil
				case err != nil:
					return err
				}
				return errors.New("a cancelled upload is back")
			},
		},
		{
			name: "push an image",
			steps: []func(w *world) error{
				put("app", config),
				put("app", layer),
				func(w *world) error {
					_, err := w.repo("app").Manifests().Put(w.ctx, "", payload)
					return err
				},
				tag("v3", "three"),
			},
		},
		{name: "retag", steps: []func(w *world) error{tag("v1", "two"), tag("v1", "one")}},
		{name: "untag", steps: []func(w *world) error{untag("v1"), untag("v2")}},
		{
			name:  "rename a tag",
			steps: []func(w *world) error{rename("v1", "stable")},
			holds: renameHolds("v1", "stable"),
		},
		{
			name:  "rename a tag over another",
			steps: []func(w *world) error{rename("v1", "v2")},
			holds: renameHolds("v1", "v2"),
		},
		{
			name: "promote an index",
			steps: []func(w *world) error{
				func(w *world) error {
					_, err := w.repo("prod/app").Manifests().Mount(w.ctx, w.repo("app"), w.op.index)
					return err
				},
				func(w *world) error { return w.repo("prod/app").Tags().Tag(w.ctx, "multi", w.op.index) },
			},
			holds: func(w *world, seen sight, _ int) error {
				name := func(d digest.Digest) string { return "prod/app manifest " + d.String() }
				for _, word := range []string{"one", "two"} {
					if seen[name(w.op.index)] != "" && seen[name(imageDigest(word))] == "" {
						return fmt.Errorf("the index shows without %s", word)
					}
				}
				return nil
			},
		},
		{
			name: "mount a blob",
			steps: []func(w *world) error{func(w *world) error {
				_, err := w.repo("team/other").Blobs().Mount(w.ctx, w.repo("app"), digest.FromBytes(loose))
				return err
			}},
		},
		{
			name: "delete a blob",
			steps: []func(w *world) error{func(w *world) error {
				return w.gone(w.repo("app").Blobs().Delete(w.ctx, digest.FromBytes(loose)))
			}},
		},
		{
			name: "delete a manifest with two tags",
			prepare: func(t *testing.T, _ driver.Driver, repo storage.Repository) {
				push(t, repo, "three", "v3")
				push(t, repo, "three", "latest")
			},
			steps: []func(w *world) error{func(w *world) error {
				return w.gone(w.repo("app").Manifests().Delete(w.ctx, imageDigest("three")))
			}},
		},
		{
			name: "collect",
			prepare: func(t *testing.T, d driver.Driver, repo storage.Repository) {
				push(t, repo, "three", "v3")
				reg := openRegistry(t, d, storage.Options{AllowDelete: true})
				app := repository(t, reg, "app")
				require.NoError(t, app.Manifests().Delete(t.Context(), imageDigest("three")))
				require.NoError(t, app.Blobs().Delete(t.Context(), digest.FromBytes(loose)))
			},
			steps: []func(w *world) error{(*world).collect},
		},
		{
			name: "collect what is not tagged",
			prepare: func(t *testing.T, _ driver.Driver, repo storage.Repository) {
				push(t, repo, "three", "v3")
				require.NoError(t, repo.Tags().Untag(t.Context(), "v3"))
				pushReferrer(t, repo, "signature", imageDigest("three"))
			},
			steps: []func(w *world) error{(*world).collectUntagged},
		},
		{
			name:  "remove a repository",
			steps: []func(w *world) error{(*world).removeApp},
		},
		{
			name: "remove a repository above another",
			prepare: func(t *testing.T, d driver.Driver, _ storage.Repository) {
				push(t, repository(t, again(t, d), "app/nested"), "nested", "v1")
			},
			steps: []func(w *world) error{(*world).removeApp},
		},
		{
			name: "untag, emptying the trash",
			prepare: func(t *testing.T, d driver.Driver, repo storage.Repository) {
				push(t, repo, "three", "v3")
				require.NoError(t, repo.Tags().Untag(t.Context(), "v3"))
				ageTrash(t, d)
			},
			steps: []func(w *world) error{untag("v1")},
		},
		{
			name:    "repair",
			prepare: damageEverything,
			repairs: true,
			steps:   []func(w *world) error{(*world).repair},
		},
		{
			name: "purge",
			prepare: func(t *testing.T, _ driver.Driver, repo storage.Repository) {
				u, err := repo.Blobs().Create(t.Context())
				require.NoError(t, err)
				require.NoError(t, errors.Join(writeParts(u, both), u.Close()))
			},
			steps: []func(w *world) error{(*world).purge},
		},
	}
}

// ageTrash makes all that is in the trash old enough to go.
func ageTrash(t *testing.T, d driver.Driver) {
	t.Helper()
	entries, err := d.List(t.Context(), trash)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for i, entry := range entries {
		aged := fmt.Sprintf("%s/%d-%d", trash, time.Now().Add(-48*time.Hour).Unix(), i)
		require.NoError(t, driver.MoveDir(t.Context(), d, entry, aged))
	}
}

// damageEverything leaves damage of each kind that a repair deals with in its
// own way.
func damageEverything(t *testing.T, d driver.Driver, repo storage.Repository) {
	ctx := t.Context()
	push(t, repo, "three", "v3")
	lost := push(t, repo, "four", "lost")
	require.NoError(t, repo.Tags().Tag(ctx, "torn", imageDigest("one")))
	overwrite(t, d, dataPath(digest.FromBytes(loose)), 0, []byte("WRONG"))
	overwrite(t, d, dataPath(lost.manifest), 0, []byte("WRONG"))
	require.NoError(t, d.Delete(ctx, path.Dir(currentLink("app", "torn"))))
	put(t, d, revisionLink("app", imageDigest("three")), "forged")
	config, layer, _ := image("one")
	put(t, d, layerLink("app", digest.FromBytes(config)), "forged")
	require.NoError(t, d.Delete(ctx, path.Dir(layerLink("app", digest.FromBytes(layer)))))
	put(t, d, strays[0], "what no registry puts there")
}

// renameHolds reports that what a tag named has no name. from names it first.
func renameHolds(from, to string) func(w *world, seen sight, done int) error {
	return func(_ *world, seen sight, _ int) error {
		if one := imageDigest("one").String(); seen["app tag "+from] != one && seen["app tag "+to] != one {
			return errors.New("neither tag names what was renamed")
		}
		return nil
	}
}

// uploadHolds reports bytes of an upload that were acknowledged and are not
// there.
func uploadHolds(w *world, seen sight, done int) error {
	if done == 0 || seen["app blob "+digest.FromBytes(both).String()] != "" {
		return nil
	}
	isLast := done == len(w.op.steps)-1
	want := halves[0]
	if isLast && done > 1 {
		want = both
	}
	content, err := w.repo("app").Blobs().OpenUpload(w.ctx, w.upload)
	if err == nil {
		defer content.Close()
		got := make([]byte, len(want))
		_, err = content.ReadAt(got, 0)
		if string(got) == string(want) {
			return nil
		}
	}
	if isLast {
		// The bytes may be where blobs are, and not linked yet: finishing the
		// upload must find them, and shows that it does.
		return nil
	}
	return fmt.Errorf("bytes of a closed upload are lost: %w", err)
}
