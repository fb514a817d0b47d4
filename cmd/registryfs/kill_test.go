package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a command acknowledged is there after the daemon is killed in the
// middle of others.
func TestKilledDuringCopies(t *testing.T) {
	const (
		blobs     = 200
		blobSize  = 512 << 10
		killAfter = 25 // acknowledgements
	)
	for _, copiers := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d at once", copiers), func(t *testing.T) {
			store, mnt := newStore(t), mountPoint(t)
			image := makeLayout(t, "killed")
			s := startServer(t, store, mnt)
			copyIn(t, image, mnt, "team/app", "v1")

			in := t.TempDir()
			for i := range blobs {
				temp := filepath.Join(in, "blob")
				sum := fill(t, temp, byte(i), blobSize)
				require.NoError(t, os.Rename(temp, filepath.Join(in, sum)))
			}
			work := exec.Command("sh", "-c", `
				for n in $(seq "$3"); do (
					i=0
					for f in "$1"/*; do
						i=$((i + 1))
						[ $((i % $3)) = $((n - 1)) ] || continue
						hex=${f##*/}
						cp "$f" "$2/_blobs/sha256/$hex" && ln -s v1 "$2/_tags/t$hex" && echo "$hex"
					done
				) & done
				wait
			`, "sh", in, filepath.Join(mnt, "team/app"), itoa(copiers))
			out, err := work.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, work.Start())
			// Whatever hangs is let go when the kernel ends the connection.
			hung := make(chan struct{})
			stuck := time.AfterFunc(patience, func() {
				close(hung)
				_ = exec.Command("umount", "-f", mnt).Run()
			})
			defer stuck.Stop()
			var acknowledged []string
			for lines := bufio.NewScanner(out); lines.Scan(); {
				acknowledged = append(acknowledged, lines.Text())
				if len(acknowledged) == killAfter {
					require.NoError(t, s.Process.Kill())
				}
			}
			_ = work.Wait()
			_ = s.Wait()
			select {
			case <-hung:
				require.FailNow(t, "what used the mount hangs after the kill")
			default:
			}
			require.GreaterOrEqual(t, len(acknowledged), killAfter)
			require.Less(t, len(acknowledged), blobs, "it was killed in the middle")

			startServer(t, store, mnt)
			checkMounted(t, mnt, "team/app", "v1", image.image)
			var sums strings.Builder
			for _, hex := range acknowledged {
				fmt.Fprintf(&sums, "%s  _blobs/sha256/%s\n%s  _tags/t%s\n", hex, hex, image.root, hex)
			}
			list := filepath.Join(t.TempDir(), "sums")
			require.NoError(t, os.WriteFile(list, []byte(sums.String()), 0o644))
			shell(t, `cd "$1/team/app"; sha256sum --quiet --strict -c "$2"`, mnt, list)
			// Whatever else is listed is whole too, and what was cut off can
			// be done again.
			shell(t, `cd "$1/team/app/_blobs/sha256"
				for f in *; do echo "$f  $f"; done | sha256sum --quiet --strict -c -
				cd ../../_tags
				for f in *; do cat "$f" > "$3"; done
				cp "$2"/* ../_blobs/sha256/
			`, mnt, in, filepath.Join(t.TempDir(), "manifest"))
		})
	}
}
