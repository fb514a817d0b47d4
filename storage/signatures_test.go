package storage_test

import (
	"path"
	"strings"
	"testing"

	"github.com/docker/libtrust"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/manifest"
	"registryfs/storage"
)

func signatureLink(repo string, d, signature digest.Digest) string {
	return path.Join(path.Dir(revisionLink(repo, d)), "signatures/sha256", signature.Encoded(), "link")
}

func newKey(t *testing.T) manifest.PrivateKey {
	t.Helper()
	key, err := libtrust.GenerateECP256PrivateKey()
	require.NoError(t, err)
	return key
}

// schema1 is a manifest of schema 1 without signatures.
func schema1(name, tag string, layers ...digest.Digest) []byte {
	var sums, history []string
	for _, d := range layers {
		sums = append(sums, `{"blobSum":"`+d.String()+`"}`)
		history = append(history, `{"v1Compatibility":"{\"id\":\"`+d.Encoded()+`\"}"}`)
	}
	return []byte(`{"schemaVersion":1,"name":"` + name + `","tag":"` + tag + `","architecture":"amd64",` +
		`"fsLayers":[` + strings.Join(sums, ",") + `],"history":[` + strings.Join(history, ",") + `]}`)
}

func sign(t *testing.T, payload []byte, key manifest.PrivateKey) *manifest.Signed {
	t.Helper()
	signed, err := manifest.Sign(payload, key)
	require.NoError(t, err)
	return signed
}

// signedForm reads the signed form of a manifest.
func signedForm(t *testing.T, repo storage.Repository, d digest.Digest) *manifest.Signed {
	t.Helper()
	document, err := repo.Manifests().Signed(t.Context(), d)
	require.NoError(t, err)
	signed, err := manifest.ParseSigned(document)
	require.NoError(t, err)
	require.Equal(t, d, digest.FromBytes(signed.Manifest().Payload()))
	return signed
}

// The payload is what is stored; signatures are content of their own.
func TestLayoutOfSignatures(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		tapped := &tap{Driver: d}
		repo := repository(t, create(t, tapped), "team/app")
		layer := putBlob(t, repo, []byte("layer"))
		payload := schema1("team/app", "v1", layer)
		name := digest.FromBytes(payload)
		want := filesOf(tree(t, d))
		want[dataPath(name)] = string(payload)
		want[revisionLink("team/app", name)] = name.String()
		for range 2 { // the second key's is merged
			signed := sign(t, payload, newKey(t))
			signature := signed.Signatures()[0]
			sum := digest.FromBytes(signature)
			want[dataPath(sum)] = string(signature)
			want[signatureLink("team/app", name, sum)] = sum.String()

			var order []string
			tapped.changed = func(op, p string) {
				if op == "put" && strings.HasPrefix(p, repos+"/team/app/_manifests/") {
					order = append(order, p)
				}
			}
			desc, err := repo.Manifests().Put(t.Context(), "", signed.Document(), storage.ForTag("v1"))
			require.NoError(t, err)
			require.Equal(t, name, desc.Digest)
			require.Equal(t, want, filesOf(tree(t, d)))
			require.Equal(t, []string{signatureLink("team/app", name, sum), revisionLink("team/app", name)}, order,
				"a manifest never shows without its signatures")
		}
		require.Len(t, signedForm(t, repository(t, again(t, d), "team/app"), name).Signatures(), 2)
	})
}

// A signature that is damaged leaves the others.
func TestSignatureDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, d driver.Driver, link, data string){
		"LinkGone":     func(t *testing.T, d driver.Driver, link, _ string) { require.NoError(t, d.Delete(t.Context(), link)) },
		"LinkEmpty":    func(t *testing.T, d driver.Driver, link, _ string) { put(t, d, link, "") },
		"LinkGarbage":  func(t *testing.T, d driver.Driver, link, _ string) { put(t, d, link, "garbage") },
		"ContentGone":  func(t *testing.T, d driver.Driver, _, data string) { require.NoError(t, d.Delete(t.Context(), data)) },
		"ContentEmpty": func(t *testing.T, d driver.Driver, _, data string) { truncate(t, d, data, 0) },
		"ContentOther": func(t *testing.T, d driver.Driver, _, data string) { overwrite(t, d, data, 10, []byte("XXXX")) },
		"ContentHuge":  func(t *testing.T, d driver.Driver, _, data string) { truncate(t, d, data, 1<<20) },
		"LinkOfPayload": func(t *testing.T, d driver.Driver, link, _ string) {
			put(t, d, link, digest.FromBytes([]byte("layer")).String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
				repo := repository(t, create(t, d), "app")
				payload := schema1("app", "v1", putBlob(t, repo, []byte("layer")))
				revision := digest.FromBytes(payload)
				first, second := sign(t, payload, newKey(t)), sign(t, payload, newKey(t))
				spoil := func(s *manifest.Signed) {
					sum := digest.FromBytes(s.Signatures()[0])
					damage(t, d, signatureLink("app", revision, sum), dataPath(sum))
				}
				for _, s := range []*manifest.Signed{first, second} {
					_, err := repo.Manifests().Put(t.Context(), "", s.Document())
					require.NoError(t, err)
				}
				spoil(first)
				repo = repository(t, again(t, d), "app")
				require.Equal(t, second.Signatures(), signedForm(t, repo, revision).Signatures())
				spoil(second)
				_, err := repo.Manifests().Signed(t.Context(), revision)
				require.ErrorIs(t, err, storage.ErrUnsigned)
				_, err = repo.Manifests().Get(t.Context(), revision)
				require.NoError(t, err)

				key := newKey(t)
				repo = repository(t, openRegistry(t, d, storage.Options{SigningKey: key}), "app")
				require.Len(t, signedForm(t, repo, revision).Signatures(), 1)
				_, err = repo.Manifests().Put(t.Context(), "", first.Document()) // a push heals it
				require.NoError(t, err)
				require.Equal(t, first.Signatures(), signedForm(t, repo, revision).Signatures())
			})
		})
	}
}

// Signatures of another manifest do not make this one a signed one.
func TestSignatureOfAnother(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		repo := repository(t, create(t, d), "app")
		layer := putBlob(t, repo, []byte("layer"))
		one, two := sign(t, schema1("app", "v1", layer), newKey(t)), schema1("app", "v2", layer)
		_, err := repo.Manifests().Put(t.Context(), "", one.Document())
		require.NoError(t, err)
		desc, err := repo.Manifests().Put(t.Context(), "", two, storage.AcceptUnsigned())
		require.NoError(t, err)
		sum := digest.FromBytes(one.Signatures()[0])
		put(t, d, signatureLink("app", desc.Digest, sum), sum.String())
		_, err = repo.Manifests().Signed(t.Context(), desc.Digest)
		require.ErrorIs(t, err, storage.ErrUnsigned)
	})
}

// With a key, what has no signature is signed when it is asked for, as
// registries 2.5 to 2.8 do; nothing of that is stored.
func TestSigningKey(t *testing.T) {
	onDrivers(t, func(t *testing.T, d driver.Driver, _ string) {
		key := newKey(t)
		repo := repository(t, openRegistry(t, d, storage.Options{Create: true, SigningKey: key}), "app")
		layer := putBlob(t, repo, []byte("layer"))
		unsigned, signed := schema1("app", "v1", layer), sign(t, schema1("app", "v2", layer), newKey(t))
		desc, err := repo.Manifests().Put(t.Context(), "", unsigned, storage.AcceptUnsigned())
		require.NoError(t, err)
		image := push(t, repo, "one", "")

		before := tree(t, d)
		got := signedForm(t, repo, desc.Digest)
		require.Equal(t, string(unsigned), string(got.Manifest().Payload()))
		jws, err := libtrust.ParsePrettySignature(got.Document(), "signatures")
		require.NoError(t, err)
		keys, err := jws.Verify()
		require.NoError(t, err)
		require.Len(t, keys, 1)
		require.Equal(t, key.KeyID(), keys[0].KeyID())
		_, err = repo.Manifests().Signed(t.Context(), image.manifest)
		require.ErrorIs(t, err, storage.ErrUnsigned)
		require.Equal(t, before, tree(t, d))

		_, err = repo.Manifests().Put(t.Context(), "", unsigned)
		require.ErrorIs(t, err, storage.ErrUnsigned, "a key of the registry's signs nothing that is pushed")
		desc, err = repo.Manifests().Put(t.Context(), "", signed.Document())
		require.NoError(t, err)
		require.Equal(t, signed.Signatures(), signedForm(t, repo, desc.Digest).Signatures(), "what has a signature keeps it")
	})
}
