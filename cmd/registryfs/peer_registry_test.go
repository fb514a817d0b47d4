package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

// peerUser is the user that Debian's registry runs as.
const peerUser = "docker-registry"

// manifestTypes are the media types of manifests, as a client accepts them.
var manifestTypes = []string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
}

// needProgram fails where a test cannot run, and says what to install.
func needProgram(t *testing.T, program, aptPackage string) {
	t.Helper()
	_, err := exec.LookPath(program)
	require.NoError(t, err, "install the package %s", aptPackage)
}

// newPeerStore is an empty store that belongs to the stock registry's user.
func newPeerStore(t *testing.T) string {
	t.Helper()
	needRoot(t)
	store := newStore(t)
	uid, gid := peerIDs(t)
	require.NoError(t, filepath.Walk(store, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, gid)
	}))
	return store
}

func peerIDs(t *testing.T) (uid, gid int) {
	t.Helper()
	account, err := user.Lookup(peerUser)
	require.NoError(t, err, "install the package docker-registry: it makes this user")
	uid, err = strconv.Atoi(account.Uid)
	require.NoError(t, err)
	gid, err = strconv.Atoi(account.Gid)
	require.NoError(t, err)
	return uid, gid
}

// peer is a stock registry on a store, run by a user of its own.
type peer struct {
	config string
	addr   string // while it runs
	cmd    *exec.Cmd
	log    *lines
}

// lines is what a program says, kept for the report of a failure.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(line + "\n")
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const peerConfig = `version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %s}
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}}
http: {addr: "127.0.0.1:0", secret: ` + peerSecret + `}
compatibility: {schema1: {enabled: true}}
validation: {manifests: {urls: {allow: ["."]}}}
`

// peerSecret is what the registry makes the tokens of uploads with.
const peerSecret = "test"

// startPeer runs a stock registry on a store until the test ends.
func startPeer(t *testing.T, store string) *peer {
	t.Helper()
	needProgram(t, "docker-registry", "docker-registry")
	p := &peer{config: filepath.Join(publicDir(t), "config.yml")}
	require.NoError(t, os.WriteFile(p.config, fmt.Appendf(nil, peerConfig, store), 0o644))
	p.start(t)
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("the registry said:\n%s", p.log)
		}
	})
	return p
}

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)

// start returns once the registry says which port the kernel has given it.
func (p *peer) start(t *testing.T) {
	t.Helper()
	p.cmd = p.command(t, "serve", p.config)
	p.log = &lines{}
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	addr := make(chan string, 1)
	go func() {
		defer close(addr)
		for s, found := bufio.NewScanner(stderr), false; s.Scan(); {
			if !strings.Contains(s.Text(), "http.response.status=") { // a request is no news
				p.log.add(s.Text())
			}
			if m := listening.FindStringSubmatch(s.Text()); m != nil && !found {
				found = true
				addr <- m[1]
			}
		}
	}()
	select {
	case p.addr = <-addr:
	case <-time.After(patience):
	}
	require.NotEmpty(t, p.addr, "the registry does not start: %s", p.log)
}

func (p *peer) stop(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	_ = p.cmd.Wait() // its status says that it was asked to end
	p.cmd, p.addr = nil, ""
}

// command is the registry's program, run as its user.
func (p *peer) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	uid, gid := peerIDs(t)
	cmd := exec.Command("docker-registry", args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd
}

// collectGarbage runs the registry's own collector, which must succeed, and
// returns what it says.
func (p *peer) collectGarbage(t *testing.T) string {
	t.Helper()
	require.Nil(t, p.cmd, "it runs only while the registry does not")
	out, err := p.command(t, "garbage-collect", p.config).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// skopeo runs a copy of skopeo, which is given what a registry without
// certificates needs.
func skopeo(t *testing.T, args ...string) {
	t.Helper()
	needProgram(t, "skopeo", "skopeo")
	args = append([]string{"--insecure-policy", "copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"}, args...)
	r := execute(t, "skopeo", args...)
	require.Zero(t, r.status, "skopeo %q: %s", args, r.stderr)
}

// ref is how skopeo names an image in the registry.
func (p *peer) ref(repo, tag string) string { return "docker://" + p.addr + "/" + repo + ":" + tag }

// push copies a layout's image to the registry.
func (p *peer) push(t *testing.T, l *layout, repo, tag string, args ...string) {
	t.Helper()
	skopeo(t, append(args, "oci:"+l.dir+":v1", p.ref(repo, tag))...)
}

// checkPulled pulls an image from the registry and compares every file with
// the layout it once was.
func (p *peer) checkPulled(t *testing.T, repo, tag string, want *layout) {
	t.Helper()
	got := filepath.Join(t.TempDir(), "pulled")
	skopeo(t, p.ref(repo, tag), "oci:"+got+":v1")
	shell(t, `diff -r "$1" "$2"`, filepath.Join(want.dir, "blobs"), filepath.Join(got, "blobs"))
}

// do sends the registry a request and returns its answer.
func (p *peer) do(method, path, contentType string, body []byte) (*http.Response, []byte, error) {
	return send(method, p.url(path), contentType, body)
}

// url is the address of what lies below the API's root.
func (p *peer) url(path string) string { return "http://" + p.addr + "/v2/" + path }

func send(method, address, contentType string, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header["Accept"] = manifestTypes
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	client := http.Client{Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return resp, content, err
}

func (p *peer) get(t *testing.T, path string, status int) (*http.Response, []byte) {
	t.Helper()
	resp, content, err := p.do(http.MethodGet, path, "", nil)
	require.NoError(t, err)
	require.Equal(t, status, resp.StatusCode, "%s: %s", path, content)
	return resp, content
}

// tagged is the digest, in hex, that the registry gives for a tag.
func (p *peer) tagged(t *testing.T, repo, tag string) string {
	t.Helper()
	_, content := p.get(t, repo+"/manifests/"+tag, http.StatusOK)
	return digest.FromBytes(content).Encoded()
}

// tags lists those of a repository, as the registry does.
func (p *peer) tags(t *testing.T, repo string) []string {
	t.Helper()
	_, content := p.get(t, repo+"/tags/list", http.StatusOK)
	var answer struct{ Tags []string }
	require.NoError(t, json.Unmarshal(content, &answer))
	slices.Sort(answer.Tags)
	return answer.Tags
}

// retag sets a tag by storing a manifest again, which is how the protocol does
// it.
func (p *peer) retag(repo, tag, mediaType string, manifest []byte) error {
	resp, content, err := p.do(http.MethodPut, repo+"/manifests/"+tag, mediaType, manifest)
	if err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s: %s", resp.Status, content)
	}
	return err
}

// fetch lists what an image in the registry consists of, and checks that the
// registry serves every part of it whole.
func (p *peer) fetch(t *testing.T, repo, tag string) image {
	t.Helper()
	var img image
	img.root = p.tagged(t, repo, tag)
	p.fetchManifest(t, repo, digest.Digest("sha256:"+img.root), &img)
	return img
}

func (p *peer) fetchManifest(t *testing.T, repo string, d digest.Digest, img *image) {
	t.Helper()
	_, content := p.get(t, repo+"/manifests/"+d.String(), http.StatusOK)
	require.Equal(t, d, digest.FromBytes(content))
	img.addManifest(d)
	type reference struct{ Digest digest.Digest }
	var m struct {
		Config            *reference
		Layers, Manifests []reference
	}
	require.NoError(t, json.Unmarshal(content, &m))
	for _, child := range m.Manifests {
		p.fetchManifest(t, repo, child.Digest, img)
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, blob := range m.Layers {
		_, content := p.get(t, repo+"/blobs/"+blob.Digest.String(), http.StatusOK)
		require.Equal(t, blob.Digest, digest.FromBytes(content))
		img.addBlob(blob.Digest)
	}
}

// checkServes requires that the registry serves all of an image.
func (p *peer) checkServes(t *testing.T, repo, tag string, want image) {
	t.Helper()
	require.Equal(t, want.root, p.tagged(t, repo, tag))
	for path, parts := range map[string][]string{"manifests": want.manifests, "blobs": want.blobs} {
		for _, hex := range parts {
			_, content := p.get(t, repo+"/"+path+"/sha256:"+hex, http.StatusOK)
			require.Equal(t, hex, digest.FromBytes(content).Encoded())
		}
	}
}
