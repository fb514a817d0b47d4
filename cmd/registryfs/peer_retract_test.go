package main

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that is written on takes back what it has published, but not where the
// registry has acknowledged a push of the same meanwhile.
func TestWhatTheRegistryWasGivenIsNotTakenBack(t *testing.T) {
	store, mnt := newPeerStore(t), mountPoint(t)
	p := startPeer(t, store)
	startServer(t, store, mnt)
	blobs := filepath.Join(mnt, "team/app/_blobs")
	shell(t, `mkdir -p "$1"`, filepath.Dir(blobs))

	cmd := exec.Command("sh", "-euc", `exec 3> "$1/a"; echo x >&3; echo published; read -r go; echo y >&3`, "sh", blobs)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "published\n", said)

	d := p.pushBlob(t, "team/app", []byte("x\n"))
	_, err = in.Write([]byte("go\n"))
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	checkFile(t, filepath.Join(blobs, "a"), []byte("x\ny\n"))
	checkFile(t, filepath.Join(blobs, "sha256", d.Encoded()), []byte("x\n"))
	p.checkBlob(t, "team/app", d, []byte("x\n"))
}
