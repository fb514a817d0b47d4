package main

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/docker/libtrust"
	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
)

// abortUpload begins an upload at the registry, and breaks the connection off
// after some bytes. It returns the upload's id.
func (p *peer) abortUpload(t *testing.T, store, repo string, content []byte) (id string) {
	t.Helper()
	address, id := p.begin(t, repo)
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, address, r)
	require.NoError(t, err)
	req.ContentLength = int64(len(content)) + 1
	ended := make(chan error, 1)
	go func() {
		_, err := (&http.Client{Timeout: patience}).Do(req)
		ended <- err
	}()
	_, err = w.Write(content)
	require.NoError(t, err)
	w.CloseWithError(io.ErrClosedPipe)
	require.Error(t, <-ended)
	// What the registry had received when it noticed, it keeps.
	shell(t, `until [ "$(stat -c %s "$1")" = "$2" ]; do :; done`,
		filepath.Join(store, storeDir, "repositories", repo, "_uploads", id, "data"), itoa(len(content)))
	return id
}

// Whatever a registry of ten years ago or of today wrote is in the mount.
func TestStoreOfManyFormats(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, oci := startPeer(t, store), makeLayout(t, "formats")
	p.push(t, oci, "team/app", "oci")
	p.push(t, oci, "team/app", "docker", "--format", "v2s2")
	docker := p.fetch(t, "team/app", "docker")

	half := layer(t, "aborted", 64<<10)
	aborted := p.abortUpload(t, store, "team/app", half)

	content := layer(t, "sha512", 64<<10)
	sum := sha512.Sum512(content)
	long := hex.EncodeToString(sum[:])
	address, _ := p.begin(t, "team/app")
	finish(t, address, content, digest.Digest("sha512:"+long))
	canonical := digest.FromBytes(content)

	startServer(t, store, mnt)
	repo := filepath.Join(mnt, "team/app")
	checkMounted(t, mnt, "team/app", "oci", oci.image)
	checkMounted(t, mnt, "team/app", "docker", docker)
	all := merge(oci.image, docker)
	all.addBlob(canonical)
	checkListed(t, mnt, "team/app", all)

	require.Equal(t, aborted, shell(t, `ls "$1/_uploads"`, repo))
	checkFile(t, filepath.Join(repo, "_uploads", aborted), half)

	require.Equal(t, long, shell(t, `ls "$1/_blobs/sha512"`, repo))
	for _, name := range []string{"sha512/" + long, "sha512:" + long, "sha256/" + canonical.Encoded(), "sha256:" + canonical.Encoded()} {
		checkFile(t, filepath.Join(repo, "_blobs", name), content)
	}
	require.Equal(t, "sha512/"+long, shell(t, `readlink "$1/_blobs/sha512:$2"`, repo, long))

	// Everything that is listed can be read, and is what its name says.
	shell(t, `cd "$1"
		for f in */sha256/*; do echo "${f##*/}  $f"; done | sha256sum --quiet --strict -c -
		for f in */sha512/*; do echo "${f##*/}  $f"; done | sha512sum --quiet --strict -c -
		find . \( -type f -o -type l \) -exec cat {} + > "$2"
	`, repo, filepath.Join(t.TempDir(), "all"))
	require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, mnt))

	// A blob of sha512 goes in through the mount as well.
	other := layer(t, "other", 64<<10)
	sum = sha512.Sum512(other)
	shell(t, `cp "$1" "$2/_blobs/sha512/$3"`, writeFile(t, string(other)), repo, hex.EncodeToString(sum[:]))
	for _, d := range []digest.Digest{digest.Digest("sha512:" + hex.EncodeToString(sum[:])), digest.FromBytes(other)} {
		p.checkBlob(t, "team/app", d, other)
	}
}

// oldImage is a signed manifest of schema 1.
func oldImage(t *testing.T, repo, tag string, key manifest.PrivateKey, layers ...[]byte) *manifest.Signed {
	t.Helper()
	b := manifest.Schema1Builder{Name: repo, Tag: tag, Config: []byte(`{"architecture":"amd64","os":"linux"}`)}
	for _, content := range layers {
		b.Layers = append(b.Layers, digest.FromBytes(content))
	}
	signed, err := b.Sign(key)
	require.NoError(t, err)
	return signed
}

// checkSigned reads a signed manifest, which must be of the payload that is
// wanted, and have this key's signature, and no other unless key is nil.
func checkSigned(t *testing.T, document string, want *manifest.Signed, key manifest.PrivateKey) {
	t.Helper()
	got, err := manifest.ParseSigned([]byte(document))
	require.NoError(t, err, "the signatures do not match")
	require.Equal(t, string(want.Manifest().Payload()), string(got.Manifest().Payload()))
	require.Len(t, got.Signatures(), 1)
	if key != nil {
		require.Contains(t, string(got.Signatures()[0]), key.KeyID())
	}
}

func newKey(t *testing.T) (key manifest.PrivateKey, file string) {
	t.Helper()
	key, err := libtrust.GenerateECP256PrivateKey()
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, libtrust.SaveKey(file, key))
	return key, file
}

// A manifest of schema 1 that was pushed to the registry, which keeps no
// signatures, is signed in the mount if that has a key.
func TestSchema1OfTheRegistry(t *testing.T) {
	store := newPeerStore(t)
	p := startPeer(t, store)
	pushers, _ := newKey(t)
	ours, keyFile := newKey(t)
	a, b := []byte("layer a"), []byte("layer b")
	old := oldImage(t, "team/old", "v1", pushers, a, b)
	payload := old.Manifest().Payload()
	for _, content := range [][]byte{a, b} {
		p.pushBlob(t, "team/old", content)
	}
	require.NoError(t, p.retag("team/old", "v1", manifest.MediaTypeDockerSchema1Signed, old.Document()))
	hex := digest.FromBytes(payload).Encoded()

	for _, tc := range []struct {
		name  string
		flags []string
	}{{"without a key", nil}, {"with a key", []string{"--signing-key", keyFile}}, {"with a key, read-only", []string{"-o", "ro,signing_key=" + keyFile}}} {
		t.Run(tc.name, func(t *testing.T) {
			mnt := mountPoint(t)
			startServer(t, append([]string{store, mnt}, tc.flags...)...)
			repo := filepath.Join(mnt, "team/old")
			checkMounted(t, mnt, "team/old", "v1", image{root: hex, manifests: []string{hex}})
			checkFile(t, filepath.Join(repo, "_tags/v1"), payload)
			require.Equal(t, hex, shell(t, `ls "$1/_manifests/sha256"`, repo), "the signed form is not listed")
			signed := filepath.Join(repo, "_manifests/sha256", hex+".jws")
			if tc.flags == nil {
				fails(t, "No such file", `cat "$1"`, signed)
				return
			}
			checkSigned(t, shell(t, `cat "$1"`, signed), old, ours)
		})
	}
}

// A signed manifest goes in through the mount, by its digest or onto a tag; its
// own signature is kept, and the registry serves it.
func TestSchema1IntoTheMount(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p := startPeer(t, store)
	_, keyFile := newKey(t)
	startServer(t, store, mnt, "--signing-key", keyFile)
	pushers, _ := newKey(t)
	a, b := []byte("layer a"), []byte("layer b")
	repo := filepath.Join(mnt, "made/old")
	shell(t, `mkdir -p "$1"; cp "$2" "$1/_blobs/a"; cp "$3" "$1/_blobs/b"`, repo, writeFile(t, string(a)), writeFile(t, string(b)))
	check := func(tag string, want *manifest.Signed) {
		t.Helper()
		hex := digest.FromBytes(want.Manifest().Payload()).Encoded()
		checkMounted(t, mnt, "made/old", tag, image{root: hex, manifests: []string{hex}})
		checkFile(t, filepath.Join(repo, "_manifests/sha256", hex+".jws"), want.Document()) // the pusher's signature is kept
		resp, content := p.get(t, "made/old/manifests/"+tag, http.StatusOK)
		require.Equal(t, manifest.MediaTypeDockerSchema1Signed, resp.Header.Get("Content-Type"))
		require.Equal(t, "sha256:"+hex, resp.Header.Get("Docker-Content-Digest"))
		checkSigned(t, string(content), want, nil) // it keeps none, and signs itself
	}

	byDigest := oldImage(t, "made/old", "v1", pushers, a, b)
	hex := digest.FromBytes(byDigest.Manifest().Payload()).Encoded()
	shell(t, `cp "$1" "$2/_manifests/sha256/$3.jws"; ln -s "../_manifests/sha256/$3" "$2/_tags/v1"`,
		writeFile(t, string(byDigest.Document())), repo, hex)
	check("v1", byDigest)

	byTag := oldImage(t, "made/old", "v2", pushers, a)
	shell(t, `cp "$1" "$2/_tags/v2"`, writeFile(t, string(byTag.Document())), repo)
	check("v2", byTag)
	require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, mnt))

	for _, tc := range []struct {
		name, path string
		document   []byte
		error, why string
	}{
		{"another tag", "_tags/v3", byTag.Document(), "Invalid argument", `tag is "v2"`},
		{"another repository", "_tags/v4", oldImage(t, "made/other", "v4", pushers, a).Document(), "Invalid argument", `name is "made/other"`},
		{"without signatures", "_tags/v2", byDigest.Manifest().Payload(), "Invalid argument", "not signed"},
		{"changed since", "_tags/v2", bytes.Replace(byTag.Document(), []byte("amd64"), []byte("arm64"), 1), "Invalid argument", "signature"},
		{"another payload", "_manifests/sha256/" + hex + ".jws", byTag.Document(), "Bad message", "does not match"},
		{"a layer that is missing", "_tags/v5", oldImage(t, "made/old", "v5", pushers, []byte("missing")).Document(),
			"No data available", digest.FromBytes([]byte("missing")).String()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fails(t, tc.error, `cp "$1" "$2"`, writeFile(t, string(tc.document)), filepath.Join(repo, tc.path))
			require.Contains(t, shell(t, `tail -n 1 "$1/.registryfs/errors"`, mnt), tc.why)
		})
	}
	require.Equal(t, "v1\nv2", shell(t, `ls "$1/_tags"`, repo))
}

// A manifest that sends whoever pulls it elsewhere for a layer is read as it
// is, but put only where that was allowed.
func TestForeignLayers(t *testing.T) {
	store := newPeerStore(t)
	p := startPeer(t, store)
	const address = "https://layers.example/base,1.tar.gz"
	config, own := []byte(`{"architecture":"amd64","os":"windows"}`), []byte("a layer")
	describe := func(content []byte) manifest.Descriptor {
		return manifest.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	}
	foreign := describe([]byte("nobody has this"))
	foreign.MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	foreign.URLs = []string{address}
	b := manifest.ImageBuilder{
		MediaType: manifest.MediaTypeDockerManifest,
		Config:    describe(config),
		Layers:    []manifest.Descriptor{foreign, describe(own)},
	}
	m, err := b.Build()
	require.NoError(t, err)
	for _, content := range [][]byte{config, own} {
		p.pushBlob(t, "team/win", content)
	}
	require.NoError(t, p.retag("team/win", "v1", m.MediaType(), m.Payload()))
	hex := digest.FromBytes(m.Payload()).Encoded()
	want := image{root: hex, manifests: []string{hex}}
	want.addBlob(describe(config).Digest)
	want.addBlob(describe(own).Digest)
	file := writeFile(t, string(m.Payload()))

	for i, tc := range []struct {
		name   string
		flags  []string
		reason string // "": it is allowed
	}{
		{"by default", nil, "is not among those allowed"},
		{"another is allowed", []string{"--allow-url", "^https://other"}, "is not among those allowed"},
		{"denied", []string{"--allow-url", ".", "--deny-url", "example"}, "is denied"},
		{"allowed", []string{"--allow-url", "^https://layers[.]example/.{1,20}$"}, ""},
		{"one of several", []string{"-o", "allow_url=^http:,allow_url=^https:", "--deny-url=other"}, ""},
		{"all but others", []string{"--deny-url", "^https://other"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mnt := mountPoint(t)
			startServer(t, append([]string{store, mnt}, tc.flags...)...)
			checkMounted(t, mnt, "team/win", "v1", want)
			checkListed(t, mnt, "team/win", want)

			name := fmt.Sprintf("copies/c%d", i)
			repo := filepath.Join(mnt, name)
			scripts := []string{
				`cp "$3" "$2/_manifests/sha256/$4"`,
				`cp "$3" "$2/_tags/v1"`,
				`ln -s "$1/team/win/_tags/v1" "$2/_tags/v2"`,
			}
			shell(t, `mkdir -p "$2"; cp "$1"/team/win/_blobs/sha256/* "$2/_blobs/sha256/"`, mnt, repo)
			for _, script := range scripts {
				if tc.reason == "" {
					shell(t, script, mnt, repo, file, hex)
					continue
				}
				fails(t, "Invalid argument", script, mnt, repo, file, hex)
				said := shell(t, `tail -n 1 "$1/.registryfs/errors"`, mnt)
				require.Contains(t, said, tc.reason, script)
				require.Contains(t, said, address, script)
			}
			if tc.reason != "" {
				require.Empty(t, shell(t, `ls "$1/_tags" "$1/_manifests/sha256" | grep -v :`+" || :", repo))
				return
			}
			checkMounted(t, mnt, name, "v1", want)
			checkMounted(t, mnt, name, "v2", want)
			require.Equal(t, hex, p.tagged(t, name, "v1"))
		})
	}
}

// Tags that exist stay as they are where the mount is told so.
func TestImmutableTags(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p, a, b := startPeer(t, store), makeLayout(t, "a"), makeLayout(t, "b")
	p.push(t, a, "team/app", "v1")
	p.push(t, b, "team/app", "v2")
	startServer(t, store, mnt, "-o", "immutable_tags")
	tags := filepath.Join(mnt, "team/app/_tags")
	for _, script := range []string{`ln -sfn v2 "$1/v1"`, `rm "$1/v1"`, `mv -T "$1/v1" "$1/v3"`, `mv -T "$1/v2" "$1/v1"`, `cp "$1/v2" "$1/v1"`} {
		r := execute(t, "sh", "-c", script, "sh", tags)
		require.NotZero(t, r.status, script)
		require.Contains(t, shell(t, `tail -n 1 "$1/.registryfs/errors"`, mnt), "immutable", script)
	}
	shell(t, `ln -s v1 "$1/v3"; ln -sfn v1 "$1/v3"`, tags)
	require.Equal(t, []string{"v1", "v2", "v3"}, p.tags(t, "team/app"))
	require.Equal(t, a.root, p.tagged(t, "team/app", "v1"))
	require.Equal(t, b.root, p.tagged(t, "team/app", "v2"))
	require.Equal(t, a.root, p.tagged(t, "team/app", "v3"))
	require.Equal(t, "v1\nv2\nv3", shell(t, `ls "$1"`, tags))
}
