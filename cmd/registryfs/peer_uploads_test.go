package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
)

// uploadState is what a registry of the distribution project knows of an upload
// by the token in its address (registry/handlers/hmac.go there).
type uploadState struct {
	Name, UUID string
	Offset     int64
	StartedAt  time.Time
}

// token is URL-safe base64 of the state's HMAC-SHA256 and the state.
func (s uploadState) token(t *testing.T) string {
	t.Helper()
	state := marshal(t, s)
	mac := hmac.New(sha256.New, []byte(peerSecret))
	mac.Write(state)
	return base64.URLEncoding.EncodeToString(append(mac.Sum(nil), state...))
}

// parseToken is the inverse of token, which it thereby tests.
func parseToken(t *testing.T, token string) uploadState {
	t.Helper()
	raw, err := base64.URLEncoding.DecodeString(token)
	require.NoError(t, err)
	var s uploadState
	require.NoError(t, json.Unmarshal(raw[sha256.Size:], &s))
	require.Equal(t, token, s.token(t))
	return s
}

// at is the address of an upload that the registry did not begin, or not alone.
func (p *peer) at(t *testing.T, repo, id string, offset int64) string {
	t.Helper()
	s := uploadState{Name: repo, UUID: id, Offset: offset, StartedAt: time.Now().UTC()}
	return p.url(repo+"/blobs/uploads/"+id) + "?_state=" + url.QueryEscape(s.token(t))
}

// begin begins an upload and returns its address and id.
func (p *peer) begin(t *testing.T, repo string) (address, id string) {
	t.Helper()
	resp, content, err := p.do(http.MethodPost, repo+"/blobs/uploads/", "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, resp.StatusCode, "%s", content)
	address = resp.Header.Get("Location")
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	s := parseToken(t, parsed.Query().Get("_state"))
	require.Equal(t, repo, s.Name)
	return address, s.UUID
}

// patch sends more of an upload and returns its next address.
func patch(t *testing.T, address string, content []byte) string {
	t.Helper()
	resp, said, err := send(http.MethodPatch, address, "application/octet-stream", content)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, resp.StatusCode, "%s", said)
	return resp.Header.Get("Location")
}

// finish sends the rest of an upload and has it made a blob.
func finish(t *testing.T, address string, rest []byte, d digest.Digest) {
	t.Helper()
	resp, said, err := send(http.MethodPut, address+"&digest="+url.QueryEscape(d.String()), "application/octet-stream", rest)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, resp.StatusCode, "%s", said)
}

// pushBlob stores a blob through the registry.
func (p *peer) pushBlob(t *testing.T, repo string, content []byte) digest.Digest {
	t.Helper()
	address, _ := p.begin(t, repo)
	d := digest.FromBytes(content)
	finish(t, address, content, d)
	return d
}

// checkBlob reads a blob from the registry.
func (p *peer) checkBlob(t *testing.T, repo string, d digest.Digest, want []byte) {
	t.Helper()
	_, got := p.get(t, repo+"/blobs/"+d.String(), http.StatusOK)
	require.True(t, bytes.Equal(want, got), "the registry serves other content for %s", d)
}

// checkFile reads a file of the mount.
func checkFile(t *testing.T, path string, want []byte) {
	t.Helper()
	shell(t, `cmp "$1" "$2"`, writeFile(t, string(want)), path)
}

// fails runs a script that must fail, and say why.
func fails(t *testing.T, says, script string, args ...string) {
	t.Helper()
	r := execute(t, "sh", append([]string{"-euc", script, "sh"}, args...)...)
	require.NotZero(t, r.status, script)
	require.Contains(t, r.stderr, says, script)
}

// An upload that the registry's clients began is finished through the mount.
func TestUploadBegunAtTheRegistry(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p := startPeer(t, store)
	startServer(t, store, mnt)
	repo := filepath.Join(mnt, "team/app")
	content := layer(t, "begun at the registry", 300<<10)
	first, rest := content[:100_000], content[100_000:]
	d := digest.FromBytes(content)

	address, id := p.begin(t, "team/app")
	patch(t, address, first)
	require.Equal(t, id, shell(t, `ls "$1/_uploads"`, repo))
	checkFile(t, filepath.Join(repo, "_uploads", id), first)

	shell(t, `cat "$1" >> "$2/_uploads/$3"`, writeFile(t, string(rest)), repo, id)
	shell(t, `mv "$1/_uploads/$2" "$1/_blobs/sha256/$3"`, repo, id, d.Encoded())
	checkFile(t, filepath.Join(repo, "_blobs/sha256", d.Encoded()), content)
	p.checkBlob(t, "team/app", d, content)
	require.Empty(t, shell(t, `ls "$1/_uploads"`, repo))

	// The registry knows no more of it.
	resp, _, err := send(http.MethodPatch, p.at(t, "team/app", id, int64(len(content))), "", []byte("more"))
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Empty(t, shell(t, `cat "$1/.registryfs/errors"`, mnt))
}

// interruptCopy copies to a path of a repository until its first bytes are in
// an upload, and interrupts cp, as Ctrl-C does. It returns the upload's id.
func interruptCopy(t *testing.T, mnt, repo, path string, first []byte) (id string) {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	cp := exec.Command("cp", fifo, filepath.Join(mnt, repo, path))
	require.NoError(t, cp.Start())
	stuck := time.AfterFunc(patience, func() { _ = cp.Process.Kill() })
	defer stuck.Stop()
	feed, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer feed.Close()
	_, err = feed.Write(first)
	require.NoError(t, err)
	id = shell(t, `cd "$1/_uploads"
		until id=$(ls) && [ -n "$id" ] && [ "$(stat -c %s "$id")" = "$2" ]; do :; done; echo "$id"`,
		filepath.Join(mnt, repo), itoa(len(first)))
	require.NoError(t, cp.Process.Signal(syscall.SIGINT))
	require.Error(t, cp.Wait())
	shell(t, `until grep -q "kept as upload $2" "$1/.registryfs/errors"; do :; done`, mnt, id)
	return id
}

// An upload that was begun through the mount, and interrupted, is finished by
// the registry's clients.
func TestUploadBegunInTheMount(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p := startPeer(t, store)
	startServer(t, store, mnt)
	repo := filepath.Join(mnt, "team/app")
	shell(t, `mkdir -p "$1"`, repo)
	content := layer(t, "begun in the mount", 300<<10)
	d := digest.FromBytes(content)
	const cut = 60_000
	id := interruptCopy(t, mnt, "team/app", "_blobs/name", content[:cut])
	states := filepath.Join(store, storeDir, "repositories/team/app/_uploads", id, "hashstates/sha256")
	require.FileExists(t, filepath.Join(states, itoa(cut)), "the registry goes on from it")

	next := patch(t, p.at(t, "team/app", id, cut), content[cut:2*cut])
	finish(t, next, content[2*cut:], d)
	p.checkBlob(t, "team/app", d, content)
	checkFile(t, filepath.Join(repo, "_blobs/sha256", d.Encoded()), content)
	require.Empty(t, shell(t, `ls "$1/_uploads"`, repo))
}

// Both take turns on one upload; each goes on where the other stopped.
func TestUploadInTurns(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p := startPeer(t, store)
	startServer(t, store, mnt)
	content := layer(t, "in turns", 300<<10)
	d := digest.FromBytes(content)
	const step = 50_001
	parts := func(i int) []byte { return content[i*step : (i+1)*step] }
	address, id := p.begin(t, "team/app")
	upload := filepath.Join(mnt, "team/app/_uploads", id)
	for i := 0; i < 4; i += 2 {
		patch(t, address, parts(i))
		shell(t, `cat "$1" >> "$2"`, writeFile(t, string(parts(i+1))), upload)
		address = p.at(t, "team/app", id, int64(i+2)*step)
		checkFile(t, upload, content[:(i+2)*step])
	}
	finish(t, address, content[4*step:], d)
	p.checkBlob(t, "team/app", d, content)
	checkFile(t, filepath.Join(mnt, "team/app/_blobs/sha256", d.Encoded()), content)
}

// stalePatch begins to send to an upload at the registry, and returns once the
// registry has opened it for that. send sends the content and ends the request.
func stalePatch(t *testing.T, address string, content []byte) (send func() int) {
	t.Helper()
	opened, status := make(chan struct{}), make(chan int, 1)
	// The registry asks for the body when it has opened the upload.
	trace := &httptrace.ClientTrace{Got100Continue: func() { close(opened) }}
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodPatch, address, r)
	require.NoError(t, err)
	req.ContentLength = int64(len(content))
	req.Header.Set("Expect", "100-continue")
	client := http.Client{Timeout: patience, Transport: &http.Transport{ExpectContinueTimeout: patience, DisableKeepAlives: true}}
	go func() {
		defer close(status)
		resp, err := client.Do(req)
		if err != nil {
			t.Log(err)
			r.CloseWithError(err)
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	select {
	case <-opened:
	case <-status:
		require.FailNow(t, "the registry does not take the upload")
	}
	return func() int {
		_, err := w.Write(content)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return <-status
	}
}

// Two clients that write to one upload at a time leave other bytes under a
// digest in the registry, which it then serves. The mount takes no second
// writer, shows no such blob, and heals it.
func TestOverlappingWriters(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p := startPeer(t, store)
	startServer(t, store, mnt)
	repo := filepath.Join(mnt, "team/app")
	content := layer(t, "overlapping", 100<<10)
	stale := bytes.Repeat([]byte("stale "), 10_000)
	require.Less(t, len(stale), len(content))

	poisoned := digest.FromBytes(content)
	address, _ := p.begin(t, "team/app")
	sendStale := stalePatch(t, address, stale)
	next := patch(t, address, content)
	require.Equal(t, http.StatusAccepted, sendStale())
	finish(t, next, nil, poisoned)
	_, got := p.get(t, "team/app/blobs/"+poisoned.String(), http.StatusOK)
	require.NotEqual(t, poisoned, digest.FromBytes(got), "the registry has other bytes under the digest")
	require.Equal(t, stale, got[:len(stale)])

	checkHealing := func(t *testing.T, blob string, content []byte) {
		t.Helper()
		fails(t, "Input/output error", `cat "$1"`, blob)
		d := digest.FromBytes(content)
		data := filepath.Join("blobs/sha256", d.Encoded()[:2], d.Encoded(), "data")
		require.Contains(t, shell(t, `tail -n 1 "$1/.registryfs/errors"`, mnt), data)
		shell(t, `cp "$1" "$2"`, writeFile(t, string(content)), blob)
		checkFile(t, blob, content)
		p.checkBlob(t, "team/app", d, content)
	}
	t.Run("the registry's blob is healed", func(t *testing.T) {
		checkHealing(t, filepath.Join(repo, "_blobs/sha256", poisoned.Encoded()), content)
	})
	t.Run("the mount has one writer", func(t *testing.T) {
		_, id := p.begin(t, "team/app")
		upload := filepath.Join(repo, "_uploads", id)
		release := holdUpload(t, upload)
		fails(t, "Device or resource busy", `dd if=/etc/passwd of="$1" oflag=append conv=notrunc`, upload)
		fails(t, "Device or resource busy", `mv "$1" "$2/_blobs/other"`, upload, repo)
		fails(t, "Device or resource busy", `rm "$1"`, upload)
		release()
		shell(t, `until rm "$1" 2>/dev/null; do :; done`, upload)
	})

	// Against a writer that heeds no lock nothing helps but to look.
	t.Run("a stale writer at the registry shows", func(t *testing.T) {
		content := append(content, "more"...)
		blob := filepath.Join(repo, "_blobs/sha256", digest.FromBytes(content).Encoded())
		address, id := p.begin(t, "team/app")
		sendStale := stalePatch(t, address, stale)
		shell(t, `cat "$1" >> "$2/_uploads/$3"; mv "$2/_uploads/$3" "$4"`, writeFile(t, string(content)), repo, id, blob)
		checkFile(t, blob, content)
		require.Equal(t, http.StatusAccepted, sendStale())
		checkHealing(t, blob, content)
	})
}
